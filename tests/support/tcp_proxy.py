"""A TCP proxy that loses connections as networks do."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Self


class TcpProxy:
    """Forwards bytes to one address until the test holds them back or cuts.

    Args:
        target: where it forwards to.
        cut_after_bytes: says for each connection how many bytes from the client it survives.
        max_connections: how many connections it accepts; it cuts all later ones at once.
    """

    def __init__(
        self,
        target: str,
        *,
        cut_after_bytes: Callable[[], int] | None = None,
        max_connections: float = math.inf,
    ) -> None:
        self._host, _, self._port = target.rpartition(":")
        self._cut_after_bytes = cut_after_bytes
        self._max_connections = max_connections
        self._replies_flow = asyncio.Event()
        self._replies_flow.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.address = ""
        self.connections = 0
        self.refusals_due = 0
        """How many of the next connections are cut at once."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    def hold_replies(self) -> None:
        """Nothing reaches a client from now on."""
        self._replies_flow.clear()

    def cut(self) -> None:
        """Resets all connections; held replies are lost, and new connections work again."""
        for writer in self._writers:
            writer.transport.abort()
        self._replies_flow.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refusals_due or self.connections > self._max_connections:
            self.refusals_due = max(0, self.refusals_due - 1)
            writer.transport.abort()
            return
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, upstream_writer}
        self._writers |= ends
        budget = self._cut_after_bytes() if self._cut_after_bytes else None
        pumps = [
            asyncio.create_task(self._pump(reader, upstream_writer, budget_bytes=budget)),
            asyncio.create_task(self._pump(upstream_reader, writer, is_reply=True)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            for end in ends:
                end.transport.abort()
            self._writers -= ends
            await asyncio.wait(pumps)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        budget_bytes: int | None = None,
        is_reply: bool = False,
    ) -> None:
        passed = 0
        try:
            while data := await reader.read(16 * 1024):
                passed += len(data)
                if budget_bytes is not None and passed > budget_bytes:
                    return
                if is_reply:
                    await self._replies_flow.wait()
                writer.write(data)
                await writer.drain()
            # The last bytes must arrive before the connection is cut.
            writer.close()
            await writer.wait_closed()
        except ConnectionError:
            return
