"""A TCP proxy that loses connections as networks do."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Self


class Flow(Enum):
    """What a proxy does with connections."""

    OPEN = auto()
    BROKEN = auto()
    """Existing ones are reset, and new ones are refused."""
    FROZEN = auto()
    """Nothing gets through, silently, as when packets are lost."""


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
        self._requests_flow, self._replies_flow = asyncio.Event(), asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()  # Any: of no interest
        self._server: asyncio.Server | None = None
        self.port = 0
        self.connections = 0
        self.refusals_due = 0
        """How many of the next connections are cut at once."""

    async def __aenter__(self) -> Self:
        await self.set_flow(Flow.OPEN)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    async def close(self) -> None:
        """Ends the connections and gives the port back."""
        await self.set_flow(Flow.BROKEN)
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def set_flow(self, flow: Flow) -> None:
        """Changes the flow of all connections, existing ones included."""
        if flow is Flow.BROKEN:
            if self._server is not None:
                self._server.close()
                self._server = None
            self.cut()
        elif self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]
        for flowing in (self._requests_flow, self._replies_flow):
            if flow is Flow.FROZEN:
                flowing.clear()
            else:
                flowing.set()

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
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if self.refusals_due or self.connections > self._max_connections:
                self.refusals_due = max(0, self.refusals_due - 1)
                return
            await self._requests_flow.wait()
            if not writer.is_closing():
                await self._forward(reader, writer)
        except OSError:
            pass  # the target does not listen: as without the proxy, the connection ends
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        self._writers.add(far_writer)
        budget_bytes = self._cut_after_bytes() if self._cut_after_bytes else math.inf
        pumps = [
            asyncio.create_task(_pump(reader, far_writer, self._requests_flow, budget_bytes=budget_bytes)),
            asyncio.create_task(_pump(far_reader, writer, self._replies_flow, budget_bytes=math.inf)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            # While it is frozen, the other end must not notice.
            await self._requests_flow.wait()
        finally:
            for pump in pumps:
                pump.cancel()
            far_writer.transport.abort()
            self._writers.discard(far_writer)
            await asyncio.wait(pumps)


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flow: asyncio.Event, *, budget_bytes: float
) -> None:
    try:
        while data := await reader.read(16 * 1024):
            budget_bytes -= len(data)
            if budget_bytes < 0:
                return
            await flow.wait()
            writer.write(data)
            await writer.drain()
        # The last bytes must arrive before the connection is cut.
        await flow.wait()
        writer.close()
        await writer.wait_closed()
    except OSError:
        return
