"""Folds the stored events of a consumer or a customer id, and stores the folds of those with many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import apsw

from engagement import v1
from engagement_server.cursor import first_position
from engagement_server.model import FoldedProfile
from engagement_server.store.budget import Budget
from engagement_server.store.checksums import is_damage
from engagement_server.store.fingerprint import FOLD_FINGERPRINT
from engagement_server.store.profile_fold import Key, ProfileFold
from engagement_server.store.search import SEARCH_MATCHES, identifier_token

if TYPE_CHECKING:
    from engagement_server.model import LogBounds
    from engagement_server.operations import SaveProfile
    from engagement_server.store.profile_moment import ProfileMoment

_NO_LIMIT = -1
# Which events count at a moment, and which of them are ahead of the clock.
_COUNTS, _IS_AHEAD = 0, 1
_POSITION, _PAYLOAD, _STATE = 2, 8, 9
# Begins with the key of the event's source.
_EVENTS: Final = (
    "SELECT e.authenticated, e.server_time_ms, e.position, e.event_id, e.matched_status, e.matched_type,"  # noqa: S608
    " e.upload, e.upload_event, e.payload, iif(e.server_time_ms >= ? OR e.receive_time_ms >= ?, 2,"
    " e.server_time_ms > ? AND e.server_time_ms > e.receive_time_ms)"
    f" FROM (SELECT rowid FROM search WHERE {SEARCH_MATCHES} AND rowid > ? AND rowid < ?"
    " ORDER BY rowid DESC LIMIT ?) AS hit CROSS JOIN events AS e ON e.position = hit.rowid"
)


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
    moment: ProfileMoment
    expired_position: int = 0
    """Events up to here had expired when folding began."""
    after_position: int = 0
    """Events up to here are in the stored fold or have expired."""
    through_position: int = 0
    """The last position when folding began."""
    next_position: int = 0
    """Events from here on are folded."""
    kept_through_position: int = 0
    """Events up to here can be kept as a fold: the time of all of them has come."""
    stored: ProfileFold | None = None
    """The stored fold, until folding is complete."""
    keepable: ProfileFold = field(default_factory=ProfileFold)
    """The folded events that can be kept."""
    newer: ProfileFold | None = None
    """The folded events from the first one on whose time has not come yet."""
    events: int = 0
    """Candidates read so far that can be kept."""
    matched: int = 0
    """Those of them that are in the fold."""

    @property
    def fold(self) -> ProfileFold:
        """All events, once folding is complete."""
        return self.keepable if self.newer is None else self.newer

    @property
    def is_worth_keeping(self) -> bool:
        """Whether a complete fold has something to keep."""
        return self.moment.is_now and not self.keepable.is_empty

    def take(self, added: ProfileFold) -> None:
        """Takes events that were folded together."""
        if self.keepable.is_empty:
            self.keepable = added
        else:
            self.keepable.merge(added)

    def set_aside(self, key: Key, event: v1.Event) -> None:
        """Takes an event whose time has not come yet, and all later ones, out of what can be kept."""
        if self.newer is None:
            self.newer = ProfileFold()
        self.newer.merge(self.keepable)
        self.newer.add_ahead(key, event)
        self.keepable = ProfileFold()
        self.kept_through_position = key[_POSITION] - 1
        self.events = self.matched = 0

    def complete(self) -> None:
        """Adds the stored fold, once all later events are folded."""
        if self.stored is not None:
            self.keepable.merge(self.stored)
            self.stored = None
        if self.newer is not None:
            self.newer.merge(self.keepable)

    def folded_profile(self) -> FoldedProfile:
        """The fold to store, once folding is complete."""
        return FoldedProfile(
            consumer_id=self.consumer_id,
            customer_id=self.customer_id,
            through_position=self.kept_through_position,
            oldest_position=self.keepable.oldest_position,
            merged=self.keepable.snapshot(v1.Folding.FOLDING_MERGE),
            replaced=self.keepable.snapshot(v1.Folding.FOLDING_REPLACE),
            fingerprint=FOLD_FINGERPRINT,
            read_through_position=self.through_position,
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
        moment: ProfileMoment,
        before: int | None = None,
        max_seconds: float | None = None,
    ) -> FoundConsumer:
        """Looks for the latest event with a customer id, before a position: other ids may share its hash."""
        budget = Budget(max_seconds)
        for position, server_time_ms, receive_time_ms, payload in self._connection.execute(
            "SELECT e.position, e.server_time_ms, e.receive_time_ms, e.payload"  # noqa: S608
            " FROM search CROSS JOIN events AS e ON e.position = search.rowid"
            f" WHERE {SEARCH_MATCHES} AND search.rowid > ? AND search.rowid < ? ORDER BY search.rowid DESC",
            (
                f'(customer_id : "{identifier_token(customer_id)}")',
                bounds.expired_position,
                bounds.last_position + 1 if before is None else before,
            ),
        ):
            if moment.counts(server_time_ms=server_time_ms, receive_time_ms=receive_time_ms):
                event = v1.Event.FromString(payload)
                if event.customer_info.customer_id == customer_id:
                    return FoundConsumer(event.consumer_id, None)
            if budget.is_spent:
                return FoundConsumer(None, position)
        return FoundConsumer(None, None)

    def fold_consumer(self, bounds: LogBounds, consumer_id: str, *, moment: ProfileMoment) -> Folding:
        """Begins folding the events of a consumer, from the stored fold if there is one."""
        return self._begin(
            bounds,
            Folding(
                consumer_id=consumer_id,
                customer_id="",
                expression=f'(consumer_id : "{identifier_token(consumer_id)}")',
                matches=lambda event: event.consumer_id == consumer_id,
                moment=moment,
            ),
        )

    def fold_customer(self, bounds: LogBounds, customer_id: str, *, moment: ProfileMoment) -> Folding:
        """Begins folding the events with a customer id, from the stored fold if there is one."""
        return self._begin(
            bounds,
            Folding(
                consumer_id="",
                customer_id=customer_id,
                expression=f'(customer_id : "{identifier_token(customer_id)}")',
                matches=lambda event: event.customer_info.customer_id == customer_id,
                moment=moment,
            ),
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
        parse, matches, moment = v1.Event.FromString, folding.matches, folding.moment
        rows: Any = self._connection.execute(  # Any: each column has its own type
            _EVENTS,
            (
                *(moment.before_ms, moment.accepted_before_ms, moment.due_ms),
                *(folding.expression, folding.after_position, folding.next_position, max_events),
            ),
        )
        row = None
        for row in rows:
            read += 1
            state = row[_STATE]
            if state <= _IS_AHEAD and matches(event := parse(row[_PAYLOAD])):
                if state == _COUNTS:
                    folding.matched += 1
                    added.add(row, event)
                else:
                    folding.take(added)
                    added = ProfileFold()
                    folding.set_aside(row, event)
                    # All that this step has read so far.
                    folding.events = -read
            if budget.is_spent:
                is_spent = True
                break
        if row is not None:
            folding.next_position = row[_POSITION]
        folding.events += read
        folding.take(added)
        is_complete = read != max_events and not is_spent
        if is_complete:
            folding.complete()
        return is_complete

    def upload_id(self, number: int) -> str:
        """The id of an upload; empty if its record has expired, or is damaged."""
        try:
            row = self._connection.execute(
                "SELECT upload_id FROM uploads WHERE number = ?", (number,)
            ).fetchone()
        except apsw.Error as error:
            if not is_damage(error):
                raise
            return ""
        return "" if row is None else str(row[0])

    def save(self, operation: SaveProfile, account: int) -> int:
        """Stores a fold unless a newer one is stored or its events may be gone; returns rows stored.

        It replaces a fold of another contract, whatever this server's is: all nodes have the same rows.
        """
        profile = operation.profile
        self._connection.execute(
            "INSERT INTO profiles SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 FROM accounts"
            " WHERE number = ?1 AND expired_sequence < ?5 - ?9"
            " AND NOT EXISTS (SELECT 1 FROM notices WHERE position > max(?4, ?11) AND position < ?10)"
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
                profile.read_through_position,
            ),
        )
        return self._connection.changes()

    def _begin(self, bounds: LogBounds, folding: Folding) -> Folding:
        folding.expired_position = folding.after_position = bounds.expired_position
        folding.through_position = folding.kept_through_position = bounds.last_position
        folding.next_position = bounds.last_position + 1
        if not folding.moment.is_now:
            return folding
        row = self._connection.execute(
            "SELECT through_position, merged, replaced FROM profiles"
            " WHERE account = ? AND consumer_id = ? AND customer_id = ?"
            " AND oldest_position > ? AND fingerprint = ?",
            (
                *(bounds.account, folding.consumer_id, folding.customer_id),
                *(bounds.expired_position, FOLD_FINGERPRINT),
            ),
        ).fetchone()
        if row is not None:
            folding.after_position, merged, replaced = row
            folding.stored = ProfileFold.of_snapshot(merged=merged, replaced=replaced)
        return folding
