"""Turns the chunks of an upload into operations: ids for events without one, and a digest of each chunk.

Ids follow from the upload, the position and the content of an event, so that uploading a source again stores
nothing twice, even after the server has forgotten the upload. They are ordered by position, because a store
keeps ordered ids together.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from engagement import v1
from engagement.limits import MAX_CHUNK_BYTES, MAX_CHUNK_EVENTS
from engagement_server.errors import ChunkTooLargeError
from engagement_server.messages import source_digest
from engagement_server.operations import CommitChunk
from engagement_server.store.upload_rows import MAX_REMEMBERED_CHUNKS
from engagement_server.telemetry.spans import child
from engagement_server.validation import admit_partly, examine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement_server.model import EventRecord, UploadState
    from engagement_server.producer import Producer

_ID_DIGEST_BYTES = 8
_CHUNK_DIGEST_BYTES = 16


class Chunks:
    """The chunks of one stream, in the order in which they are read."""

    def __init__(self, account_id: str, owner: str, state: UploadState, *, producer: Producer) -> None:
        self._account_id = account_id
        self._upload_id = state.upload_id
        self._owner = owner
        self._producer = producer
        self._key = state.salt.encode()
        self._id_prefix = _hash(state.upload_id.encode())
        # By sequence, where each remembered chunk and the next new one begin.
        self._positions = {1: 0, **{chunk.sequence + 1: chunk.events_through for chunk in state.chunks}}

    async def operation(self, chunk: v1.UploadEventsRequest.Chunk) -> CommitChunk:
        """Commits a chunk. Raises FieldInvalidError and ChunkTooLargeError."""
        if len(chunk.events) > MAX_CHUNK_EVENTS:
            raise ChunkTooLargeError(count=len(chunk.events), limit=MAX_CHUNK_EVENTS, unit="events")
        if len(chunk.events) > 1 and chunk.ByteSize() > MAX_CHUNK_BYTES:
            raise ChunkTooLargeError(count=chunk.ByteSize(), limit=MAX_CHUNK_BYTES, unit="bytes")
        # If unknown, the chunk follows a gap or is too old to be compared, and is refused.
        position = self._positions.get(chunk.sequence, 0)
        self._positions.setdefault(chunk.sequence + 1, position + len(chunk.events))
        self._positions.pop(chunk.sequence - MAX_REMEMBERED_CHUNKS, None)

        def make_id(index: int, event: v1.Event) -> str:
            content = _hash(event.SerializeToString(deterministic=True))
            return f"{self._id_prefix}-{position + index:010}-{content}"

        envelope = v1.UploadEventsRequest.Chunk(sequence=chunk.sequence)
        if chunk.HasField("source"):
            envelope.source.CopyFrom(chunk.source)
        with child("validate"):
            examined = await examine(chunk.events, producer=self._producer, make_id=make_id)
        return CommitChunk(
            self._account_id,
            self._upload_id,
            self._owner,
            chunk.sequence,
            admit_partly(v1.UploadEventsRequest(chunk=envelope), chunk.events, examined),
            self._digest(examined.records),
            source_digest(chunk),
            self._producer.principal,
        )

    def _digest(self, records: Sequence[EventRecord]) -> bytes:
        """Identifies the events of a chunk, rejected ones too, by their lengths and bytes."""
        digest = blake2b(digest_size=_CHUNK_DIGEST_BYTES, key=self._key)
        payloads = [record.payload for record in records]
        digest.update(",".join(map(str, map(len, payloads))).encode())
        digest.update(b"".join(payloads))
        return digest.digest()


def _hash(data: bytes) -> str:
    return blake2b(data, digest_size=_ID_DIGEST_BYTES).hexdigest()
