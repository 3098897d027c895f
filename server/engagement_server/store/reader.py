"""Queries the SQLite file; never waits for the writer and never changes anything."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import apsw

from engagement_server.model import EntityList, Notice, StoredRow
from engagement_server.store.account_rows import (
    ALL_IDS,
    count_accounts_of,
    find_account,
    find_bounds,
    find_use,
    list_accounts,
)
from engagement_server.store.checksums import is_damage, require_checked
from engagement_server.store.damage import damaged_after
from engagement_server.store.entity_rows import read_list, read_lists
from engagement_server.store.erasure_states import ErasureStates
from engagement_server.store.event_pages import EventPages
from engagement_server.store.log_position import read_position
from engagement_server.store.notice_rows import unpack_positions
from engagement_server.store.predicate import Predicate
from engagement_server.store.profile_rows import ProfileRows
from engagement_server.store.receive_times import ReceiveTimes
from engagement_server.store.rejection_rows import RejectionRows
from engagement_server.store.retention_rows import read_retention
from engagement_server.store.row_columns import RowColumns
from engagement_server.store.summary import read_summary
from engagement_server.store.tombstones import Suppressions, Tombstones
from engagement_server.store.upload_lists import list_rejections, list_uploads
from engagement_server.store.upload_rows import find_upload
from engagement_server.store.verdicts import Judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from engagement import v1
    from engagement_server.model import (
        Batch,
        LogBounds,
        RetentionState,
        UploadState,
        Verdict,
    )
    from engagement_server.store.account_rows import AccountSummary, AccountUse
    from engagement_server.store.event_pages import Page, PageQuery, RowPage
    from engagement_server.store.summary import Summary, SummaryQuery
    from engagement_server.store.upload_lists import RejectionPage, RejectionQuery, UploadPage, UploadQuery


@dataclass(frozen=True, slots=True)
class Scan:
    """Events in the order of their positions, and whether they are all events of the range."""

    rows: Sequence[StoredRow]
    is_complete: bool


class Reader:
    """Reads through one connection. Not thread-safe."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._suppressions = Suppressions(connection)
        self._tombstones = Tombstones(connection)
        self.erasures = ErasureStates(connection)
        self.rejections_of = RejectionRows(connection)
        self.profiles = ProfileRows(connection)
        self.receive_times = ReceiveTimes(connection)
        self._columns = RowColumns(connection, has_uploads=True)
        self._pages = EventPages(connection, columns=self._columns)

    def require_checked(self) -> None:
        """Raises DataDamagedError if what was read was not checked."""
        require_checked(self._connection)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything read inside is the state of one moment; what is read behind damage, of a later one."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            if self._connection.in_transaction:  # SQLite ends it at damage
                self._connection.execute("ROLLBACK")

    def account_number(self, account_id: str) -> int | None:
        """The number of an account; None if nothing was ever stored for it."""
        return find_account(self._connection, account_id)

    def bounds(self, account_id: str) -> LogBounds | None:
        """How far the log of an account reaches; None if nothing was ever stored for it."""
        return find_bounds(self._connection, account_id)

    def accounts(
        self, *, after: str, max_accounts: int, ranges: Iterable[tuple[str, str]] = ALL_IDS
    ) -> list[AccountSummary]:
        """The next accounts after an id, in the order of their ids, within ranges that are in order."""
        return list_accounts(self._connection, ranges=ranges, after=after, max_accounts=max_accounts)

    def use(self, account_id: str) -> AccountUse:
        """What quotas ask of an account, which need not exist."""
        return find_use(self._connection, account_id)

    def count_accounts_of(self, principal: str, *, at_most: int) -> int:
        """How many accounts had their first event from a principal; counts no further than `at_most`."""
        return count_accounts_of(self._connection, principal, at_most=at_most)

    def notices(self, *, after: int, through: int, max_notices: int) -> list[Notice]:
        """The first notices after a position, up to and including another, in order."""
        rows = self._connection.execute(
            "SELECT position, erasure_id, erased FROM notices"
            " WHERE position > ? AND position <= ? ORDER BY position LIMIT ?",
            (after, through, max_notices),
        )
        return [
            Notice(position, erasure_id, unpack_positions(erased)) for position, erasure_id, erased in rows
        ]

    def position_before(self, bounds: LogBounds, *, accepted_ms: int) -> int:
        """The position before the first event that was accepted at a time or later."""
        return self.receive_times.position_before(bounds, accepted_ms=accepted_ms)

    def scan(self, *, after: int, through: int, max_bytes: int) -> Scan:
        """The events after a position, up to and including another: `max_bytes` of them, but at least one.

        It ends before events that are damaged. Raises DamagedEventsError if it begins with them.
        """
        rows: list[StoredRow] = []
        size_bytes = 0
        try:
            found: Any = self._connection.execute(  # Any: each column has its own type
                f"SELECT {self._columns.text} FROM events AS e"  # noqa: S608  # a constant
                " WHERE position >= ? AND position <= ? ORDER BY position",
                # From the next position on, not beyond this one, whose page may be damaged.
                (after + 1, through),
            )
            for row in map(StoredRow._make, found):
                size_bytes += len(row.payload)
                if rows and size_bytes > max_bytes:
                    return Scan(rows, is_complete=False)
                rows.append(row)
        except apsw.Error as error:
            if not is_damage(error):
                raise
            if rows:
                return Scan(rows, is_complete=False)
            if not self._columns.leave_out_uploads():
                raise damaged_after(self._connection, after, through + 1) from error
            return self.scan(after=after, through=through, max_bytes=max_bytes)
        return Scan(rows, is_complete=True)

    def predicate(self, wanted: v1.EventFilter) -> Predicate:
        """Prepares a filter. Raises FilterInvalidError."""
        return Predicate.of(wanted)

    def find_by_id(self, account_id: str, event_id: str) -> StoredRow | None:
        """The event with this id."""
        return self._row(
            "event_id = ? AND account = (SELECT number FROM accounts WHERE account_id = ?)",
            (event_id, account_id),
        )

    def find_at(self, position: int) -> StoredRow | None:
        """The event at this position."""
        return self._row("position = ?", (position,))

    def page(self, query: PageQuery) -> Page:
        """Reads one page. Raises FilterInvalidError."""
        return self._pages.read(query)

    def row_page(self, query: PageQuery) -> RowPage:
        """Reads one page, whose events are left as they are stored. Raises FilterInvalidError."""
        return self._pages.read_rows(query)

    def upload(self, account_id: str, upload_id: str, *, principal: str | None = None) -> UploadState:
        """The state of an upload, as a principal sees it. Raises UploadNotFoundError."""
        return find_upload(self._connection, account_id, upload_id, principal=principal).state

    def uploads(self, query: UploadQuery) -> UploadPage:
        """Lists one page of uploads."""
        return list_uploads(self._connection, query)

    def rejections(self, query: RejectionQuery) -> RejectionPage:
        """Lists one page of the rejected events of an upload. Raises UploadNotFoundError."""
        return list_rejections(self._connection, query)

    def entities(self, account_id: str, kind: int) -> EntityList:
        """A list of entities; empty if none was ever put."""
        return read_list(self._connection, self.account_number(account_id) or 0, kind)

    def retention(self) -> RetentionState:
        """How long the store keeps events, and whether expiry is held."""
        return read_retention(self._connection)

    def last_commit_ms(self) -> int:
        """The time of the latest commit, in epoch milliseconds, to a minute; 0: none yet."""
        return read_position(self._connection).time_ms

    def summary(self, query: SummaryQuery) -> Summary:
        """The store at a glance; the time it takes grows with the number of accounts."""
        with self.transaction():
            return read_summary(self._connection, query)

    def preview(self, account_id: str, batch: Batch, *, is_atomic: bool) -> list[Verdict]:
        """The verdicts that recording a batch would give; new events have position 0.

        Raises EventIdConflictError and EntityUnknownError if `is_atomic`.
        """
        account = self.account_number(account_id) or 0
        judge = Judge(
            self._connection,
            account,
            [record.event_id for record in batch.records],
            lists=read_lists(self._connection, account),
            suppressions=self._suppressions,
            tombstones=self._tombstones,
        )
        return judge.judge(batch, positions=[0] * len(batch.records), is_atomic=is_atomic).verdicts()

    def _row(self, condition: str, arguments: tuple[object, ...]) -> StoredRow | None:
        statement = f"SELECT {self._columns.text} FROM events AS e WHERE {condition}"  # noqa: S608  # constants
        try:
            row = self._connection.execute(statement, arguments).fetchone()
        except apsw.Error as error:
            if not is_damage(error) or not self._columns.leave_out_uploads():
                raise
            return self._row(condition, arguments)
        return None if row is None else StoredRow(*row)
