"""What `engagement log` does with the log and the view of one partition."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from engagement_server.assembly import partition_folder
from engagement_server.errors import ConfigurationError
from engagement_server.log.nats.checking import CheckedLog, check_log
from engagement_server.log.nats.connection import Servers
from engagement_server.log.nats.opening import stream_settings
from engagement_server.log.nats.repairing import Replaced, replace_view, skip_message
from engagement_server.log.nats.stream import connect
from engagement_server.store.database import DatabaseFile
from engagement_server.store.view_copy import ViewReport, report_view

if TYPE_CHECKING:
    from pathlib import Path

    from engagement_server.config import Config
    from engagement_server.log.nats.config import LogConfig
    from engagement_server.log.nats.connection import NatsSettings
    from engagement_server.log.nats.stream import NatsStream


class LogAccess(NamedTuple):
    """The log of a partition, and the folder of this node's view."""

    settings: NatsSettings
    folder: Path

    async def check(self) -> tuple[CheckedLog, ViewReport]:
        """Checks the log, and reports on the view. Raises LogError."""
        async with self._connect() as stream:
            return await check_log(stream), report_view(self.folder)

    async def repair(self, source: Path | None) -> Replaced:
        """Replaces the view. Raises ConfigurationError and LogError."""
        database = DatabaseFile(self.folder, is_view=True)
        try:
            async with self._connect() as stream:
                replaced = await replace_view(stream, database, source)
        except BaseException:
            database.undo()
            raise
        database.close()
        return replaced

    async def skip(self, sequence: int, *, is_forced: bool) -> None:
        """Has all views skip a message, even one that this view has if it `is_forced`.

        Raises ConfigurationError and LogError.
        """
        if not is_forced and report_view(self.folder).position >= sequence:
            raise ConfigurationError(
                f"the view in {self.folder} has applied message {sequence}: give a copy of it to the nodes"
                " that have not, with `engagement log repair`, and nothing is lost. With --intact all nodes"
                " skip it nevertheless, and this one refuses its partition until its view is replaced"
            )
        async with self._connect() as stream:
            await skip_message(stream, sequence, is_forced=is_forced)

    def _connect(self) -> contextlib.AbstractAsyncContextManager[NatsStream]:
        return connect(Servers(self.settings), creates=None)


def log_accesses(config: Config, log: LogConfig) -> list[LogAccess]:
    """The log of each partition that this node serves. Raises ConfigurationError."""
    if not log.servers:
        raise ConfigurationError("there is no replicated log; set --log, as for the server")
    log.require_usable()
    count = config.partition_count
    return [
        LogAccess(
            stream_settings(log, partition=number, partition_count=count), partition_folder(config, number)
        )
        for number in config.served_partitions
    ]
