"""The messages that an upload stream answers with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement import v1
from engagement.limits import MAX_CHUNK_BYTES, MAX_CHUNK_EVENTS
from engagement_server.messages import source_message, tally_message, upload_message
from engagement_server.streams.closing import delayed

if TYPE_CHECKING:
    from engagement_server.model import Tally, UploadState

MAX_UNACKED_CHUNKS = 8


def opened_message(state: UploadState, *, heartbeat_seconds: float) -> v1.UploadEventsResponse:
    """Says where an upload goes on, and within which limits."""
    opened = v1.UploadEventsResponse.Opened(
        committed_through=state.committed_through,
        max_chunk_events=MAX_CHUNK_EVENTS,
        max_chunk_bytes=MAX_CHUNK_BYTES,
        max_unacked_chunks=MAX_UNACKED_CHUNKS,
        source_salt=state.salt,
        source=source_message(state.source),
        earlier_sources=[
            digest for chunk in state.chunks[:-1] if (digest := source_message(chunk.source)) is not None
        ],
    )
    opened.heartbeat_interval.FromMilliseconds(int(heartbeat_seconds * 1000))
    return v1.UploadEventsResponse(opened=opened)


def ack_message(*, committed_through: int, tally: Tally) -> v1.UploadEventsResponse:
    """An ack without results."""
    ack = v1.UploadEventsResponse.Ack(committed_through=committed_through, tally=tally_message(tally))
    return v1.UploadEventsResponse(ack=ack)


def closing_message(reason: v1.UploadEventsResponse.Closing.Reason) -> v1.UploadEventsResponse:
    """Asks the client to reconnect."""
    return v1.UploadEventsResponse(closing=delayed(v1.UploadEventsResponse.Closing(reason=reason)))


def finished_message(state: UploadState) -> v1.UploadEventsResponse:
    """Says how an upload has ended."""
    return v1.UploadEventsResponse(finished=v1.UploadEventsResponse.Finished(upload=upload_message(state)))
