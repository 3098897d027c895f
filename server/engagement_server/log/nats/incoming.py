"""Reads the log as a view must apply it: every message after a position, none missing, none damaged.

A message that one server lacks is read from another. One that no server has intact stops the view, unless an
operator has decided that all views skip it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING

from engagement_server.errors import DamagedMessageError, LogUnreachableError, StaleViewError
from engagement_server.log.nats.entries import decode_skips, read_entry, skipped_entry
from engagement_server.log.nats.marks import is_foreign

if TYPE_CHECKING:
    from engagement_server.log.nats.delivery import Message
    from engagement_server.log.nats.stream import NatsStream
    from engagement_server.log_entries import LogEntry
    from engagement_server.operations import Commit

_log = logging.getLogger(__name__)

# A new leader may not have read the last messages yet.
_ATTEMPTS = 3
_RETRY_SECONDS = 0.5
# How long a message may be in the log before the consumer must have delivered it.
_DELIVERY_SECONDS = 2.0


async def read_skips(stream: NatsStream) -> frozenset[int]:
    """The messages that all views skip. Raises LogUnreachableError and DamagedMessageError."""
    message = await stream.read_skips()
    return frozenset() if message is None else frozenset(decode_skips(message).sequences)


class Incoming:
    """The entries that one connection delivers."""

    def __init__(
        self,
        stream: NatsStream,
        *,
        after: int,
        commit_of: Callable[[str], Commit | None],
        on_foreign: Callable[[Message], None],
    ) -> None:
        """`commit_of` returns the commit with an id if this process has published it."""
        self._stream = stream
        self._next_sequence = after + 1
        self._commit_of = commit_of
        self._on_foreign = on_foreign
        self._skips: frozenset[int] = frozenset()
        self._is_waiting = False
        self._has_reported = False

    async def entries(self) -> AsyncGenerator[tuple[list[LogEntry], int]]:
        """Yields entries with the size of their messages in bytes, without end.

        Raises DamagedMessageError behind the last entry before the damage, StaleViewError,
        UnreadableCommitError and LogUnreachableError.
        """
        self._skips = await read_skips(self._stream)
        async for entry in self._read_end():
            yield [entry], 0
        self._is_waiting = True
        async for messages in self._stream.messages(after=self._next_sequence - 1):
            self._is_waiting = False
            entries: list[LogEntry] = []
            try:
                for message in messages:
                    await self._add(message, entries)
            except DamagedMessageError:
                if entries:
                    yield entries, 0
                raise
            yield entries, sum(len(message.data) for message in messages)
            self._is_waiting = True

    async def watch_end(self, last_sequence: Callable[[], int]) -> None:
        """Watches for messages at the end of the log that are not delivered; never returns.

        Raises DamagedMessageError if they are missing, and LogUnreachableError if they are not.
        """
        while True:
            awaited = self._next_sequence
            await asyncio.sleep(_DELIVERY_SECONDS)
            if not self._is_waiting or self._next_sequence > awaited or last_sequence() < awaited:
                continue
            if await self._stream.read_next(awaited) is None:
                await self._recover(awaited)
            raise LogUnreachableError(f"{self._stream.server} does not deliver message {awaited}")

    async def _read_end(self) -> AsyncGenerator[LogEntry]:
        """Reads messages at the end of the log that its leader lacks, so that no consumer delivers them."""
        last_sequence = (await self._stream.state()).last_sequence
        is_missed = last_sequence >= self._next_sequence
        if is_missed and await self._stream.read_next(self._next_sequence) is None:
            while self._next_sequence <= last_sequence:
                yield await self._recover(self._next_sequence)
                self._next_sequence += 1

    async def _add(self, message: Message, entries: list[LogEntry]) -> None:
        while self._next_sequence < message.sequence:
            entries.append(await self._recover(self._next_sequence))
            self._next_sequence += 1
        entries.append(await self._read(message))
        self._next_sequence += 1

    async def _recover(self, sequence: int) -> LogEntry:
        """Reads a message that was not delivered from another server."""
        for attempt in range(_ATTEMPTS):
            if sequence in self._skips:
                return skipped_entry(sequence)
            message = await self._stream.read_anywhere(sequence)
            if message is not None:
                self._report(sequence)
                return await self._read(message)
            if (first := (await self._stream.state()).first_sequence) > sequence:
                raise StaleViewError(f"the log begins with message {first}, but this view needs {sequence}")
            self._skips = await read_skips(self._stream)
            await asyncio.sleep(_RETRY_SECONDS * (attempt < _ATTEMPTS - 1))
        raise DamagedMessageError(sequence, "is missing")

    def _report(self, sequence: int) -> None:
        if not self._has_reported:
            self._has_reported = True
            _log.warning(
                "a server of the log lacks message %d, and perhaps others, which another one has:"
                " `engagement log check` says which server to repair",
                sequence,
            )

    async def _read(self, message: Message) -> LogEntry:
        if message.sequence in self._skips:
            return skipped_entry(message.sequence, message.message_id)
        try:
            entry = await self._decode(message)
        except DamagedMessageError:
            other = await self._stream.read_anywhere(message.sequence)
            self._skips = await read_skips(self._stream)
            if message.sequence in self._skips:
                return skipped_entry(message.sequence, message.message_id)
            if other is None or other == message:
                raise
            entry = await self._decode(other)
        if is_foreign(message):
            self._on_foreign(message)
        return entry

    async def _decode(self, message: Message) -> LogEntry:
        return await read_entry(self._stream, message, known=self._commit_of(message.message_id))
