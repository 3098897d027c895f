"""Incidents in a cluster, one at a time, so that a quorum is always left."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random

from tests.support.nats_cluster import NatsCluster
from tests.support.server_cluster import ServerCluster, stream_leader

_LONGEST_PAUSE_SECONDS = 5

Incident = Callable[[], AbstractAsyncContextManager[None]]
"""Happens when the context is entered, and is repaired when it is left."""


class Incidents:
    """Harms and repairs servers of the log, `nats`, and nodes, `servers`."""

    def __init__(self, nats: NatsCluster, servers: ServerCluster, chance: Random) -> None:
        self.start_seconds: list[float] = []
        """The seconds of each start of a node until it served."""
        self._nats = nats
        self._servers = servers
        self._chance = chance

    @asynccontextmanager
    async def server_is_killed(self, *, leads: bool = False) -> AsyncIterator[None]:
        """Any server of the log, or the one that leads the stream: SIGKILL."""
        node = self._nats.nodes[self._leader() if leads else self._any()]
        node.kill()
        yield
        await asyncio.to_thread(node.restart)

    @asynccontextmanager
    async def server_is_frozen(self) -> AsyncIterator[None]:
        """Any server of the log: SIGSTOP."""
        node = self._nats.nodes[self._any()]
        node.pause()
        yield
        node.resume()

    @asynccontextmanager
    async def server_is_cut_off(self) -> AsyncIterator[None]:
        """Any server of the log sees no other, but nodes see it: connections are reset."""
        number = self._any()
        self._nats.cut(number)
        yield
        self._nats.heal(number)

    @asynccontextmanager
    async def leader_is_silent(self) -> AsyncIterator[None]:
        """The server that leads the stream sees no other, but nodes see it: packets are lost."""
        number = self._leader()
        self._nats.cut(number, silently=True)
        yield
        self._nats.heal(number)

    @asynccontextmanager
    async def node_is_killed(self, number: int | None = None) -> AsyncIterator[None]:
        """A node: SIGKILL."""
        victim = self._any() if number is None else number
        self._servers.nodes[victim].kill()
        yield
        await self._start(victim)

    @asynccontextmanager
    async def node_is_stopped(self) -> AsyncIterator[None]:
        """A node: SIGTERM."""
        victim = self._any()
        status = await asyncio.to_thread(self._servers.nodes[victim].stop)
        assert status == 0, self._servers.nodes[victim].last_messages
        yield
        await self._start(victim)

    @asynccontextmanager
    async def node_pauses(self) -> AsyncIterator[None]:
        """A node pauses for some seconds: SIGSTOP and SIGCONT."""
        pid = self._servers.nodes[self._any()].pid
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(self._chance.uniform(0, _LONGEST_PAUSE_SECONDS))
        os.kill(pid, signal.SIGCONT)
        yield

    @asynccontextmanager
    async def node_is_lost(self) -> AsyncIterator[None]:
        """A node and its store; a new one starts in its place."""
        victim = self._any()
        node = self._servers.nodes[victim]
        node.kill()
        await asyncio.to_thread(shutil.rmtree, node.data_dir)
        yield
        await self._start(victim)

    async def settle(self) -> None:
        """Waits until all servers are healthy; fails if a node has exited."""
        await asyncio.to_thread(self._nats.wait_until_healthy)
        for node in self._servers.nodes:
            await asyncio.to_thread(node.wait_until_serving)

    async def _start(self, number: int) -> None:
        began = time.monotonic()
        node = self._servers.nodes[number]
        await asyncio.to_thread(node.start)
        await asyncio.to_thread(node.wait_until_serving)
        self.start_seconds.append(time.monotonic() - began)

    def _any(self) -> int:
        return self._chance.randrange(len(self._nats.nodes))

    def _leader(self) -> int:
        leader = stream_leader(self._nats)
        return self._any() if leader is None else leader
