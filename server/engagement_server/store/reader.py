"""Answers questions from the SQLite file. It never waits for the writer and never changes anything."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import apsw

from engagement import v1
from engagement.limits import END_OF_TIME_MS
from engagement_server.cursor import BLOCK_BITS, SEQUENCE_BITS, first_position, last_position
from engagement_server.model import EntityList, LogBounds, Notice, StoredRow, Verdict
from engagement_server.store.admission import Admission
from engagement_server.store.entity_rows import read_list, read_lists
from engagement_server.store.erasure_states import ErasureStates
from engagement_server.store.forgotten import Forgotten
from engagement_server.store.notice_rows import unpack_positions
from engagement_server.store.predicate import Predicate
from engagement_server.store.profile_rows import ProfileRows
from engagement_server.store.search import match_expression
from engagement_server.store.upload_rows import find_upload
from engagement_server.store.verdicts import find_stored, judge, payload_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from engagement_server.model import Batch, UploadState

# What one page may cost, whatever the filter: the page then ends early and says where to go on.
_MAX_SCANNED_BLOCKS = 50
_MAX_CANDIDATES = 20_000
_ROW = "position, server_time_ms, receive_time_ms, payload, matched_status, matched_type"
_SET_NUMBERS = {
    "customer_info": v1.AttributeSet.ATTRIBUTE_SET_CUSTOMER_INFO,
    "personal_info": v1.AttributeSet.ATTRIBUTE_SET_PERSONAL_INFO,
}


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which events of an account to read, from where, and how many."""

    account_id: str
    wanted: v1.EventFilter
    after_position: int | None
    """Go on behind this position, in the order of the walk; None: from its start."""
    newest_first: bool
    max_events: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in the order of the walk, and where to go on; None: the walk is at its end."""

    rows: Sequence[tuple[StoredRow, v1.Event]]
    next_position: int | None


@dataclass(frozen=True, slots=True)
class Scan:
    """Events in the order of their positions, and whether these are all that were asked for."""

    rows: Sequence[StoredRow]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Rows that may pass, where the look-up stopped early, and how many rows that takes."""

    rows: Iterator[tuple[Any, ...]]
    """Columns of a `StoredRow`, its attribute set and whether it is authenticated."""
    budget: int | None
    stop_position: int | None


