"""A worker's log keeps the promises of the port, over the log of the writing process."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

from engagement_server.errors import RequestError
from engagement_server.log.committer import Committer
from engagement_server.log.local import LocalLog
from engagement_server.operations import Commit, Result
from engagement_server.store.database import DatabaseFile
from engagement_server.store.readers import Readers
from engagement_server.workers.channel import Channel
from engagement_server.workers.remote_log import RemoteLog
from engagement_server.workers.remote_log_server import RemoteLogServer
from tests.conformance.commit_log import CommitLogConformance
from tests.support.full_disk import BoundedDatabaseFile


class _TimedLog(LocalLog):
    """The log of the writing process, with the suite's clock."""

    time_ms = 0

    async def commit(self, commit: Commit) -> list[Result | RequestError]:
        return await super().commit(replace(commit, time_ms=self.time_ms))


class _TimingLog(RemoteLog):
    """The log of the worker; sets the other side's clock."""

    timed: _TimedLog

    async def commit(self, commit: Commit) -> list[Result | RequestError]:
        self.timed.time_ms = commit.time_ms
        return await super().commit(commit)


class RemoteNode:
    """Both sides over a folder, in one process."""

    log: _TimingLog

    def __init__(self, data_dir: Path) -> None:
        self._database = BoundedDatabaseFile(data_dir)
        self._writing = _TimedLog(self._database)
        self._committer = Committer(self._writing)
        self._host = RemoteLogServer(self._writing, self._committer)
        self._lent = DatabaseFile(data_dir, is_lent=True)
        self.readers = Readers(self._lent, threads=2)

    async def open(self) -> RemoteNode:
        ours, theirs = socket.socketpair()
        channel = await Channel.open(ours)
        self._serving = asyncio.create_task(self._host.serve(channel, kill=lambda: None))
        self.log = await _TimingLog.open(theirs)
        self.log.timed = self._writing
        return self

    async def close(self) -> None:
        self.readers.close()
        await self.log.close()
        await self._serving
        self._host.close()
        await self._committer.close()
        await self._writing.close()
        self._lent.close()
        self._database.close()

    async def fill_storage(self) -> None:
        self._database.fill()

    async def free_storage(self) -> None:
        self._database.free()


class TestRemoteLog(CommitLogConformance):
    async def open_node(self, data_dir: Path) -> RemoteNode:
        return await RemoteNode(data_dir).open()
