"""Reads the log as a view must apply it: every message after a position, none missing, none damaged.

A message that one server lacks is read from another. One that no server has intact stops the view, unless an
operator has decided that all views skip it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from typing import TYPE_CHECKING

from engagement_server.errors import DamagedMessageError, LogUnreachableError
from engagement_server.log.nats.entries import decode_skips, read_entry, require_kept, skipped_entry
from engagement_server.log.nats.marks import is_foreign, is_intact

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


async def read_skips(stream: NatsStream, *, after: int = 0, is_damage_ignored: bool = False) -> Sequence[int]:
    """The messages that all views skip, as the latest list behind a position has them: it names earlier ones.

    Raises LogUnreachableError, and DamagedMessageError unless that list may be an earlier one that is intact.
    """
    latest = await stream.read_skips()
    if latest is None or latest.sequence <= after:
        return ()
    if not is_foreign(latest) and not is_damage_ignored:
        return decode_skips(latest).sequences
    latest = None
    async for message in stream.all_skips():
        if not is_foreign(message) and (is_intact(message) or not is_damage_ignored):
            latest = message
    return () if latest is None else decode_skips(latest).sequences


async def skipped_later(stream: NatsStream, sequence: int) -> int:
    """The first message up to a position that only a list behind the position skips; 0 if there is none.

    A view at the position has applied it, and differs from the others for good.
    """
    known: set[int] = set()
    async for message in stream.all_skips():
        if is_foreign(message) or not is_intact(message):
            continue
        listed = set(decode_skips(message).sequences)
        late = [each for each in listed - known if each <= sequence < message.sequence]
        if late:
            return min(late)
        known |= listed
    return 0


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
        self._skips: Collection[int] = ()
        self._is_waiting = False
        self._has_reported = False

    async def entries(self) -> AsyncGenerator[tuple[list[LogEntry], int]]:
        """Yields entries with the size of their messages in bytes, without end.

        Raises DamagedMessageError behind the last entry before the damage, StaleViewError,
        UnreadableCommitError and LogUnreachableError.
        """
        self._skips = await self._read_skips()
        async for entry in self._read_end():
            yield [entry], 0
        self._is_waiting = True
        async for messages in self._stream.messages(after=self._next_sequence - 1):
            self._is_waiting = False
            entries: list[LogEntry] = []
            try:
                for message in messages:
                    while self._next_sequence < message.sequence:  # one at a time: there may be many
                        yield [*entries, await self._recover(self._next_sequence)], 0
                        self._next_sequence += 1
                        entries = []
                    entries.append(await self._read(message))
                    self._next_sequence += 1
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

    async def _recover(self, sequence: int) -> LogEntry:
        """Reads a message that was not delivered from another server."""
        for attempt in range(_ATTEMPTS):
            if sequence in self._skips:
                return skipped_entry(sequence)
            message = await self._stream.read_anywhere(sequence)
            if message is not None:
                self._report(sequence)
                return await self._read(message)
            await require_kept(self._stream, sequence)
            self._skips = await self._read_skips()
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
            self._skips = await self._read_skips()
            if message.sequence in self._skips:
                return skipped_entry(message.sequence, message.message_id)
            if other is None or other == message:
                raise
            entry = await self._decode(other)
        if is_foreign(message):
            self._on_foreign(message)
        return entry

    async def _read_skips(self) -> Collection[int]:
        return frozenset(await read_skips(self._stream, after=self._next_sequence - 1))

    async def _decode(self, message: Message) -> LogEntry:
        return await read_entry(self._stream, message, known=self._commit_of(message.message_id))
