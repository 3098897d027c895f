"""Tells the workers of a server and their connections apart, by what Linux says of its processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.connection import Connection, connect, wait_until
from tests.support.server_process import ServerProcess

NEEDS_PROC = pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")
_ESTABLISHED, _LISTENING = "01", "0A"
_MAX_CONNECTIONS = 64


@dataclass(frozen=True)
class Workers:
    """The workers of a running server."""

    server: ServerProcess

    @property
    def pids(self) -> list[int]:
        """Those that there are now."""
        parent = self.server.pid
        with suppress(FileNotFoundError):
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text()
            return sorted(map(int, children.split()))
        return []

    async def all_listen(self, count: int) -> bool:
        """Whether there are so many, and all of them take calls."""
        return len(self.pids) == count and all(self._sockets(pid, _LISTENING) for pid in self.pids)

    async def connect_to_each(self, stack: AsyncExitStack) -> Mapping[int, Connection]:
        """A connection to each worker, by its process."""
        found: dict[int, Connection] = {}
        for _ in range(_MAX_CONNECTIONS):
            before = self._connections()
            connection = await stack.enter_async_context(connect(self.server.address))
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
        """The sockets of a process on the port that are in a state."""
        port = int(self.server.address.rpartition(":")[2])
        rows = [
            row.split()
            for table in ("/proc/net/tcp", "/proc/net/tcp6")
            for row in Path(table).read_text().splitlines()[1:]
        ]
        wanted = {row[9] for row in rows if row[3] == state and int(row[1].partition(":")[2], 16) == port}
        return wanted.intersection(_socket_inodes(pid))


async def until_gone(*pids: int) -> None:
    """Returns when none of the processes is there any more."""

    async def are_gone() -> bool:
        return not any(map(_exists, pids))

    await wait_until(are_gone)


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _socket_inodes(pid: int) -> Iterator[str]:
    with suppress(FileNotFoundError):  # ended meanwhile
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                target = str(file.readlink())
                if target.startswith("socket:["):
                    yield target.removeprefix("socket:[").removesuffix("]")
