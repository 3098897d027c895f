"""Reads pages of the events that match a filter, found through the search index or by a scan."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import apsw

from engagement import v1
from engagement.limits import END_OF_TIME_MS
from engagement_server.cursor import BLOCK_BITS, first_position, last_position
from engagement_server.errors import DamagedEventsError
from engagement_server.model import StoredRow
from engagement_server.store.account_rows import find_account
from engagement_server.store.budget import Budget
from engagement_server.store.checksums import is_damage
from engagement_server.store.damage import damaged_after, damaged_before
from engagement_server.store.predicate import Predicate
from engagement_server.store.row_columns import RowColumns
from engagement_server.store.row_conditions import envelope_conditions, matches
from engagement_server.store.search import SEARCH_MATCHES, match_expression
from engagement_server.store.search_windows import SearchWindows

# Limits on the cost of a page without a budget, whatever the filter: at a limit the page ends early.
_MAX_SCANNED_BLOCKS = 50
_MAX_CANDIDATES = 20_000
# Looking at the clock after each event would take a tenth of the time of looking at the event.
_EVENTS_A_LOOK = 8
# Finding where the index has a word or an id.
_TERM_SECONDS = 0.0001
# After every time of acceptance, which a wrong clock may have put anywhere.
_NO_LIMIT_MS = (1 << 63) - 1
_ROW_COLUMNS = len(StoredRow._fields)


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which events of an account to read, from which position, and how many."""

    account_id: str
    wanted: v1.EventFilter
    after_position: int | None
    """Continue after this position, in the order of the walk; None: from its start."""
    newest_first: bool
    max_events: int
    max_bytes: int
    max_candidates: int | None = None
    """Events that the index finds, at most: at the limit the page ends early. None: the usual limit."""
    max_seconds: float | None = None
    """The budget of processor time: the page ends early, even empty, soon after it is spent.

    None: no limit, so that equal stores have equal pages.
    """
    in_any_spelling: bool = False
    """Whether ids match in any spelling: see `near_form`."""


@dataclass(frozen=True, slots=True)
class Page:
    """Events in the order of the walk, and the position to continue after; None: the walk is complete."""

    rows: Sequence[tuple[StoredRow, v1.Event]]
    next_position: int | None


@dataclass(frozen=True, slots=True)
class RowPage:
    """A `Page` whose events are left as they are stored."""

    rows: Sequence[StoredRow]
    next_position: int | None


@dataclass(slots=True)
class _Candidates:
    """Rows that may match, in the order of the walk."""

    rows: Generator[tuple[Any, ...], None, None]
    """Columns of a `StoredRow`; unless `are_matches`, its attribute set and whether it is authenticated."""
    find_damage: Callable[[], DamagedEventsError]
    """The events at the beginning that cannot be read."""
    max_rows: int | None = None
    """The look-up stopped early if there are as many."""
    are_matches: bool = False
    """Whether all of them match."""


@dataclass(slots=True)
class _Collection:
    """The events of a page so far."""

    query: PageQuery
    predicate: Predicate
    budget: Budget
    rows: list[StoredRow] = field(default_factory=list)
    size_bytes: int = 0
    examined: int = 0
    position: int = 0
    """Of the last candidate that was looked at."""
    stop_position: int | None = None
    """The position to continue after once all candidates are read; None: there are no further ones."""

    def add(self, candidates: Iterable[tuple[Any, ...]], *, are_matches: bool) -> RowPage | None:
        """Adds what matches; the page if it ends here."""
        max_events, max_bytes = self.query.max_events, self.query.max_bytes
        rows, as_row, has_budget = self.rows, StoredRow._make, self.budget.is_limited and not are_matches
        for columns in candidates:
            self.examined, self.position = self.examined + 1, columns[0]
            if are_matches or matches(self.predicate, columns):
                row = as_row(columns if are_matches else columns[:_ROW_COLUMNS])
                self.size_bytes += row.max_response_bytes
                if len(rows) == max_events or (rows and self.size_bytes > max_bytes):
                    return RowPage(rows, rows[-1].position)
                rows.append(row)
            if has_budget and self.examined % _EVENTS_A_LOOK == 0 and self.budget.is_spent:
                return self.so_far
        return None

    @property
    def so_far(self) -> RowPage:
        """A page that ends after the last candidate."""
        return RowPage(self.rows, self.position)


