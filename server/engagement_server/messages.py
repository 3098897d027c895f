"""Model values as messages of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from engagement import v1
from engagement_server.model import SourceDigest

if TYPE_CHECKING:
    from engagement_server.cursor import Cursors
    from engagement_server.model import ErasureState, StoredRow, Tally, UploadState, Verdict


def tally_message(tally: Tally) -> v1.Tally:
    """A tally as a message."""
    return v1.Tally(
        accepted=tally.accepted,
        duplicate=tally.duplicate,
        rejected=tally.rejected,
        suppressed=tally.suppressed,
    )


def verdict_message(verdict: Verdict, *, cursors: Cursors) -> v1.EventResult:
    """The result of one event."""
    result = v1.EventResult()
    fill_result(result, verdict, cursors=cursors)
    return result


def fill_result(result: v1.EventResult, verdict: Verdict, *, cursors: Cursors) -> None:
    """Turns an empty result, perhaps one inside an ack, into that of one event."""
    result.index = verdict.index
    result.event_id = verdict.event_id
    result.outcome = cast("v1.Outcome", int(verdict.outcome))  # the numbers are the contract's
    if verdict.position:
        result.cursor = cursors.encode(verdict.position)
    if verdict.error:
        result.error.ParseFromString(verdict.error)


def source_message(source: SourceDigest | None) -> v1.SourceDigest | None:
    """The digest of an upload's source as a message."""
    return None if source is None else v1.SourceDigest(events=source.events, sha256=source.sha256)


def source_digest(
    message: v1.UploadEventsRequest.Chunk | v1.UploadEventsRequest.Finish,
) -> SourceDigest | None:
    """The digest of the source that a client sent along."""
    if not message.HasField("source"):
        return None
    return SourceDigest(message.source.events, message.source.sha256)


def upload_message(state: UploadState) -> v1.Upload:
    """The state of an upload."""
    upload = v1.Upload(
        upload_id=state.upload_id,
        state=v1.Upload.STATE_FINISHED if state.is_finished else v1.Upload.STATE_OPEN,
        committed_through=state.committed_through,
        tally=tally_message(state.tally),
    )
    upload.create_time.FromMilliseconds(state.create_time_ms)
    upload.update_time.FromMilliseconds(state.update_time_ms)
    return upload


def erasure_message(state: ErasureState) -> v1.Erasure:
    """An erasure and its progress."""
    erasure = v1.Erasure(
        erasure_id=state.erasure_id,
        matched_events=state.erased_events,
        erased_events=state.erased_events,
        suppressing=state.is_suppressing,
        request_id=state.request_id,
        subject_kind=v1.SubjectKind.Name(state.subject_kind),
    )
    erasure.create_time.FromMilliseconds(state.create_time_ms)
    if state.complete_time_ms is not None:
        erasure.complete_time.FromMilliseconds(state.complete_time_ms)
    return erasure


def stored_event_message(row: StoredRow, *, cursors: Cursors) -> v1.StoredEvent:
    """A stored event, with the fields that the server fills in."""
    stored = v1.StoredEvent(
        cursor=cursors.encode(row.position),
        matched_customer_status=row.matched_status,
        matched_customer_type=row.matched_type,
    )
    event = stored.event
    event.ParseFromString(row.payload)
    attributes = event.customer_info if event.HasField("customer_info") else event.personal_info
    attributes.server_time_stamp = row.server_time_ms
    # `FromMilliseconds` takes longer than everything else here.
    stored.receive_time.seconds, milliseconds = divmod(row.receive_time_ms, 1000)
    stored.receive_time.nanos = milliseconds * 1_000_000
    return stored
