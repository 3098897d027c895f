"""Opens a replicated log on a node: founds an empty log, fills an empty folder, or checks the view there."""

from __future__ import annotations

import asyncio
import logging
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from engagement_server.errors import (
    ConfigurationError,
    LogAccessDeniedError,
    LogReplacedError,
    LogUnreachableError,
    StaleViewError,
)
from engagement_server.log.nats import entries
from engagement_server.log.nats.connection import NatsSettings, Servers
from engagement_server.log.nats.divergence import change_epoch, check_position, require_quorum
from engagement_server.log.nats.jetstream_log import JetStreamLog
from engagement_server.log.nats.marks import check_format, check_old_format, is_foreign
from engagement_server.log.nats.snapshots.restoring import restore_latest
from engagement_server.log.nats.stream import PUBLISH_SECONDS, connect
from engagement_server.log.writer_thread import inspect_store, prepare_store
from engagement_server.store.database import Identity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from engagement_server.log.nats.config import LogConfig
    from engagement_server.log.nats.stream import NatsStream, StreamState
    from engagement_server.metrics.measures import Measures
    from engagement_server.store.database import DatabaseFile, StoreState
    from engagement_server.store.reserve import Reserve

_log = logging.getLogger(__name__)

# A node that has a view serves reads from it after this long; one without has nothing to serve.
_PATIENCE_SECONDS = 10.0
_RETRY_SECONDS = 1.0
_FOUNDING_SEQUENCE = 1
_NO_SNAPSHOT = "there is no snapshot yet to start from; another node has to take one"


async def open_log(  # noqa: PLR0913  # all but two are named at the call
    database: DatabaseFile,
    config: LogConfig,
    *,
    partition: int,
    partition_count: int,
    reserve: Callable[[], Reserve],
    measures: Measures,
    node_id: str = "",
) -> JetStreamLog:
    """Opens the log of a partition; its view may still be behind, if the log does not answer.

    `reserve` takes up disk space for removal, once the view is there. `measures` gets what the log measures.

    Raises ConfigurationError and UnreadableCommitError.
    """
    settings = stream_settings(config, partition=partition, partition_count=partition_count)
    loop = asyncio.get_running_loop()
    deadline, reported = loop.time() + _PATIENCE_SECONDS, ""
    identity = None
    while True:
        try:
            identity = await bootstrap(settings, database)
            break
        except LogAccessDeniedError as error:
            raise ConfigurationError(f"the log {settings.name} cannot be used: {error}") from error
        except LogUnreachableError as error:
            if str(error) != reported:
                _log.warning("waiting for the log %s: %s", settings.name, error)
                reported = str(error)
        store = await inspect_store(database)
        if store is not None and store.position.sequence > 0 and loop.time() > deadline:
            _log.warning("serving reads from the old view, without the log %s", settings.name)
            break
        await asyncio.sleep(_RETRY_SECONDS)
    await prepare_store(database, identity)
    return JetStreamLog(
        database,
        settings,
        identity=identity,
        max_view_age_seconds=config.max_view_age_seconds,
        snapshot_seconds=config.snapshot_hours * 3600,
        reserve=reserve(),
        node_id=node_id,
        measures=measures,
    )


def stream_settings(config: LogConfig, *, partition: int, partition_count: int) -> NatsSettings:
    """The stream of a partition. Raises ConfigurationError."""
    return NatsSettings(
        servers=config.servers,
        name=f"{config.log_name}-{partition}of{partition_count}",
        replicas=config.log_replicas,
        max_age_seconds=timedelta(days=config.log_days).total_seconds(),
        credentials=config.log_credentials,
        tls=config.tls(),
        # Independent of the partition count, so that NATS refuses streams of two different counts.
        subject=f"{config.log_name}.{partition}.commits",
    )


async def bootstrap(settings: NatsSettings, database: DatabaseFile) -> Identity | None:
    """Prepares the folder to replicate the log; returns the identity for a view that is yet to be created.

    Raises LogUnreachableError if the log does not answer or lacks a snapshot that is needed,
    UnreadableCommitError if it has another format, and ConfigurationError if the folder is not of this log.
    """
    store = await inspect_store(database)
    creates = store is None or store.position.sequence == 0
    async with connect(Servers(settings), creates=creates) as stream:
        state = await require_quorum(stream)
        last_sequence = state.last_sequence
        if last_sequence > 0:
            await _check_format(stream, state)
        elif creates:
            await _found(stream, store)
        if store is None:
            return await _fill(stream, database)
        if store.position.sequence == 0:
            await _require_founder(stream, store.identity, database.folder)
            return None
        try:
            await check_position(stream, store.position)
        except LogReplacedError as error:
            if last_sequence > 0:
                await change_epoch(stream, epoch=store.identity.epoch)
            raise ConfigurationError(
                f"{error}: the log was replaced, or restored from a backup, or is not the log of"
                f" {database.folder}. Check --log, or move the folder away: an empty folder is filled from"
                " the log"
            ) from error
        except StaleViewError as error:
            _log.warning("%s: the view is rebuilt", error)
            if not await restore_latest(stream, database):
                raise LogUnreachableError(_NO_SNAPSHOT) from error
    return None


async def _check_format(stream: NatsStream, state: StreamState) -> None:
    """Raises UnreadableCommitError if the log is of another format."""
    newest, oldest = await stream.read(state.last_sequence), await stream.read(state.first_sequence)
    if newest is None or oldest is None:
        return
    check_format(newest)
    if is_foreign(oldest):
        check_old_format(newest)


async def _fill(stream: NatsStream, database: DatabaseFile) -> Identity | None:
    """Fills an empty folder from a snapshot, or leaves it to be filled from the first entry of the log on."""
    if await restore_latest(stream, database):
        return None
    first = await stream.read(_FOUNDING_SEQUENCE)
    if first is not None:
        founding = entries.decode_founding(first)
        if not founding.has_store:
            return founding.identity
    raise LogUnreachableError(_NO_SNAPSHOT)


async def _require_founder(stream: NatsStream, identity: Identity, folder: Path) -> None:
    """Raises ConfigurationError unless the log was founded on the store with this identity."""
    first = await stream.read(_FOUNDING_SEQUENCE)
    if first is None or entries.decode_founding(first).identity != identity:
        raise ConfigurationError(
            f"{folder} holds a store that is not of this log, and a log cannot take in another store."
            " Start with an empty folder"
        )


async def _found(stream: NatsStream, store: StoreState | None) -> None:
    """Founds the log on the store, or on a new identity without one. If several nodes try, the first wins."""
    identity = Identity.new() if store is None else store.identity
    founding = entries.Founding(identity, has_store=store is not None)
    try:
        await stream.publish(
            str(entries.MessageId(secrets.token_hex(8), 0)),
            entries.encode_founding(founding),
            timeout_seconds=PUBLISH_SECONDS,
            must_be_first=True,
        )
        _log.info("founded the log")
    except LogUnreachableError as error:
        if (await stream.state()).last_sequence == 0:
            raise
        _log.info("another node founded the log: %s", error)
