"""Reads lists of uploads, and of their rejected events."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from engagement.limits import MAX_BATCH_EVENTS
from engagement_server.model import Outcome, UploadRejection, Verdict
from engagement_server.operations import MAX_COMPARED_HASHES
from engagement_server.store.rejection_rows import restored_error
from engagement_server.store.rejection_subjects import ChunkPlace, RejectionSubjects, Work
from engagement_server.store.upload_rows import UPLOAD_COLUMNS, UploadRow, find_upload

if TYPE_CHECKING:
    import apsw

    from engagement_server.model import Subject, UploadState

MAX_EXAMINED_UPLOADS = 5_000
"""Limit on the uploads that a page looks at, whatever the filter: at the limit the page ends early."""
# The highest index that an event of a chunk can have.
_BEHIND_CHUNK = MAX_BATCH_EVENTS - 1
# Above the number of any upload.
_NO_NUMBER = (1 << 63) - 1
_COLUMNS = {
    Outcome.ACCEPTED: "accepted",
    Outcome.DUPLICATE: "duplicate",
    # What the client could not read was rejected by it.
    Outcome.REJECTED: "rejected + unreadable",
    Outcome.SUPPRESSED: "suppressed",
}


class ListPlace(NamedTuple):
    """Where a list of uploads continues."""

    before_number: int
    """Before the upload with this number."""
    after_sequence: int = 0
    """Of the first upload before that number, chunks that have been searched for subjects."""


@dataclass(frozen=True, slots=True)
class RejectionQuery:
    """Which rejected events of an upload to list, after which one, and how many."""

    account_id: str
    upload_id: str
    max_results: int
    after_sequence: int = 0
    after_index: int = 0
    subjects: Collection[Subject] = ()
    """Events about any of these; empty: all."""
    principal: str | None = None
    """Who asks, and sees no uploads of others; None: it may see all."""
    max_compared: int = MAX_COMPARED_HASHES
    """Hashes of subjects to compare; then the page ends early."""


@dataclass(frozen=True, slots=True)
class RejectionPage:
    """Rejected events in the order of their upload, and where the list continues."""

    rejections: Sequence[UploadRejection]
    behind: tuple[int, int] | None
    """Continue after this sequence and index; None: there are no more."""


@dataclass(frozen=True, slots=True)
class UploadQuery:
    """Which uploads of an account to list, from which on, and how many."""

    account_id: str
    max_uploads: int
    after: ListPlace | None = None
    """Continue here; None: at the newest."""
    start_ms: int | None = None
    """Changed at this time or later, in epoch milliseconds."""
    end_ms: int | None = None
    """Changed before this time."""
    source_name: str = ""
    """The exact name; empty: any."""
    outcomes: Collection[Outcome] = ()
    """Uploads with an event of any of these; empty: all."""
    subjects: Collection[Subject] = ()
    """Uploads with a rejected event about any of these; empty: all."""
    principal: str | None = None
    """Who asks, and sees no uploads of others; None: it may see all."""
    max_compared: int = MAX_COMPARED_HASHES
    """Hashes of subjects to compare; then the page ends early."""


@dataclass(frozen=True, slots=True)
class UploadPage:
    """Uploads, those first opened last first, and where the list continues; None: there are no more."""

    uploads: Sequence[UploadState]
    next_place: ListPlace | None


def list_uploads(connection: apsw.Connection, query: UploadQuery) -> UploadPage:
    """Reads one page, and looks at a bounded number of uploads and rejected events for it."""
    before = _NO_NUMBER if query.after is None else query.after.before_number
    examined: Any = connection.execute(
        "SELECT count(*), min(number) FROM (SELECT number FROM uploads WHERE account_id = ? AND number < ?"
        " ORDER BY number DESC LIMIT ?)",
        (query.account_id, before, MAX_EXAMINED_UPLOADS),
    )
    ((count, lowest),) = examined
    if not count:
        return UploadPage((), None)
    conditions, arguments = _conditions(query)
    found = connection.execute(
        f"SELECT {UPLOAD_COLUMNS} FROM uploads INDEXED BY uploads_by_account"  # noqa: S608  # constants
        f" WHERE account_id = ? AND number >= ? AND number < ?{conditions} ORDER BY number DESC",
        (query.account_id, lowest, before, *arguments),
    )
    end = ListPlace(lowest) if count == MAX_EXAMINED_UPLOADS else None
    rows = map(UploadRow.of, found)
    if query.subjects:
        return _with_rejections(RejectionSubjects(connection), query, rows, end=end)
    page = list(islice(rows, query.max_uploads + 1))
    if len(page) > query.max_uploads:
        end = ListPlace(page[query.max_uploads - 1].number)
    return UploadPage([row.state for row in page[: query.max_uploads]], end)


def _with_rejections(
    rejections: RejectionSubjects, query: UploadQuery, rows: Iterable[UploadRow], *, end: ListPlace | None
) -> UploadPage:
    """Those uploads that have rejected events about the subjects; `end` is where they end."""
    sought, work = rejections.sought(query.account_id, query.subjects), Work(query.max_compared)
    uploads: list[UploadState] = []
    for row in rows:
        work.count_row()
        is_next = query.after is not None and row.number == query.after.before_number - 1
        after = ChunkPlace(row.number, query.after.after_sequence if query.after and is_next else 0)
        for sequence, entries in rejections.chunks(sought, work, after=after):
            if entries:
                uploads.append(row.state)
                break
            if work.is_done:
                return UploadPage(uploads, ListPlace(row.number + 1, sequence))
        if work.is_done or len(uploads) == query.max_uploads:
            return UploadPage(uploads, ListPlace(row.number))
    return UploadPage(uploads, end)


def list_rejections(connection: apsw.Connection, query: RejectionQuery) -> RejectionPage:
    """Reads rejected events of an upload; looks at a bounded number. Raises UploadNotFoundError."""
    number = find_upload(connection, query.account_id, query.upload_id, principal=query.principal).number
    if query.subjects:
        return _about_subjects(connection, number, query)
    rows = _results(
        connection,
        "(chunk_sequence, event_index) > (?, ?)",
        (number, query.after_sequence, query.after_index, query.max_results + 1),
    )
    return _page(rows, query)


def _about_subjects(connection: apsw.Connection, number: int, query: RejectionQuery) -> RejectionPage:
    rejections, work = RejectionSubjects(connection), Work(query.max_compared)
    sought = rejections.sought(query.account_id, query.subjects)
    found: list[UploadRejection] = []
    # The chunk of the last one may hold more.
    is_chunk_read = query.after_index == _BEHIND_CHUNK
    after = ChunkPlace(number, query.after_sequence - (not is_chunk_read))
    for sequence, entries in rejections.chunks(sought, work, after=after):
        wanted = {index for _, index in entries}
        if sequence == query.after_sequence:
            wanted = {index for index in wanted if index > query.after_index}
        if wanted:
            condition = "chunk_sequence = ? AND event_index IN (SELECT value FROM json_each(?))"
            arguments = number, sequence, json.dumps(sorted(wanted)), query.max_results + 1 - len(found)
            found += _results(connection, condition, arguments)
        if len(found) > query.max_results:
            break
        if work.is_done:
            return RejectionPage(found, (sequence, _BEHIND_CHUNK))
    return _page(found, query)


def _results(
    connection: apsw.Connection, condition: str, arguments: tuple[apsw.SQLiteValue, ...]
) -> list[UploadRejection]:
    """The first rejected events of an upload that match; the number of the upload is the first argument."""
    rows: Any = connection.execute(  # Any: each column has its own type
        "SELECT chunk_sequence, event_number, time_ms, event_index, event_id, outcome, position, error"  # noqa: S608  # a constant
        " FROM upload_results INDEXED BY upload_rejections"
        f" WHERE upload = ? AND outcome = 3 AND {condition}"
        " ORDER BY chunk_sequence, event_index LIMIT ?",
        arguments,
    )
    return [
        UploadRejection(
            sequence,
            event_number,
            time_ms,
            Verdict(index, event_id, Outcome(outcome), position, restored_error(error)),
        )
        for sequence, event_number, time_ms, index, event_id, outcome, position, error in rows
    ]


def _page(found: Sequence[UploadRejection], query: RejectionQuery) -> RejectionPage:
    """The page, of which one more was looked for."""
    page = found[: query.max_results]
    behind = (page[-1].chunk_sequence, page[-1].verdict.index) if len(found) > len(page) else None
    return RejectionPage(page, behind)


def _conditions(query: UploadQuery) -> tuple[str, list[apsw.SQLiteValue]]:
    conditions: list[tuple[str, apsw.SQLiteValue]] = []
    if query.start_ms is not None:
        conditions.append(("update_time_ms >= ?", query.start_ms))
    if query.end_ms is not None:
        conditions.append(("update_time_ms < ?", query.end_ms))
    if query.source_name:
        conditions.append(("source_name = ?", query.source_name))
    if query.principal is not None:
        conditions.append(("principal IN ('', ?)", query.principal))
    texts = [f" AND {text}" for text, _ in conditions]
    if query.outcomes:
        counts = sorted({_COLUMNS[outcome] for outcome in query.outcomes})
        texts.append(f" AND ({' OR '.join(f'{column} > 0' for column in counts)})")
    if query.subjects:
        texts.append(" AND rejected > 0")
    return "".join(texts), [value for _, value in conditions]
