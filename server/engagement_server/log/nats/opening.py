"""Opens a replicated log: joins it, or begins with an old view where it does not answer now."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from engagement_server.faults import LogUnreachableError
from engagement_server.log.nats.connection import NatsSettings
from engagement_server.log.nats.jetstream_log import JetStreamLog
from engagement_server.log.nats.joining import join

if TYPE_CHECKING:
    from engagement_server.log.nats.config import LogConfig
    from engagement_server.store.database import DatabaseFile

_log = logging.getLogger(__name__)

# A node with a view reads from it after this long; one without has nothing to say.
_PATIENCE_SECONDS = 10.0
_RETRY_SECONDS = 1.0


async def open_log(
    database: DatabaseFile, config: LogConfig, *, partition: int, partition_count: int
) -> JetStreamLog:
    """The log of a partition, over a view that may still be behind. Raises ConfigurationError."""
    settings = _settings(config, partition, partition_count)
    loop = asyncio.get_running_loop()
    deadline, reported = loop.time() + _PATIENCE_SECONDS, ""
    identity = None
    while True:
        try:
            identity = await join(settings, database)
            break
        except LogUnreachableError as error:
            if str(error) != reported:
                _log.warning("waiting for the log %s: %s", settings.name, error)
                reported = str(error)
        store = database.inspect()
        if store is not None and store.position.sequence > 0 and loop.time() > deadline:
            _log.warning("reads begin without the log %s, from the view as it was", settings.name)
            break
        await asyncio.sleep(_RETRY_SECONDS)
    return JetStreamLog(
        database,
        settings,
        identity=identity,
        max_view_age_seconds=config.max_view_age_seconds,
        snapshot_seconds=config.snapshot_hours * 3600,
    )


def _settings(config: LogConfig, partition: int, partition_count: int) -> NatsSettings:
    return NatsSettings(
        servers=config.servers,
        name=f"{config.log_name}-{partition}of{partition_count}",
        replicas=config.log_replicas,
        max_age_seconds=timedelta(days=config.log_days).total_seconds(),
        credentials=config.log_credentials,
        tls=config.tls(),
        # The same for any number of partitions, so that the servers refuse to have two numbers of them.
        subject=f"{config.log_name}.{partition}.commits",
    )
