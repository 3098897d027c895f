"""A log whose commits wait until a test lets them go."""

from __future__ import annotations

import asyncio
from pathlib import Path

from engagement_server.errors import RequestError, StoreUnavailableError
from engagement_server.log.local import LocalLog
from engagement_server.operations import Commit, Result
from engagement_server.store.database import DatabaseFile


class GatedLog(LocalLog):
    """A local log whose commits wait at a gate; remembers them."""

    def __init__(self, data_dir: Path) -> None:
        self.database = DatabaseFile(data_dir)
        super().__init__(self.database)
        self.gate = asyncio.Event()
        self.failures_due = 0
        self.commits: list[Commit] = []

    async def commit(self, commit: Commit) -> list[Result | RequestError]:
        await self.gate.wait()
        self.commits.append(commit)
        if self.failures_due:
            self.failures_due -= 1
            raise StoreUnavailableError("disk full")
        return await super().commit(commit)

    async def close(self) -> None:
        await super().close()
        self.database.close()
