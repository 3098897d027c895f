"""Links between servers: loopback proxies that a test may break, freeze and restore.

They run in a thread of their own, so that a test which blocks its event loop does not stop the traffic.
"""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Coroutine
from enum import Enum, auto
from typing import Any, TypeVar

from tests.support.free_ports import free_ports
from tests.support.waiting import DEADLINE_SECONDS

READ_BYTES = 64 * 1024

Result = TypeVar("Result")


class Flow(Enum):
    """What a link does with connections."""

    OPEN = auto()
    BROKEN = auto()
    """Existing ones are reset, and new ones are refused."""
    FROZEN = auto()
    """Nothing gets through, silently, as when packets are lost."""


class Link:
    """One direction to a port: connections to `port` reach `target_port` while the link is open."""

    def __init__(self, links: Links, *, target_port: int) -> None:
        self._links = links
        self._target_port = target_port
        self._flow = Flow.OPEN
        self._is_thawed = asyncio.Event()
        self._is_thawed.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    def set_flow(self, flow: Flow) -> None:
        """Changes the flow of all connections, existing ones included; returns once it is in force."""
        self._links.call(self._set_flow(flow))

    async def open(self) -> None:
        """Listens on a free port."""
        while self._server is None:
            (self.port,) = free_ports(1)
            try:
                await self._listen()
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise

    async def close(self) -> None:
        """Ends the connections and gives the port back."""
        await self._set_flow(Flow.BROKEN)
        if self._connections:
            await asyncio.wait(self._connections)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _set_flow(self, flow: Flow) -> None:
        self._flow = flow
        if flow is Flow.BROKEN:
            if self._server is not None:
                self._server.close()
                self._server = None
            for writer in self._writers:
                writer.transport.abort()
        elif self._server is None:
            await self._listen()
        if flow is Flow.FROZEN:
            self._is_thawed.clear()
        else:
            self._is_thawed.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self._writers.add(writer)
        try:
            await self._is_thawed.wait()
            if self._flow is Flow.OPEN:
                await self._forward(reader, writer)
        except OSError:
            pass  # the target does not listen: as without the link, the connection ends
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._connections.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._writers.add(far_writer)
        pumps = [
            asyncio.create_task(self._pump(reader, far_writer)),
            asyncio.create_task(self._pump(far_reader, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            # While the link is frozen, the other end must not notice.
            await self._is_thawed.wait()
        finally:
            for pump in pumps:
                pump.cancel()
            far_writer.transport.abort()
            self._writers.discard(far_writer)
            await asyncio.wait(pumps)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(READ_BYTES):
                await self._is_thawed.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            return


class Links:
    """All links of a cluster, and the thread that they run in."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._thread.start()
        self._links: list[Link] = []

    def add(self, *, target_port: int) -> Link:
        """A new open link."""
        link = Link(self, target_port=target_port)
        self.call(link.open())
        self._links.append(link)
        return link

    def close(self) -> None:
        """Closes all links and ends the thread."""
        for link in self._links:
            self.call(link.close())
        self._links.clear()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_SECONDS)
        self._loop.close()

    # `Any` stands for what a coroutine yields and is sent, which only the event loop sees.
    def call(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Runs a coroutine in the links' thread; its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(DEADLINE_SECONDS)
