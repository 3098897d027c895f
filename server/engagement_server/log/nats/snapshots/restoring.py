"""Restores a view from the latest usable snapshot, from which it replicates the rest of the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from engagement_server.errors import (
    ConfigurationError,
    DamagedSnapshotError,
    LogReplacedError,
    StaleViewError,
)
from engagement_server.log.nats.divergence import change_epoch, check_position
from engagement_server.log.nats.incoming import skipped_later
from engagement_server.log.nats.snapshots.bucket import SnapshotBucket
from engagement_server.log.nats.snapshots.packing import Unpacker
from engagement_server.log.writer_thread import inspect_store
from engagement_server.store.schema import OLDEST_VERSION, SCHEMA_VERSION
from engagement_server.store.view_copy import read_copy, remove_copy

if TYPE_CHECKING:
    from pathlib import Path

    from engagement_server.log.nats.snapshots.bucket import Snapshot
    from engagement_server.log.nats.stream import NatsStream
    from engagement_server.store.database import DatabaseFile

_log = logging.getLogger(__name__)

# A fixed name, so that the next process finds what a killed one has left.
_FILE_NAME = "incoming-snapshot.db"


async def restore_latest(stream: NatsStream, database: DatabaseFile) -> bool:
    """Replaces the store by the latest snapshot from which the log continues.

    Returns False, with the store untouched, if there is none. The store must not be open. Raises
    LogUnreachableError, and ConfigurationError if the snapshot is not for this server or folder.
    """
    bucket = SnapshotBucket(stream)
    path = database.folder / _FILE_NAME
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="snapshot") as executor:
            remove_copy(path)
            for snapshot in await bucket.snapshots():
                if not await _is_usable(stream, snapshot):
                    continue
                try:
                    await _fetch(bucket, snapshot, path, executor)
                    await _require_same_log(database, path)
                except DamagedSnapshotError as error:
                    _log.warning("the snapshot %s cannot be used: %s", snapshot.name, error)
                    continue
                database.replace(path)
                _log.info("restored the view from the snapshot %s", snapshot.name)
                return True
    except OSError as error:
        raise ConfigurationError(
            f"a snapshot cannot be written to {database.folder}: {error.strerror}"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            remove_copy(path)
    return False


async def _is_usable(stream: NatsStream, snapshot: Snapshot) -> bool:
    """Whether the log continues from a snapshot. Raises ConfigurationError if it needs a newer server."""
    facts = snapshot.facts
    try:
        await check_position(stream, facts.position)
    except LogReplacedError as error:
        _log.error("the snapshot %s is not of this log: %s", snapshot.name, error)
        await change_epoch(stream, epoch=facts.log_epoch)
        return False
    except StaleViewError as error:
        _log.warning("the snapshot %s is too old: %s", snapshot.name, error)
        return False
    if skipped := await skipped_later(stream, facts.sequence):
        text = "the snapshot %s cannot be used: it contains message %d, which the log skips since"
        _log.warning(text, snapshot.name, skipped)
        return False
    if facts.schema_version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"the latest snapshot has schema version {facts.schema_version}; this server reads"
            f" {SCHEMA_VERSION}. Start the server version that wrote it, or a later one"
        )
    if facts.schema_version < OLDEST_VERSION:
        _log.warning("the snapshot %s has schema version %d", snapshot.name, facts.schema_version)
    return facts.schema_version >= OLDEST_VERSION


async def _fetch(
    bucket: SnapshotBucket, snapshot: Snapshot, path: Path, executor: ThreadPoolExecutor
) -> None:
    """Unpacks a snapshot into a file. Raises DamagedSnapshotError and OSError."""
    loop = asyncio.get_running_loop()
    facts = snapshot.facts
    unpacker = await loop.run_in_executor(
        executor, lambda: Unpacker(path, unpacked_bytes=facts.unpacked_bytes, digest=snapshot.digest)
    )
    try:
        async with contextlib.aclosing(bucket.chunks(snapshot)) as chunks:
            async for chunk in chunks:
                await loop.run_in_executor(executor, unpacker.add, chunk)
        await loop.run_in_executor(executor, unpacker.finish)
    finally:
        await loop.run_in_executor(executor, unpacker.close)
    state = await loop.run_in_executor(executor, read_copy, path)
    found = state.position.sequence, state.position.message_id, state.schema_version, state.digest
    if found != (facts.sequence, facts.message_id, facts.schema_version, facts.digest):
        raise DamagedSnapshotError(f"it ends with message {found[0]}")


async def _require_same_log(database: DatabaseFile, path: Path) -> None:
    """Raises ConfigurationError if the folder holds a view of another log."""
    store = await inspect_store(database)
    # The epoch may have changed since; the key never does.
    if store is not None and store.identity.token_key != read_copy(path).identity.token_key:
        raise ConfigurationError(
            f"{database.folder} holds a view of another log. Check --log, or move the folder away: an empty"
            " folder is filled from the log"
        )
