"""Publishes entries to the stream in the order of the calls, over whichever connection is up."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from engagement_server.errors import LogUnreachableError, StoreUnavailableError
from engagement_server.log.nats import entries
from engagement_server.log.nats.entries import MessageId

if TYPE_CHECKING:
    from engagement_server.log.nats.stream import NatsStream

# A message that is sent while there is no leader, or to a server that hangs, is never acknowledged.
_FIRST_ATTEMPT_SECONDS = 1.5
_MAX_ATTEMPT_SECONDS = 3.0
_RETRY_SECONDS = 0.2


class Publisher:
    """Numbers the commits of this process, so that each view applies each of them once."""

    def __init__(self, name: str = "") -> None:
        """Takes the name of its node, or a new one; no other process may ever have it."""
        self.name = name or secrets.token_hex(8)
        self._number = 0
        self._stream: NatsStream | None = None
        self._connected = asyncio.Event()

    def connect(self, stream: NatsStream) -> None:
        """Publishes over this connection from now on."""
        self._stream = stream
        self._connected.set()

    def disconnect(self) -> None:
        """Waits for another connection from now on."""
        self._stream = None
        self._connected.clear()

    def next_id(self) -> MessageId:
        """Returns the id of the next commit; after that is published, an earlier one never may be."""
        self._number += 1
        return MessageId(self.name, self._number)

    async def publish(self, message_id: MessageId, entry: bytes, *, deadline: float) -> None:
        """Publishes an entry, retrying until the clock of the event loop reaches the deadline.

        Only one may be published at a time. Raises StoreUnavailableError, after which the entry may
        nevertheless be in the stream.
        """
        stream = await self._connection(deadline)
        if len(entry) <= stream.max_message_bytes:
            await self.put(str(message_id), entry, deadline=deadline)
            return
        sequences = []
        for index, part in enumerate(entries.split(entry, max_bytes=stream.max_message_bytes)):
            sequences.append(await self.put(message_id.part(index), part, deadline=deadline))
        await self.put(str(message_id), entries.encode_part_list(sequences), deadline=deadline)

    async def put(self, message_id: str, data: bytes, *, deadline: float) -> int:
        """Publishes one message that has no place in the order of commits; returns its sequence.

        Raises as `publish` does.
        """
        loop = asyncio.get_running_loop()
        attempt_seconds = _FIRST_ATTEMPT_SECONDS
        while True:
            stream = await self._connection(deadline)
            try:
                timeout_seconds = min(attempt_seconds, deadline - loop.time())
                return await stream.publish(message_id, data, timeout_seconds=timeout_seconds)
            except LogUnreachableError as error:
                if loop.time() + _RETRY_SECONDS >= deadline:
                    raise StoreUnavailableError(f"no quorum of the log: {error}") from error
            attempt_seconds = min(2 * attempt_seconds, _MAX_ATTEMPT_SECONDS)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _connection(self, deadline: float) -> NatsStream:
        try:
            async with asyncio.timeout_at(deadline):
                while self._stream is None:
                    await self._connected.wait()
        except TimeoutError:
            raise StoreUnavailableError("no server of the log answers") from None
        return self._stream
