"""Reads lists of uploads, and of their rejected events."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engagement_server.model import Outcome, UploadRejection, Verdict
from engagement_server.store.upload_rows import UPLOAD_COLUMNS, UploadRow, find_upload

if TYPE_CHECKING:
    import apsw

    from engagement_server.model import UploadState

MAX_EXAMINED_UPLOADS = 5_000
"""Limit on the uploads that a page looks at, whatever the filter: at the limit the page ends early."""
# Above the number of any upload.
_NO_NUMBER = (1 << 63) - 1
_COLUMNS = {
    Outcome.ACCEPTED: "accepted",
    Outcome.DUPLICATE: "duplicate",
    # What the client could not read was rejected by it.
    Outcome.REJECTED: "rejected + unreadable",
    Outcome.SUPPRESSED: "suppressed",
}


@dataclass(frozen=True, slots=True)
class UploadQuery:
    """Which uploads of an account to list, from which on, and how many."""

    account_id: str
    max_uploads: int
    before_number: int | None = None
    """Continue before the upload with this number; None: from the newest."""
    start_ms: int | None = None
    """Changed at this time or later, in epoch milliseconds."""
    end_ms: int | None = None
    """Changed before this time."""
    source_name: str = ""
    """The exact name; empty: any."""
    outcomes: Collection[Outcome] = ()
    """Uploads with an event of any of these; empty: all."""


@dataclass(frozen=True, slots=True)
class UploadPage:
    """Uploads, those first opened last first, and the number to continue before; None: there are no more."""

    uploads: Sequence[UploadState]
    next_number: int | None


def list_uploads(connection: apsw.Connection, query: UploadQuery) -> UploadPage:
    """Reads one page, and looks at a bounded number of uploads for it."""
    before = _NO_NUMBER if query.before_number is None else query.before_number
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
        f" WHERE account_id = ? AND number >= ? AND number < ?{conditions} ORDER BY number DESC LIMIT ?",
        (query.account_id, lowest, before, *arguments, query.max_uploads + 1),
    )
    rows = [UploadRow.of(row) for row in found]
    uploads = [row.state for row in rows[: query.max_uploads]]
    if len(rows) > query.max_uploads:
        return UploadPage(uploads, rows[query.max_uploads - 1].number)
    return UploadPage(uploads, lowest if count == MAX_EXAMINED_UPLOADS else None)


def list_rejections(
    connection: apsw.Connection, account_id: str, upload_id: str, *, after: tuple[int, int], max_results: int
) -> list[UploadRejection]:
    """Reads rejected events of an upload, in its order, after (sequence, index)."""
    number = find_upload(connection, account_id, upload_id).number
    rows: Any = connection.execute(  # Any: each column has its own type
        "SELECT chunk_sequence, event_number, time_ms, event_index, event_id, outcome, position, error"
        " FROM upload_results INDEXED BY upload_rejections"
        " WHERE upload = ? AND outcome = 3 AND (chunk_sequence, event_index) > (?, ?)"
        " ORDER BY chunk_sequence, event_index LIMIT ?",
        (number, *after, max_results),
    )
    return [
        UploadRejection(sequence, event_number, time_ms, Verdict(*verdict))
        for sequence, event_number, time_ms, *verdict in rows
    ]


def _conditions(query: UploadQuery) -> tuple[str, list[apsw.SQLiteValue]]:
    conditions: list[tuple[str, apsw.SQLiteValue]] = []
    if query.start_ms is not None:
        conditions.append(("update_time_ms >= ?", query.start_ms))
    if query.end_ms is not None:
        conditions.append(("update_time_ms < ?", query.end_ms))
    if query.source_name:
        conditions.append(("source_name = ?", query.source_name))
    texts = [f" AND {text}" for text, _ in conditions]
    if query.outcomes:
        counts = sorted({_COLUMNS[outcome] for outcome in query.outcomes})
        texts.append(f" AND ({' OR '.join(f'{column} > 0' for column in counts)})")
    return "".join(texts), [value for _, value in conditions]