class EventPages:
    """Reads through one connection."""

    def __init__(self, connection: apsw.Connection, *, columns: RowColumns | None = None) -> None:
        """Without `columns`, the events do not name their uploads."""
        self._connection = connection
        self._columns = columns or RowColumns(connection)

    def read(self, query: PageQuery) -> Page:
        """Reads one page; it ends before events that are damaged.

        Raises FilterInvalidError, and DamagedEventsError if it begins with such events.
        """
        page = self.read_rows(query)
        return Page([(row, v1.Event.FromString(row.payload)) for row in page.rows], page.next_position)

    def read_rows(self, query: PageQuery) -> RowPage:
        """As `read`; parses events only if the filter looks at what is inside of them."""
        try:
            return self._read_rows(query)
        except DamagedEventsError:
            if not self._columns.leave_out_uploads():
                raise
        return self._read_rows(query)

    def _read_rows(self, query: PageQuery) -> RowPage:
        predicate = Predicate.of(query.wanted, in_any_spelling=query.in_any_spelling)
        account = find_account(self._connection, query.account_id)
        if account is None:
            return RowPage((), None)
        low, high = first_position(account), last_position(account) + 1
        if query.after_position is not None:
            if query.newest_first:
                high = min(high, query.after_position)
            else:
                low = max(low, query.after_position)
        expression = match_expression(query.wanted, predicate.phrases)
        if expression is None:
            return self._scan_page(query, predicate, low, high)
        page = self._look_up_page(query, predicate, expression, low, high)
        if page is None:  # the first candidate is far away, or hard to find
            page = self._window_page(query, predicate, expression, low, high)
        return page

    def _look_up_page(
        self, query: PageQuery, predicate: Predicate, expression: str, low: int, high: int
    ) -> RowPage | None:
        """Asks the index once; None if the budget is spent before it finds a candidate."""
        collection = _Collection(query, predicate, Budget(_look_up_seconds(query, expression)))
        candidates = self._look_up(query, expression, low, high)
        try:
            with collection.budget.interrupting(self._connection):
                return self._collect(collection, candidates)
        except apsw.InterruptError:
            if not collection.budget.is_spent:  # the server stops
                raise
            return collection.so_far if collection.examined else None

    def _window_page(
        self, query: PageQuery, predicate: Predicate, expression: str, low: int, high: int
    ) -> RowPage:
        """Asks the index for one window after another, while the budget lasts."""
        max_seconds = _look_up_seconds(query, expression)
        assert max_seconds is not None
        collection = _Collection(query, predicate, Budget(query.max_seconds))
        windows = SearchWindows(
            self._connection,
            expression=expression,
            low=low,
            high=high,
            newest_first=query.newest_first,
            max_seconds=max_seconds,
        )
        try:
            for window in windows:
                with closing(self._rows_at(window.positions)) as rows:
                    page = collection.add(rows, are_matches=False)
                if page is not None:
                    return page
                if collection.budget.is_spent:
                    return RowPage(collection.rows, window.boundary)
            if windows.is_complete:
                return RowPage(collection.rows, None)
        except apsw.Error as error:
            if not is_damage(error):
                raise
        if query.newest_first:
            reached = min(windows.high, collection.position or high)
        else:
            reached = max(windows.low, collection.position)
        if reached not in (low, high):
            return RowPage(collection.rows, reached)
        # Reading the events one by one always gets on.
        return self._scan_page(query, predicate, low, high)

    def _scan_page(self, query: PageQuery, predicate: Predicate, low: int, high: int) -> RowPage:
        collection = _Collection(query, predicate, Budget(query.max_seconds))
        candidates = self._scan(collection, low, high)
        return self._collect(collection, candidates)

    def _collect(self, collection: _Collection, candidates: _Candidates) -> RowPage:
        try:
            with closing(candidates.rows) as rows:  # at once: an open query hides later commits from others
                page = collection.add(rows, are_matches=candidates.are_matches)
        except apsw.Error as error:
            if not is_damage(error):
                raise
            if collection.examined:
                return collection.so_far
            raise candidates.find_damage() from error
        if page is not None:
            return page
        if collection.examined == candidates.max_rows:
            return collection.so_far
        return RowPage(collection.rows, collection.stop_position)

    def candidates(self, query: PageQuery) -> list[int]:
        """The positions that the index has for a filter with ids, ascending; none of them is read."""
        account = find_account(self._connection, query.account_id)
        expression = match_expression(query.wanted, ())
        assert account is not None
        rows = self._connection.execute(
            f"SELECT rowid FROM search WHERE {SEARCH_MATCHES} AND rowid > ? AND rowid <= ? ORDER BY rowid",  # noqa: S608
            (expression, query.after_position or first_position(account), last_position(account)),
        )
        return [int(position) for (position,) in rows]

    def _look_up(self, query: PageQuery, expression: str, low: int, high: int) -> _Candidates:
        order = "DESC" if query.newest_first else "ASC"
        max_rows = query.max_candidates or _MAX_CANDIDATES
        # Not executed before the first row is wanted, which may be damaged.
        found = self._rows(
            f"SELECT {self._columns.text}, e.attribute_set, e.authenticated FROM (SELECT rowid FROM search"  # noqa: S608
            f" WHERE {SEARCH_MATCHES} AND rowid > ? AND rowid < ? ORDER BY rowid {order} LIMIT ?) AS hit"
            f" CROSS JOIN events AS e ON e.position = hit.rowid",
            (expression, low, high, max_rows),
        )

        def find_damage() -> DamagedEventsError:
            # Damage to the index itself raises here: what it would find is unknown.
            rows: Any = self._connection.execute(  # Any: each column has its own type
                f"SELECT rowid FROM search WHERE {SEARCH_MATCHES} AND rowid > ? AND rowid < ?"  # noqa: S608
                f" ORDER BY rowid {order} LIMIT 1",
                (expression, low, high),
            )
            ((position,),) = rows
            return DamagedEventsError(position, position)

        return _Candidates(found, find_damage, max_rows=max_rows)

    def _rows_at(self, positions: Iterable[int]) -> Generator[tuple[Any, ...], None, None]:
        columns = f"{self._columns.text}, e.attribute_set, e.authenticated"
        statement = f"SELECT {columns} FROM events AS e WHERE e.position = ?"  # noqa: S608
        for position in positions:
            yield from self._connection.execute(statement, (position,))

    def _rows(self, statement: str, arguments: tuple[object, ...]) -> Generator[tuple[Any, ...], None, None]:
        yield from self._connection.execute(statement, arguments)

    def _scan(self, collection: _Collection, low: int, high: int) -> _Candidates:
        predicate, newest_first = collection.predicate, collection.query.newest_first
        conditions, arguments = envelope_conditions(predicate)
        are_matches = not predicate.has_content and len(predicate.attribute_sets) < 2
        columns = self._columns.text + ("" if are_matches else ", e.attribute_set, e.authenticated")
        statement = (
            f"SELECT {columns} FROM events AS e WHERE e.position >= ? AND e.position <= ?{conditions}"  # noqa: S608
            f" ORDER BY e.position {'DESC' if newest_first else 'ASC'}"
        )
        find = damaged_before if newest_first else damaged_after

        def scan(first: int, last: int) -> Generator[tuple[Any, ...], None, None]:
            # Not beyond the positions outside, whose pages may be damaged.
            bounds = (max(low + 1, first), min(high - 1, last))
            yield from self._connection.execute(statement, (*bounds, *arguments))

        def scan_blocks() -> Generator[tuple[Any, ...], None, None]:
            blocks = self._blocks(predicate, low, high, newest_first=newest_first)
            for number, block in enumerate(blocks):
                if number == _MAX_SCANNED_BLOCKS or (number and collection.budget.is_spent):
                    collection.stop_position = (block + newest_first << BLOCK_BITS) - (not newest_first)
                    return
                yield from scan(block << BLOCK_BITS, (block + 1 << BLOCK_BITS) - 1)

        rows = scan_blocks() if conditions or not are_matches else scan(low + 1, high - 1)
        return _Candidates(rows, lambda: find(self._connection, low, high), are_matches=are_matches)

    def _blocks(self, predicate: Predicate, low: int, high: int, *, newest_first: bool) -> list[int]:
        """The next blocks whose times may match: one more than a page may scan."""
        order = "DESC" if newest_first else "ASC"
        found = self._connection.execute(
            "SELECT block FROM blocks WHERE block BETWEEN ? AND ? AND max_ms >= ? AND min_ms < ?"  # noqa: S608
            f" AND max_receive_ms >= ? AND min_receive_ms < ? ORDER BY block {order} LIMIT ?",
            (
                low >> BLOCK_BITS,
                high - 1 >> BLOCK_BITS,
                predicate.start_ms or 0,
                END_OF_TIME_MS if predicate.end_ms is None else predicate.end_ms,
                predicate.receive_start_ms or 0,
                _NO_LIMIT_MS if predicate.receive_end_ms is None else predicate.receive_end_ms,
                _MAX_SCANNED_BLOCKS + 1,
            ),
        )
        return [block for (block,) in found]


def _look_up_seconds(query: PageQuery, expression: str) -> float | None:
    """The budget of one look-up: a filter's own size, which has limits, must not use up all of it."""
    if query.max_seconds is None:
        return None
    return query.max_seconds + _TERM_SECONDS * expression.count('"') / 2
