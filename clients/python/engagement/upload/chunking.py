"""Cuts a source of events into chunks, and reads it no faster than they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from engagement import v1
from engagement.errors import SourceMismatchError
from engagement.limits import MAX_EVENT_BYTES
from engagement.upload.source import canonical_form
from engagement.wire import length_delimited

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement.upload.source import SourceDigester

Source: TypeAlias = Iterable[v1.Event] | AsyncIterable[v1.Event]
_MAX_BYTES_RULE = "server.event.max_bytes"
Reject = Callable[[int, v1.Event, v1.EventError], None]

FLUSH_SECONDS = 0.2
# Allowance for an event's tag and length, and its share of the enclosing message.
_FRAMING_BYTES = 64
_EVENTS_BETWEEN_PAUSES = 1024
_CHUNK = v1.UploadEventsRequest.CHUNK_FIELD_NUMBER
_EVENTS = v1.UploadEventsRequest.Chunk.EVENTS_FIELD_NUMBER


@dataclass(frozen=True, slots=True)
class Chunk:
    """Events that are sent, committed and resent together."""

    sequence: int
    first_position: int
    """Position of its first event in the source, from 0; the others come after it without a gap."""
    end_position: int
    """Position after its last event."""
    source: v1.SourceDigest
    """The digest of the source up to there."""
    request: bytes
    """The serialized `UploadEventsRequest`."""
    reported: set[int] = field(default_factory=set)
    """Indexes of the events that were rejected, or erased before, and have been reported to the caller."""

    def events(self) -> Sequence[v1.Event]:
        """The events as sent; parses them."""
        return v1.UploadEventsRequest.FromString(self.request).chunk.events


class Chunker:
    """Reads a source in a task of its own and keeps the events of one chunk ready.

    A chunk is complete when it is full; a larger event is alone in its chunk. If the source pauses, a chunk
    is taken as it is, so that the events of an endless source are not held back. An event that is larger than
    events may be is rejected here.
    """

    def __init__(self, source: Source, *, chunk_events: int | None, reject: Reject) -> None:
        self._source = source
        self._chunk_events = chunk_events
        self._reject = reject
        self._reader: asyncio.Task[None] | None = None
        self._events: list[bytes] = []
        self._bytes = 0
        self._first_position = 0
        self._position = 0
        self._skip_events = 0
        self._is_finished = False
        self._has_ended = False
        self._has_some = asyncio.Event()
        self._is_complete = asyncio.Event()
        self._has_room = asyncio.Event()
        self.last_sequence = 0
        """Sequence of the last chunk that was taken or skipped."""
        self.error: Exception | None = None
        """The exception that the source raised; its earlier events are still delivered in chunks."""

    @property
    def has_begun(self) -> bool:
        """Whether the source is being read."""
        return self._reader is not None

    @property
    def is_comparing(self) -> bool:
        """Whether the source is only compared with that of a finished upload."""
        return self._is_finished

    @property
    def has_ended(self) -> bool:
        """Whether the source has ended or failed, and its last chunk was taken."""
        return self._has_ended and not self._events

    def begin(
        self,
        opened: v1.UploadEventsResponse.Opened,
        digester: SourceDigester,
        *,
        skip_events: int,
        is_finished: bool,
    ) -> None:
        """Starts to read the source, of which the committed beginning is compared and not sent again.

        `skip_events` is how many events to skip if the earlier run sent no digest. If the upload
        `is_finished`, all of the source is only compared.
        """
        self._max_events = min(self._chunk_events or opened.max_chunk_events, opened.max_chunk_events)
        self._max_bytes = opened.max_chunk_bytes
        self.last_sequence = opened.committed_through
        self.digester = digester
        self._skip_events = skip_events
        self._is_finished = is_finished
        self._reader = asyncio.create_task(self._read(), name="upload-source")

    async def wait(self) -> None:
        """Returns once the source has ended or failed."""
        await self._is_complete.wait()

    async def close(self) -> None:
        """Stops reading."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])

    async def next(self) -> Chunk | None:
        """The next chunk, or None after the last; cancelling the wait loses nothing."""
        await self._has_some.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._is_complete.wait()
        return self._take() if self._events else None

    def _take(self) -> Chunk:
        self.last_sequence += 1
        source = self.digester.digest()
        end = v1.UploadEventsRequest.Chunk(sequence=self.last_sequence, source=source)
        request = length_delimited(_CHUNK, b"".join((*self._events, end.SerializeToString())))
        end_position = self._first_position + len(self._events)
        self._events = []
        self._bytes = 0
        if not self._has_ended:
            self._has_some.clear()
            self._is_complete.clear()
        self._has_room.set()
        return Chunk(self.last_sequence, self._first_position, end_position, source, request)

    async def _read(self) -> None:
        try:
            if isinstance(self._source, AsyncIterable):
                async for event in self._source:
                    await self._add(event)
            else:
                for event in self._source:
                    await self._add(event)
            self.digester.end(is_finished=self._is_finished)
            self._require_all_skipped()
        except Exception as error:
            self.error = error
        self._has_ended = True
        self._has_some.set()
        self._is_complete.set()

    async def _add(self, event: v1.Event) -> None:
        position = self._position
        self._position += 1
        # The serialized event gives its size and its digest, and the source can no longer change it.
        serialized = event.SerializeToString(deterministic=True)
        size_bytes = len(serialized) + _FRAMING_BYTES
        is_too_large = len(serialized) > MAX_EVENT_BYTES
        # A chunk's digest covers its events only, so that it is taken before the next event is digested.
        if is_too_large or self._bytes + size_bytes > self._max_bytes:
            await self._complete()
        is_committed = self._is_finished or not self.digester.has_passed
        self.digester.add(canonical_form(event, serialized))
        if self._is_finished and self.digester.has_passed:
            self.digester.end(is_finished=True)  # refuses an endless source, too
        if is_too_large:
            self._reject(position, event, _too_large(len(serialized)))
            return
        if is_committed or self._skip_events:
            self._skip_events -= not is_committed
            if position % _EVENTS_BETWEEN_PAUSES == 0:
                await asyncio.sleep(0)
            return
        if not self._events:
            self._first_position = position
            self._has_some.set()
        self._events.append(length_delimited(_EVENTS, serialized))
        self._bytes += size_bytes
        if len(self._events) >= self._max_events:
            await self._complete()

    async def _complete(self) -> None:
        """Marks the chunk as complete, and waits until it is taken."""
        if self._events:
            self._has_room.clear()
            self._is_complete.set()
            await self._has_room.wait()

    def _require_all_skipped(self) -> None:
        if self._skip_events:
            raise SourceMismatchError(
                f"the source ends {self._skip_events} events before the point that the upload has reached: "
                "it is not the source that the upload began with; use another upload id for another source"
            )


def _too_large(size_bytes: int) -> v1.EventError:
    """The rejection of an event that is larger than events may be, in the server's terms."""
    description = f"must take at most {MAX_EVENT_BYTES} bytes, takes {size_bytes}"
    return v1.EventError(
        reason=v1.ErrorReason.ERROR_REASON_FIELD_INVALID,
        message=f"the event {description}",
        violations=[v1.FieldViolation(rule=_MAX_BYTES_RULE, description=description)],
        violations_total=1,
        metadata={"field": "", "rule": _MAX_BYTES_RULE, "description": description, "violationsTotal": "1"},
    )
