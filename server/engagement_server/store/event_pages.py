"""Reads pages of the events that match a filter, found through the search index or by a scan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import apsw

from engagement import v1
from engagement.limits import END_OF_TIME_MS
from engagement_server.cursor import BLOCK_BITS, first_position, last_position
from engagement_server.errors import DamagedEventsError
from engagement_server.model import StoredRow
from engagement_server.store.account_rows import find_account
from engagement_server.store.checksums import is_damage
from engagement_server.store.damage import damaged_after, damaged_before
from engagement_server.store.predicate import Predicate
from engagement_server.store.search import SEARCH_MATCHES, match_expression

# Limits on the cost of a page, whatever the filter: at a limit the page ends early.
_MAX_SCANNED_BLOCKS = 50
_MAX_CANDIDATES = 20_000
_ROW = "e.position, e.server_time_ms, e.receive_time_ms, e.payload, e.matched_status, e.matched_type"
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


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Rows that may match, in the order of the walk."""

    rows: Iterator[tuple[Any, ...]]
    """Columns of a `StoredRow`; unless `are_matches`, its attribute set and whether it is authenticated."""
    find_damage: Callable[[], DamagedEventsError]
    """The events at the beginning that cannot be read."""
    max_rows: int | None = None
    """The look-up stopped early if there are as many."""
    stop_position: int | None = None
    """The position to continue after; None: there are no further candidates."""
    are_matches: bool = False
    """Whether all of them match."""


class EventPages:
    """Reads through one connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def predicate(self, wanted: v1.EventFilter) -> Predicate:
        """Prepares a filter. Raises FilterInvalidError."""
        return Predicate.of(wanted)

    def read(self, query: PageQuery) -> Page:
        """Reads one page; it ends before events that are damaged.

        Raises FilterInvalidError, and DamagedEventsError if it begins with such events.
        """
        page = self.read_rows(query)
        return Page([(row, v1.Event.FromString(row.payload)) for row in page.rows], page.next_position)

    def read_rows(self, query: PageQuery) -> RowPage:
        """As `read`; parses events only if the filter looks at what is inside of them."""
        predicate = self.predicate(query.wanted)
        account = find_account(self._connection, query.account_id)
        if account is None:
            return RowPage((), None)
        candidates = self._candidates(query, predicate, account)
        rows: list[StoredRow] = []
        size_bytes, examined, position = 0, 0, 0
        are_matches, as_row = candidates.are_matches, StoredRow._make
        try:
            for columns in candidates.rows:
                examined, position = examined + 1, columns[0]
                if not (are_matches or _matches(predicate, columns)):
                    continue
                row = as_row(columns if are_matches else columns[:_ROW_COLUMNS])
                size_bytes += row.max_response_bytes
                if len(rows) == query.max_events or (rows and size_bytes > query.max_bytes):
                    return RowPage(rows, rows[-1].position)
                rows.append(row)
        except apsw.Error as error:
            if not is_damage(error):
                raise
            if examined:
                return RowPage(rows, position)
            raise candidates.find_damage() from error
        if examined == candidates.max_rows:
            return RowPage(rows, position)
        return RowPage(rows, candidates.stop_position)

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

    def _candidates(self, query: PageQuery, predicate: Predicate, account: int) -> _Candidates:
        low, high = first_position(account), last_position(account) + 1
        if query.after_position is not None:
            if query.newest_first:
                high = min(high, query.after_position)
            else:
                low = max(low, query.after_position)
        expression = match_expression(query.wanted, predicate.phrases)
        if expression is None:
            return self._scan(predicate, low, high, newest_first=query.newest_first)
        order = "DESC" if query.newest_first else "ASC"
        max_rows = query.max_candidates or _MAX_CANDIDATES
        # Not executed before the first row is wanted, which may be damaged.
        found = self._rows(
            f"SELECT {_ROW}, e.attribute_set, e.authenticated FROM (SELECT rowid FROM search"  # noqa: S608
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

    def _rows(self, statement: str, arguments: tuple[object, ...]) -> Iterator[tuple[Any, ...]]:
        yield from self._connection.execute(statement, arguments)

    def _scan(self, predicate: Predicate, low: int, high: int, *, newest_first: bool) -> _Candidates:
        conditions, arguments = _envelope_conditions(predicate)
        are_matches = not predicate.has_content and len(predicate.attribute_sets) < 2
        if conditions or not are_matches:
            blocks, stop_position = self._blocks(predicate, low, high, newest_first=newest_first)
            ranges = [(block << BLOCK_BITS, (block + 1 << BLOCK_BITS) - 1) for block in blocks]
        else:
            ranges, stop_position = [(low + 1, high - 1)], None
        columns = _ROW if are_matches else f"{_ROW}, e.attribute_set, e.authenticated"
        statement = (
            f"SELECT {columns} FROM events AS e WHERE e.position >= ? AND e.position <= ?{conditions}"  # noqa: S608
            f" ORDER BY e.position {'DESC' if newest_first else 'ASC'}"
        )
        scanned = chain.from_iterable(
            self._connection.execute(
                statement,
                # Not beyond the positions outside, whose pages may be damaged.
                (max(low + 1, first), min(high - 1, last), *arguments),
            )
            for first, last in ranges
        )
        find = damaged_before if newest_first else damaged_after
        return _Candidates(
            scanned,
            lambda: find(self._connection, low, high),
            stop_position=stop_position,
            are_matches=are_matches,
        )

    def _blocks(
        self, predicate: Predicate, low: int, high: int, *, newest_first: bool
    ) -> tuple[list[int], int | None]:
        """The next blocks whose times may match, and the position to continue after."""
        order = "DESC" if newest_first else "ASC"
        found = self._connection.execute(
            "SELECT block FROM blocks WHERE block BETWEEN ? AND ? AND max_ms >= ? AND min_ms < ?"  # noqa: S608
            f" ORDER BY block {order} LIMIT ?",
            (
                low >> BLOCK_BITS,
                high - 1 >> BLOCK_BITS,
                0 if predicate.start_ms is None else predicate.start_ms,
                END_OF_TIME_MS if predicate.end_ms is None else predicate.end_ms,
                _MAX_SCANNED_BLOCKS + 1,
            ),
        )
        blocks = [block for (block,) in found]
        if len(blocks) <= _MAX_SCANNED_BLOCKS:
            return blocks, None
        *scanned, following = blocks
        return scanned, following + 1 << BLOCK_BITS if newest_first else (following << BLOCK_BITS) - 1


def _matches(predicate: Predicate, columns: Sequence[Any]) -> bool:
    _, server_time_ms, _, payload, _, _, attribute_set, authenticated = columns
    return predicate.matches_envelope(
        attribute_set=attribute_set, authenticated=bool(authenticated), server_time_ms=server_time_ms
    ) and (not predicate.has_content or predicate.matches_content(v1.Event.FromString(payload)))


def _envelope_conditions(predicate: Predicate) -> tuple[str, list[int]]:
    """The conditions on columns, so that SQLite skips rows without reading their payloads."""
    conditions: list[tuple[str, int]] = []
    if predicate.start_ms is not None:
        conditions.append(("e.server_time_ms >= ?", predicate.start_ms))
    if predicate.end_ms is not None:
        conditions.append(("e.server_time_ms < ?", predicate.end_ms))
    if predicate.is_authenticated is not None:
        conditions.append(("e.authenticated = ?", predicate.is_authenticated))
    if len(predicate.attribute_sets) == 1:
        conditions.append(("e.attribute_set = ?", next(iter(predicate.attribute_sets))))
    return "".join(f" AND {text}" for text, _ in conditions), [value for _, value in conditions]
