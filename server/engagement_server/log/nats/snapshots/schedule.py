"""Takes snapshots of a log's views regularly, each on one of the nodes that follow the log."""

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
from engagement_server.errors import EngagementError
from engagement_server.log.nats.continuity import goes_on_from
from engagement_server.log.nats.snapshots.bucket import Snapshot, SnapshotBucket, SnapshotFacts
from engagement_server.log.nats.snapshots.packing import Packer
from engagement_server.store.view_copy import ViewCopy, read_view, remove_copy

if TYPE_CHECKING:
    from engagement_server.log.nats.stream import NatsStream
    from engagement_server.store.database import DatabaseFile, StoreState

_log = logging.getLogger(__name__)

KEPT_SNAPSHOTS = 2
"""The latest ones; where the last is damaged, the one before it serves."""
# One name only: what a process that was killed has left is found by the next.
_FILE_NAME = "outgoing-snapshot.db"
_LOOKS_AN_INTERVAL = 20
_MAX_LOOK_SECONDS = 60.0
# Until there is a snapshot, no new node may be able to begin.
_FIRST_LOOK_SECONDS = 1.0
_RETRY_SECONDS = 10.0
_MAX_RETRY_SECONDS = 600.0


class SnapshotSchedule:
    """Has a snapshot taken where the latest one is older than an interval, or there is none."""

    def __init__(self, database: DatabaseFile, *, interval_seconds: float) -> None:
        """Over the folder of a view that is open meanwhile."""
        self._database = database
        self._path = database.folder / _FILE_NAME
        self._interval_ms = interval_seconds * 1000
        self._look_seconds = min(interval_seconds / _LOOKS_AN_INTERVAL, _MAX_LOOK_SECONDS)
        self.latest_time_ms: int | None = None
        """When the latest snapshot was taken, on whichever node, in epoch milliseconds; None: not known."""
        with contextlib.suppress(OSError):
            remove_copy(self._path)

    @property
    def age_seconds(self) -> float:
        """Age of the latest snapshot; NaN where none is known."""
        return math.nan if self.latest_time_ms is None else (now_ms() - self.latest_time_ms) / 1000

    async def run(self, stream: NatsStream) -> None:
        """Looks again and again whether a snapshot is due; never ends by itself."""
        retry_seconds = _RETRY_SECONDS
        while True:
            try:
                is_there = await self._look(stream)
            except Exception as error:  # whatever it is, following the log is of more importance
                _log.warning(
                    "no snapshot was taken, the next try is in %.0f s: %s",
                    retry_seconds,
                    error,
                    exc_info=not isinstance(error, EngagementError | OSError),
                )
                delay_seconds = retry_seconds
                retry_seconds = min(2 * retry_seconds, _MAX_RETRY_SECONDS)
            else:
                delay_seconds = self._look_seconds if is_there else _FIRST_LOOK_SECONDS
                retry_seconds = _RETRY_SECONDS
            # Not all nodes at once.
            await asyncio.sleep(delay_seconds * random.uniform(0.5, 1.5))  # noqa: S311  # no secret

    async def take(self, stream: NatsStream) -> Snapshot | None:
        """Takes a snapshot now; None where another node does, or the view has nothing of the log yet.

        Raises LogUnreachableError, StoreUnavailableError and OSError.
        """
        bucket = SnapshotBucket(stream)
        await bucket.create()
        async with bucket.claim() as is_mine:
            return await self._take(bucket) if is_mine else None

    async def _look(self, stream: NatsStream) -> bool:
        """Takes a snapshot where one is due; whether there is one."""
        bucket = SnapshotBucket(stream)
        if await self._is_due(stream, bucket):
            await bucket.create()
            async with bucket.claim() as is_mine:
                # Another node may have taken one before the claim.
                if is_mine and await self._is_due(stream, bucket):
                    await self._take(bucket)
        return self.latest_time_ms is not None

    async def _is_due(self, stream: NatsStream, bucket: SnapshotBucket) -> bool:
        with ThreadPoolExecutor(1, thread_name_prefix="snapshot") as executor:
            view = await asyncio.get_running_loop().run_in_executor(executor, read_view, self._database)
        latest = next(iter(await bucket.snapshots()), None)
        if latest is None or not await goes_on_from(stream, latest.facts.position):
            self.latest_time_ms = None
            return view.position.sequence > 0
        self.latest_time_ms = latest.facts.time_ms
        if view.position.sequence < latest.facts.sequence:
            return False
        # Where a clock was wrong, it is of the future.
        return abs(now_ms() - latest.facts.time_ms) > self._interval_ms

    async def _take(self, bucket: SnapshotBucket) -> Snapshot | None:
        """Works under the claim."""
        time_ms = now_ms()
        await bucket.remove_remains()
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
        """Copies the view to a file."""
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
        """Makes a snapshot of the file."""
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
            ),
        )
        await bucket.complete(snapshot)
        return snapshot


async def _chunks(packer: Packer, executor: ThreadPoolExecutor) -> AsyncGenerator[bytes]:
    """Packs a chunk while the one before it is on its way."""
    loop = asyncio.get_running_loop()
    packed = packer.pack()
    following = loop.run_in_executor(executor, lambda: next(packed, None))
    while (chunk := await following) is not None:
        following = loop.run_in_executor(executor, lambda: next(packed, None))
        yield chunk
