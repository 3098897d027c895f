"""Takes snapshots of a log's views at regular intervals, each on one of the nodes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import secrets
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from engagement_server.clock import now_ms
from engagement_server.errors import EngagementError, UnavailableError
from engagement_server.log.nats.divergence import continues_from
from engagement_server.log.nats.incoming import skipped_later
from engagement_server.log.nats.snapshots.bucket import Snapshot, SnapshotBucket, SnapshotFacts
from engagement_server.log.nats.snapshots.packing import Packer
from engagement_server.store.view_copy import ViewCopy, read_view, remove_copy

if TYPE_CHECKING:
    from engagement_server.log.nats.stream import NatsStream
    from engagement_server.store.database import DatabaseFile, StoreState

_log = logging.getLogger(__name__)

KEPT_SNAPSHOTS = 2
"""Number of snapshots that are kept: if the last one is damaged, the one before it is used."""
# A fixed name, so that the next process finds what a killed one has left.
_FILE_NAME = "outgoing-snapshot.db"
_CHECKS_PER_INTERVAL = 20
_MAX_CHECK_SECONDS = 60.0
# Without a snapshot, new nodes may be unable to start.
_FIRST_CHECK_SECONDS = 1.0
_RETRY_SECONDS = 10.0
_MAX_RETRY_SECONDS = 600.0


class SnapshotSchedule:
    """Takes a snapshot if the latest one is older than an interval, or there is none."""

    def __init__(self, database: DatabaseFile, *, interval_seconds: float) -> None:
        """Takes the folder of a view, which stays open."""
        self._database = database
        self._path = database.folder / _FILE_NAME
        self._interval_ms = interval_seconds * 1000
        self._check_seconds = min(interval_seconds / _CHECKS_PER_INTERVAL, _MAX_CHECK_SECONDS)
        self.is_held = False
        """Whether no snapshot is taken, because the view may be damaged."""
        self.latest_time_ms: int | None = None
        """Epoch milliseconds at which any node took the latest snapshot; None: not known."""
        with contextlib.suppress(OSError):
            remove_copy(self._path)

    @property
    def age_seconds(self) -> float:
        """Age of the latest snapshot; NaN if none is known."""
        return math.nan if self.latest_time_ms is None else (now_ms() - self.latest_time_ms) / 1000

    async def run(self, stream: NatsStream) -> None:
        """Checks regularly whether a snapshot is due; never returns."""
        retry_seconds = _RETRY_SECONDS
        while True:
            try:
                exists = await self._check(stream)
            except Exception as error:  # replication matters more than any failure here
                _log.warning(
                    "no snapshot was taken, will retry in %.0f s: %s; if that goes on, look at the disk of %s"
                    " and at the servers of the log: without snapshots no new node can start",
                    retry_seconds,
                    error.fault if isinstance(error, UnavailableError) else error,
                    self._database.folder,
                    exc_info=not isinstance(error, EngagementError | OSError),
                )
                delay_seconds = retry_seconds
                retry_seconds = min(2 * retry_seconds, _MAX_RETRY_SECONDS)
            else:
                delay_seconds = self._check_seconds if exists else _FIRST_CHECK_SECONDS
                retry_seconds = _RETRY_SECONDS
            # Spreads the nodes.
            await asyncio.sleep(delay_seconds * random.uniform(0.5, 1.5))  # noqa: S311  # no secret

    async def take(self, stream: NatsStream) -> Snapshot | None:
        """Takes a snapshot now; None if another node is taking one, or the view is still empty.

        Raises LogUnreachableError, StoreUnavailableError and OSError.
        """
        bucket = SnapshotBucket(stream)
        await bucket.create()
        async with bucket.lease.hold() as is_held:
            return await self._take(bucket) if is_held else None

    async def _check(self, stream: NatsStream) -> bool:
        """Takes a snapshot if one is due; returns whether there is one."""
        if self.is_held:
            return True
        bucket = SnapshotBucket(stream)
        if await self._is_due(stream, bucket):
            await bucket.create()
            async with bucket.lease.hold() as is_held:
                # Another node may have taken one before this one got the lease.
                if is_held and await self._is_due(stream, bucket):
                    await self._take(bucket)
        return self.latest_time_ms is not None

    async def _is_due(self, stream: NatsStream, bucket: SnapshotBucket) -> bool:
        with ThreadPoolExecutor(1, thread_name_prefix="snapshot") as executor:
            view = await asyncio.get_running_loop().run_in_executor(executor, read_view, self._database)
        latest = next(iter(await bucket.snapshots()), None)
        if (
            latest is None
            or not await continues_from(stream, latest.facts.position)
            or await skipped_later(stream, latest.facts.sequence)
        ):
            self.latest_time_ms = None
            return view.position.sequence > 0
        self.latest_time_ms = latest.facts.time_ms
        if view.position.sequence < latest.facts.sequence:
            return False
        # If a clock was wrong, it lies in the future.
        return abs(now_ms() - latest.facts.time_ms) > self._interval_ms

    async def _take(self, bucket: SnapshotBucket) -> Snapshot | None:
        """Takes a snapshot; requires the lease."""
        time_ms = now_ms()
        await bucket.remove_orphans()
        with ThreadPoolExecutor(1, thread_name_prefix="snapshot") as executor:
            try:
                view = await self._copy(executor)
                if view.position.sequence == 0:
                    return None
                snapshot = await self._upload(bucket, view, time_ms, executor)
            finally:
                await asyncio.get_running_loop().run_in_executor(executor, remove_copy, self._path)
        self.latest_time_ms = time_ms
        _log.info("took the snapshot %s in %.1f s", snapshot.name, (now_ms() - time_ms) / 1000)
        for old in (await bucket.snapshots())[KEPT_SNAPSHOTS:]:
            await bucket.remove(old)
        return snapshot

    async def _copy(self, executor: ThreadPoolExecutor) -> StoreState:
        """Copies the view into a file."""
        copy = ViewCopy(self._database, self._path)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(executor, remove_copy, self._path)
        try:
            return await loop.run_in_executor(executor, copy.make)
        finally:
            copy.stop()

    async def _upload(
        self, bucket: SnapshotBucket, view: StoreState, time_ms: int, executor: ThreadPoolExecutor
    ) -> Snapshot:
        """Uploads the file as a snapshot."""
        packer = Packer(self._path, chunk_bytes=bucket.chunk_bytes)
        upload_id = secrets.token_hex(11)
        number = 0
        async with contextlib.aclosing(_chunks(packer, executor)) as chunks:
            async for chunk in chunks:
                number += 1
                await bucket.put_chunk(upload_id, number, chunk)
        snapshot = Snapshot(
            name=f"{view.position.sequence}-{time_ms}",
            upload_id=upload_id,
            chunks=number,
            packed_bytes=packer.packed_bytes,
            digest=packer.digest,
            facts=SnapshotFacts(
                sequence=view.position.sequence,
                message_id=view.position.message_id,
                log_epoch=view.identity.epoch,
                schema_version=view.schema_version,
                unpacked_bytes=packer.unpacked_bytes,
                time_ms=time_ms,
                digest=view.digest,
            ),
        )
        await bucket.complete(snapshot)
        return snapshot


async def _chunks(packer: Packer, executor: ThreadPoolExecutor) -> AsyncGenerator[bytes]:
    """Packs each chunk while the previous one is being uploaded."""
    loop = asyncio.get_running_loop()
    packed = packer.pack()
    next_chunk = loop.run_in_executor(executor, lambda: next(packed, None))
    while (chunk := await next_chunk) is not None:
        next_chunk = loop.run_in_executor(executor, lambda: next(packed, None))
        yield chunk
