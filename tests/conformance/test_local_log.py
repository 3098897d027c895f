"""The log of a single machine keeps the promises of the port."""

from __future__ import annotations

from pathlib import Path

import apsw

from engagement_server.log.local import LocalLog
from engagement_server.store.database import DatabaseFile, Identity
from engagement_server.store.readers import Readers
from tests.conformance.commit_log import CommitLogConformance

_SPARE_PAGES = 8
_UNLIMITED_PAGES = 0xFFFF_FFFE


class BoundedDatabaseFile(DatabaseFile):
    """Remembers the connection that writes, to leave it little room."""

    _writer: apsw.Connection

    def open_writer(self, identity: Identity | None = None) -> apsw.Connection:
        self._writer = super().open_writer(identity)
        return self._writer

    def fill(self) -> None:
        """Leaves room for a few pages."""
        self._writer.pragma("max_page_count", self._writer.pragma("page_count") + _SPARE_PAGES)

    def free(self) -> None:
        """Gives it room again."""
        self._writer.pragma("max_page_count", _UNLIMITED_PAGES)


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