class Reader:
    """Reads through one connection. Not safe to share between threads."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._forgotten = Forgotten(connection)
        self.erasures = ErasureStates(connection, forgotten=self._forgotten)
        self.profiles = ProfileRows(connection)
        self._tokenizer = connection.fts5_tokenizer("unicode61", ["remove_diacritics", "0"])

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """All that is read inside is the state of one moment."""
        with self._connection:
            yield

    def account_number(self, account_id: str) -> int | None:
        """The number of an account; None where nothing was ever stored for it."""
        row = self._connection.execute(
            "SELECT number FROM accounts WHERE account_id = ?", (account_id,)
        ).fetchone()
        return None if row is None else int(row[0])

    def bounds(self, account_id: str) -> LogBounds | None:
        """How far the log of an account reaches; None where nothing was ever stored for it."""
        row = self._connection.execute(
            "SELECT number, expired_sequence, last_sequence FROM accounts WHERE account_id = ?",
            (account_id,),
        ).fetchone()
        if row is None:
            return None
        number, expired_sequence, last_sequence = row
        first = first_position(number)
        return LogBounds(number, first + expired_sequence, first + last_sequence)

    def notices(self, *, after: int, through: int, max_notices: int) -> list[Notice]:
        """The first notices behind a position, up to and with another, in order."""
        rows = self._connection.execute(
            "SELECT position, erasure_id, erased FROM notices"
            " WHERE position > ? AND position <= ? ORDER BY position LIMIT ?",
            (after, through, max_notices),
        )
        return [
            Notice(position, erasure_id, unpack_positions(erased)) for position, erasure_id, erased in rows
        ]

    def position_before(self, bounds: LogBounds, *, accepted_ms: int) -> int:
        """The position behind which the events stand that were accepted at this time or later."""
        low, high = bounds.expired_position, bounds.last_position
        while low < high:
            middle = (low + high) // 2
            row = self._connection.execute(
                "SELECT position, receive_time_ms FROM events WHERE position > ? AND position <= ?"
                " ORDER BY position LIMIT 1",
                (middle, high),
            ).fetchone()
            if row is None or row[1] >= accepted_ms:
                high = middle
            else:
                low = int(row[0])
        return low

    def scan(self, *, after: int, through: int, max_bytes: int) -> Scan:
        """All events behind a position, up to and with another, as many as `max_bytes` hold, at least one."""
        rows: list[StoredRow] = []
        size_bytes = 0
        for columns in self._connection.execute(
            f"SELECT {_ROW} FROM events WHERE position > ? AND position <= ? ORDER BY position",  # noqa: S608  # a constant
            (after, through),
        ):
            row = StoredRow(*columns)
            size_bytes += len(row.payload)
            if rows and size_bytes > max_bytes:
                return Scan(rows, is_complete=False)
            rows.append(row)
        return Scan(rows, is_complete=True)

    def matcher(self, wanted: v1.EventFilter) -> Callable[[StoredRow], bool]:
        """What tells whether a filter takes an event; good on this thread only. Raises FilterInvalidError."""
        predicate = Predicate.of(wanted, tokenize=self._tokenize)

        def takes(row: StoredRow) -> bool:
            event = v1.Event.FromString(row.payload)
            return predicate.takes_envelope(
                attribute_set=_SET_NUMBERS[event.WhichOneof("attributes")],
                authenticated=event.authenticated,
                server_time_ms=row.server_time_ms,
            ) and predicate.takes_content(event, tokenize=self._tokenize)

        return takes

    def find_by_id(self, account_id: str, event_id: str) -> StoredRow | None:
        """The event with this id."""
        return self._row(
            f"SELECT {_ROW} FROM events WHERE account = ? AND event_id = ?",  # noqa: S608  # a constant
            (self.account_number(account_id), event_id),
        )

    def find_at(self, position: int) -> StoredRow | None:
        """The event at this position."""
        return self._row(f"SELECT {_ROW} FROM events WHERE position = ?", (position,))  # noqa: S608  # a constant

    def page(self, query: PageQuery) -> Page:
        """Reads one page. Raises FilterInvalidError."""
        predicate = Predicate.of(query.wanted, tokenize=self._tokenize)
        account = self.account_number(query.account_id)
        if account is None:
            return Page((), None)
        candidates = self._candidates(query, predicate, account)
        rows: list[tuple[StoredRow, v1.Event]] = []
        size_bytes, examined, position = 0, 0, 0
        for *columns, attribute_set, authenticated in candidates.rows:
            row = StoredRow(*columns)
            examined, position = examined + 1, row.position
            if not predicate.takes_envelope(
                attribute_set=attribute_set,
                authenticated=bool(authenticated),
                server_time_ms=row.server_time_ms,
            ):
                continue
            event = v1.Event.FromString(row.payload)
            if not predicate.takes_content(event, tokenize=self._tokenize):
                continue
            size_bytes += len(row.payload)
            if len(rows) == query.max_events or (rows and size_bytes > query.max_bytes):
                return Page(rows, rows[-1][0].position)
            rows.append((row, event))
        if examined == candidates.budget:
            return Page(rows, position)
        return Page(rows, candidates.stop_position)

    def upload(self, account_id: str, upload_id: str) -> UploadState:
        """The state of an upload. Raises UploadNotFoundError."""
        return find_upload(self._connection, account_id, upload_id).state

    def rejections(
        self, account_id: str, upload_id: str, *, after: tuple[int, int], max_results: int
    ) -> list[tuple[int, Verdict]]:
        """Rejected events of an upload with the sequences of their chunks, behind (sequence, index)."""
        number = find_upload(self._connection, account_id, upload_id).number
        rows = self._connection.execute(
            "SELECT chunk_sequence, item, event_id, outcome, position, error FROM upload_results"
            " INDEXED BY upload_rejections"
            " WHERE upload = ? AND outcome = 3 AND (chunk_sequence, item) > (?, ?)"
            " ORDER BY chunk_sequence, item LIMIT ?",
            (number, *after, max_results),
        )
        return [(sequence, Verdict(*verdict)) for sequence, *verdict in rows]

    def entities(self, account_id: str, kind: int) -> EntityList:
        """A list of entities; empty where nothing was ever put."""
        return read_list(self._connection, self.account_number(account_id) or 0, kind)

    def accounts_with_events_before(self, accepted_ms: int) -> list[str]:
        """The accounts whose oldest events were accepted before a time."""
        rows = self._connection.execute(
            "SELECT account_id FROM accounts WHERE (SELECT receive_time_ms FROM events"
            " WHERE position > (number << ?1) + expired_sequence AND position < number + 1 << ?1"
            " ORDER BY position LIMIT 1) < ?2",
            (SEQUENCE_BITS, accepted_ms),
        )
        return [str(account_id) for (account_id,) in rows]

    def preview(self, account_id: str, batch: Batch, *, is_atomic: bool) -> list[Verdict]:
        """What would become of a batch.

        Raises EventIdConflictError and EntityUnknownError where `is_atomic`.
        """
        account = self.account_number(account_id) or 0
        event_ids = [record.event_id for record in batch.records]
        known = find_stored(self._connection, account, event_ids, forgotten=self._forgotten)
        judgement = judge(
            batch,
            known,
            admission=Admission(
                account, lists=read_lists(self._connection, account), forgotten=self._forgotten
            ),
            read_payload=payload_reader(self._connection),
            first_position=1,  # 0 stands for what was erased
            is_atomic=is_atomic,
        )
        # A position below every account's range belongs to an event that would be new.
        return [
            verdict if verdict.position >= first_position(1) else verdict._replace(position=0)
            for verdict in judgement.verdicts()
        ]

    def _candidates(self, query: PageQuery, predicate: Predicate, account: int) -> _Candidates:
        low, high = first_position(account), last_position(account) + 1
        if query.after_position is not None:
            if query.newest_first:
                high = min(high, query.after_position)
            else:
                low = max(low, query.after_position)
        order = "DESC" if query.newest_first else "ASC"
        expression = match_expression(query.wanted, predicate.text, tokenize=self._tokenize)
        columns = f"e.{_ROW.replace(', ', ', e.')}, e.attribute_set, e.authenticated"
        if expression is not None:
            found = self._connection.execute(
                f"SELECT {columns} FROM (SELECT rowid FROM search WHERE search MATCH ? AND rowid > ?"  # noqa: S608
                f" AND rowid < ? ORDER BY rowid {order} LIMIT ?) AS hit"
                f" CROSS JOIN events AS e ON e.position = hit.rowid",
                (expression, low, high, _MAX_CANDIDATES),
            )
            return _Candidates(found, _MAX_CANDIDATES, None)
        blocks, stop_position = self._blocks(low, high, predicate, newest_first=query.newest_first)
        conditions, arguments = _envelope_conditions(predicate)
        statement = (
            f"SELECT {columns} FROM events AS e WHERE e.position > ? AND e.position < ?{conditions}"  # noqa: S608
            f" ORDER BY e.position {order}"
        )
        scanned = chain.from_iterable(
            self._connection.execute(
                statement,
                (max(low, (block << BLOCK_BITS) - 1), min(high, block + 1 << BLOCK_BITS), *arguments),
            )
            for block in blocks
        )
        return _Candidates(scanned, None, stop_position)

    def _blocks(
        self, low: int, high: int, predicate: Predicate, *, newest_first: bool
    ) -> tuple[list[int], int | None]:
        """The next blocks whose times may pass, and where to go on behind them."""
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
        if newest_first:
            return scanned, following + 1 << BLOCK_BITS
        return scanned, (following << BLOCK_BITS) - 1

    def _row(self, statement: str, arguments: tuple[object, ...]) -> StoredRow | None:
        row = self._connection.execute(statement, arguments).fetchone()
        return None if row is None else StoredRow(*row)

    def _tokenize(self, text: str) -> list[str]:
        tokens: Any = self._tokenizer(  # Any: its options decide what it returns
            text.encode(), apsw.FTS5_TOKENIZE_DOCUMENT, None, include_offsets=False, include_colocated=False
        )
        return list(tokens)


def _envelope_conditions(predicate: Predicate) -> tuple[str, list[int]]:
    """The parts of a filter that are columns, so that a scan skips rows without reading them out."""
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
