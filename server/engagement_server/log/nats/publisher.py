"""Puts commits into the stream, in the order of the calls, through whatever connection there is."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from engagement_server.errors import StoreUnavailableError
from engagement_server.faults import LogUnreachableError
from engagement_server.log.nats import framing
from engagement_server.log.nats.framing import MessageId

if TYPE_CHECKING:
    from engagement_server.log.nats.stream import NatsStream

# What comes while there is no leader, or to a server that hangs, is never answered.
_FIRST_ATTEMPT_SECONDS = 1.5
_MAX_ATTEMPT_SECONDS = 3.0
_RETRY_SECONDS = 0.2


class Publisher:
    """One publisher of the log: numbers its commits, so that views take each of them once."""

    def __init__(self) -> None:
        self._name = secrets.token_hex(8)
        self._number = 0
        self._stream: NatsStream | None = None
        self._connected = asyncio.Event()

    def connect(self, stream: NatsStream) -> None:
        """Publishes through this connection from now on."""
        self._stream = stream
        self._connected.set()

    def disconnect(self) -> None:
        """Waits for another connection from now on."""
        self._stream = None
        self._connected.clear()

    def next_id(self) -> MessageId:
        """The id of the next commit. Those behind one that was given up may be published; it may not."""
        self._number += 1
        return MessageId(self._name, self._number)

    async def publish(self, message_id: MessageId, data: bytes, *, deadline: float) -> None:
        """Puts an encoded commit into the stream, trying until the loop's clock is at the deadline.

        Only one may be published at a time. Raises StoreUnavailableError; the commit may be there even so.
        """
        stream = await self._connection(deadline)
        if len(data) < stream.max_message_bytes:
            await self._put(str(message_id), framing.COMMIT + data, deadline)
            return
        sequences = []
        for index, part in enumerate(framing.split(data, max_bytes=stream.max_message_bytes)):
            sequences.append(await self._put(message_id.part(index), part, deadline))
        await self._put(str(message_id), framing.encode_sequences(sequences), deadline)

    async def _put(self, message_id: str, data: bytes, deadline: float) -> int:
        """Puts one message into the stream; its sequence."""
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
