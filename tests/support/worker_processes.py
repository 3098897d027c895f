"""The workers of a server and their connections, read from /proc."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.connection import Connection, connect
from tests.support.server_process import ServerProcess
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import eventually

NEEDS_PROC = pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")
_ESTABLISHED, _LISTENING = "01", "0A"
_MAX_CONNECTIONS = 64


@dataclass(frozen=True)
class Workers:
    """The workers of a running server."""

    server: ServerProcess

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers."""
        parent = self.server.pid
        with suppress(FileNotFoundError):
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text()
            return sorted(map(int, children.split()))
        return []

    def all_listen(self, count: int) -> bool:
        """Whether there are this many, all of them listening."""
        pids = self.pids
        return len(pids) == count and all(self._sockets(pid, _LISTENING) for pid in pids)

    async def connect_to_each(self, stack: AsyncExitStack) -> Mapping[int, Connection]:
        """A connection to each worker, by its process.

        It ends with its worker: the port is that of all workers, so only a proxy that refuses a second
        connection keeps the library from reconnecting to another one.
        """
        found: dict[int, Connection] = {}
        for _ in range(_MAX_CONNECTIONS):
            before = self._connections()
            proxy = await stack.enter_async_context(TcpProxy(self.server.address, max_connections=1))
            connection = await stack.enter_async_context(connect(proxy.address))
            await connection.channel.channel_ready()
            # By its sockets rather than their number: connections of earlier tests may be closing.
            (pid,) = (pid for pid, sockets in self._connections().items() if sockets - before[pid])
            found.setdefault(pid, connection)
            if len(found) == len(before):
                return found
        raise AssertionError("some workers get no connection")

    def _connections(self) -> dict[int, set[str]]:
        return {pid: self._sockets(pid, _ESTABLISHED) for pid in self.pids}

    def _sockets(self, pid: int, state: str) -> set[str]:
        """The sockets of a process on the port, by state."""
        port = int(self.server.address.rpartition(":")[2])
        rows = [
            row.split()
            for table in ("/proc/net/tcp", "/proc/net/tcp6")
            for row in Path(table).read_text().splitlines()[1:]
        ]
        wanted = {row[9] for row in rows if row[3] == state and int(row[1].partition(":")[2], 16) == port}
        return wanted.intersection(_socket_inodes(pid))


async def until_gone(*pids: int) -> None:
    """Waits until none of the processes is there any more."""
    await eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), f"{pids} are gone")


def _socket_inodes(pid: int) -> Iterator[str]:
    with suppress(FileNotFoundError):  # ended meanwhile
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                yield str(file.readlink()).removeprefix("socket:[").removesuffix("]")
