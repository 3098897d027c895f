"""The log of a single machine keeps the promises of the port."""

from __future__ import annotations

from pathlib import Path

from engagement_server.log.local import LocalLog
from engagement_server.store.readers import Readers
from tests.conformance.commit_log import CommitLogConformance
from tests.support.full_disk import BoundedDatabaseFile


class LocalNode:
    """A local log over a folder."""

    def __init__(self, data_dir: Path) -> None:
        self._database = BoundedDatabaseFile(data_dir)
        self.log = LocalLog(self._database)
        self.readers = Readers(self._database, threads=2)

    async def close(self) -> None:
        self.readers.close()
        await self.log.close()
        self._database.close()

    async def fill_storage(self) -> None:
        self._database.fill()

    async def free_storage(self) -> None:
        self._database.free()


async def open_local_node(data_dir: Path) -> LocalNode:
    return LocalNode(data_dir)


class TestLocalLog(CommitLogConformance):
    open_node = staticmethod(open_local_node)
