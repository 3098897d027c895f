"""Folds the stored events of a consumer or a customer id, and stores the folds of those with many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from engagement import v1
from engagement_server.cursor import first_position
from engagement_server.model import FoldedProfile
from engagement_server.store.budget import Budget
from engagement_server.store.fingerprint import FINGERPRINT
from engagement_server.store.profile_fold import ProfileFold, Source
from engagement_server.store.search import SEARCH_MATCHES, identifier_token

if TYPE_CHECKING:
    import apsw

    from engagement_server.model import LogBounds
    from engagement_server.operations import SaveProfile

_NO_LIMIT = -1


@dataclass(slots=True)
class Folding:
    """The progress of folding the events that a consumer or customer id had at one moment, newest first."""

    consumer_id: str
    """Empty if the events of a customer id are folded."""
    customer_id: str
    """Empty if those of a consumer are."""
    expression: str
    """The query that finds candidates in the index."""
    matches: Callable[[v1.Event], bool]
    """Whether an event is one of them."""
    expired_position: int
    """Events up to here had expired at that moment."""
    after_position: int
    """Events up to here are in the fold already or have expired."""
    through_position: int
    """The last position at that moment."""
    next_position: int
    """Events from here on are in the fold."""
    fold: ProfileFold = field(default_factory=ProfileFold)
    events: int = 0
    """Candidates read so far."""
    matched: int = 0
    """Those of them that are in the fold."""

    def folded_profile(self) -> FoldedProfile:
        """The fold to store, once folding is complete."""
        return FoldedProfile(
            consumer_id=self.consumer_id,
            customer_id=self.customer_id,
            through_position=self.through_position,
            oldest_position=self.fold.oldest_position,
            merged=self.fold.snapshot(v1.Folding.FOLDING_MERGE),
            replaced=self.fold.snapshot(v1.Folding.FOLDING_REPLACE),
            fingerprint=FINGERPRINT,
        )


class FoundConsumer(NamedTuple):
    """What a search for the consumer of a customer id has found."""

    consumer_id: str | None
    """Of the latest event with the id, empty if that event names none; None: no such event so far."""
    next_position: int | None
    """The search goes on before this position; None: it is over."""


class ProfileRows:
    """Works inside the transactions of the caller."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def find_consumer(
        self,
        bounds: LogBounds,
        customer_id: str,
        *,
        before: int | None = None,
        max_seconds: float | None = None,
    ) -> FoundConsumer:
        """Looks for the latest event with a customer id, before a position: other ids may share its hash."""
        budget = Budget(max_seconds)
        for position, payload in self._connection.execute(
            "SELECT e.position, e.payload FROM search CROSS JOIN events AS e ON e.position = search.rowid"  # noqa: S608
            f" WHERE {SEARCH_MATCHES} AND search.rowid > ? AND search.rowid < ? ORDER BY search.rowid DESC",
            (
                f'(customer_id : "{identifier_token(customer_id)}")',
                bounds.expired_position,
                bounds.last_position + 1 if before is None else before,
            ),
        ):
            event = v1.Event.FromString(payload)
            if event.customer_info.customer_id == customer_id:
                return FoundConsumer(event.consumer_id, None)
            if budget.is_spent:
                return FoundConsumer(None, position)
        return FoundConsumer(None, None)

    def fold_consumer(self, bounds: LogBounds, consumer_id: str) -> Folding:
        """Begins folding the events of a consumer, from the stored fold if there is one."""
        return self._begin(
            bounds,
            consumer_id=consumer_id,
            expression=f'consumer_id : "{identifier_token(consumer_id)}"',
            matches=lambda event: event.consumer_id == consumer_id,
        )

    def fold_customer(self, bounds: LogBounds, customer_id: str) -> Folding:
        """Begins folding the events with a customer id, from the stored fold if there is one."""
        return self._begin(
            bounds,
            customer_id=customer_id,
            expression=f'customer_id : "{identifier_token(customer_id)}"',
            matches=lambda event: event.customer_info.customer_id == customer_id,
        )

    def has_removed_since(self, folding: Folding, bounds: LogBounds) -> bool:
        """Whether events may have been removed since folding began. `bounds` are those of now."""
        (has_notice,) = self._connection.execute(
            "SELECT EXISTS (SELECT 1 FROM notices WHERE position > ? AND position <= ?)",
            (folding.through_position, bounds.last_position),
        ).fetchall()[0]
        return bool(has_notice) or bounds.expired_position > folding.expired_position

    def advance(
        self, folding: Folding, *, max_events: int = _NO_LIMIT, max_seconds: float | None = None
    ) -> bool:
        """Folds the next events, one at least; returns whether they were the last."""
        budget = Budget(max_seconds)
        added = ProfileFold()
        read = 0
        is_spent = False
        parse, matches, position = v1.Event.FromString, folding.matches, folding.next_position
        for position, event_id, authenticated, server_time_ms, payload in self._connection.execute(
            "SELECT e.position, e.event_id, e.authenticated, e.server_time_ms, e.payload"  # noqa: S608
            f" FROM (SELECT rowid FROM search WHERE {SEARCH_MATCHES} AND rowid > ? AND rowid < ?"
            " ORDER BY rowid DESC LIMIT ?) AS hit CROSS JOIN events AS e ON e.position = hit.rowid",
            (folding.expression, folding.after_position, folding.next_position, max_events),
        ):
            read += 1
            event = parse(payload)
            if matches(event):
                folding.matched += 1
                added.add(Source(bool(authenticated), server_time_ms, position, event_id), event)
            if budget.is_spent:
                is_spent = True
                break
        folding.next_position = position
        folding.events += read
        folding.fold.merge(added)
        return read != max_events and not is_spent

    def save(self, operation: SaveProfile, account: int) -> int:
        """Stores a fold unless a newer one is stored or its events may be gone; returns rows stored.

        It replaces a fold of another contract, whatever this server's is: all nodes have the same rows.
        """
        profile = operation.profile
        self._connection.execute(
            "INSERT INTO profiles SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 FROM accounts"
            " WHERE number = ?1 AND expired_sequence < ?5 - ?9"
            " AND NOT EXISTS (SELECT 1 FROM notices WHERE position > ?4 AND position < ?10)"
            " ON CONFLICT DO UPDATE SET through_position = excluded.through_position,"
            " oldest_position = excluded.oldest_position, merged = excluded.merged,"
            " replaced = excluded.replaced, fingerprint = excluded.fingerprint"
            " WHERE excluded.through_position > through_position OR excluded.fingerprint <> fingerprint",
            (
                account,
                profile.consumer_id,
                profile.customer_id,
                profile.through_position,
                profile.oldest_position,
                profile.merged,
                profile.replaced,
                profile.fingerprint,
                first_position(account),
                first_position(account + 1),
            ),
        )
        return self._connection.changes()

    def _begin(
        self,
        bounds: LogBounds,
        *,
        expression: str,
        matches: Callable[[v1.Event], bool],
        consumer_id: str = "",
        customer_id: str = "",
    ) -> Folding:
        folding = Folding(
            consumer_id=consumer_id,
            customer_id=customer_id,
            expression=f"({expression})",
            matches=matches,
            expired_position=bounds.expired_position,
            after_position=bounds.expired_position,
            through_position=bounds.last_position,
            next_position=bounds.last_position + 1,
        )
        row = self._connection.execute(
            "SELECT through_position, merged, replaced FROM profiles"
            " WHERE account = ? AND consumer_id = ? AND customer_id = ?"
            " AND oldest_position > ? AND fingerprint = ?",
            (bounds.account, consumer_id, customer_id, bounds.expired_position, FINGERPRINT),
        ).fetchone()
        if row is not None:
            folding.after_position, merged, replaced = row
            folding.fold = ProfileFold.of_snapshot(merged=merged, replaced=replaced)
        return folding
