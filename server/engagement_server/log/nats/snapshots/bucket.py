"""The bucket of a JetStream object store that holds the snapshots of a log's views.

It has the layout of any object store, so that standard tools can list and fetch snapshots; each is a gzip
file. The library's own object store is not used: its reads may wait for ever or end early without an error,
and its writes give up when a server needs a moment. Here every wait is bounded.

A snapshot holds nothing that was erased before it was taken. Only the latest few are kept, so that none holds
erased data once as many were taken after the erasure was complete. How long NATS's own files keep the bytes
of removed snapshots is up to NATS.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import msgspec
from nats.js.api import DiscardPolicy, Header, StreamConfig
from nats.js.errors import NotFoundError

from engagement_server.errors import DamagedSnapshotError, LogUnreachableError
from engagement_server.log.nats.connection import retry, translated
from engagement_server.log.nats.snapshots.lease import SnapshotLease
from engagement_server.store.log_position import LogPosition

if TYPE_CHECKING:
    from nats.js.api import RawStreamMsg

    from engagement_server.log.nats.stream import NatsStream

_log = logging.getLogger(__name__)

T = TypeVar("T")

# The default message limit of NATS; smaller chunks would wait for more disk writes.
_CHUNK_BYTES = 1024 * 1024
# Longer than the bucket needs to elect another leader.
_PATIENCE_SECONDS = 15.0
_ATTEMPT_SECONDS = 5.0
_DUPLICATE_WINDOW_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class SnapshotFacts:
    """A description of the view in a snapshot."""

    sequence: int
    """Sequence of the last entry of the log that the view has applied."""
    message_id: str
    log_epoch: int
    schema_version: int
    unpacked_bytes: int
    time_ms: int
    """Epoch milliseconds at which it was taken, by the clock of the node that took it."""
    digest: str
    """Of everything that the view has applied; views of one log with one sequence have the same."""

    @property
    def position(self) -> LogPosition:
        """The last entry of the log that the view has applied."""
        return LogPosition(self.sequence, self.message_id)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot in the bucket."""

    name: str
    upload_id: str
    """In the subject of its chunks."""
    chunks: int
    packed_bytes: int
    digest: str
    facts: SnapshotFacts


@dataclass(frozen=True, slots=True)
class _ObjectInfo:
    """The object store's description of an object."""

    name: str
    bucket: str
    nuid: str
    size: int
    chunks: int
    digest: str = ""
    mtime: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    deleted: bool = False


class SnapshotBucket:
    """The snapshots of one log. All calls raise LogUnreachableError."""

    def __init__(self, stream: NatsStream) -> None:
        self._js = stream.js
        self._name = f"{stream.settings.name}-snapshots"
        self._replicas = stream.settings.replicas
        self._stream = f"OBJ_{self._name}"
        self._lease_subject = self._chunk_subject("lease")
        self.lease = SnapshotLease(self._js, stream=self._stream, subject=self._lease_subject)
        """To be held by the node that takes a snapshot."""
        self.chunk_bytes = min(_CHUNK_BYTES, stream.max_message_bytes)
        """Size of the chunks of a new snapshot."""

    async def create(self) -> None:
        """Creates the bucket if missing, and gives it as many replicas as the log has."""
        config = StreamConfig(
            name=self._stream,
            subjects=[f"$O.{self._name}.C.>", f"$O.{self._name}.M.>"],
            num_replicas=self._replicas,
            duplicate_window=_DUPLICATE_WINDOW_SECONDS,
            # No maximum age, so that the last snapshot outlives a long standstill of all nodes.
            discard=DiscardPolicy.NEW,
            allow_rollup_hdrs=True,
            allow_direct=True,
            allow_msg_ttl=True,
        )
        with translated():
            try:
                present = (await self._js.stream_info(self._stream)).config
            except NotFoundError:
                await self._js.add_stream(config)
                return
            if present.num_replicas != config.num_replicas:
                await self._js.update_stream(config)

    async def snapshots(self) -> list[Snapshot]:
        """Returns all snapshots, the latest first, in the order of their completion."""
        found: list[tuple[int, Snapshot]] = []
        for sequence, info in await self._infos():
            snapshot = _snapshot_of(info)
            if snapshot is None:
                _log.debug("%s in the bucket %s is not a snapshot", info.name, self._name)
            else:
                found.append((sequence, snapshot))
        return [snapshot for _, snapshot in sorted(found, key=lambda each: -each[0])]

    async def chunks(self, snapshot: Snapshot) -> AsyncGenerator[bytes]:
        """Yields the chunks of a snapshot. Also raises DamagedSnapshotError."""
        subject = self._chunk_subject(snapshot.upload_id)
        sequence = 0
        for number in range(snapshot.chunks):
            message = await self._next_message(subject, after=sequence)
            if message is None or message.seq is None:
                raise DamagedSnapshotError(f"chunk {number} of {snapshot.chunks} is missing")
            yield message.data or b""
            sequence = message.seq

    async def put_chunk(self, upload_id: str, number: int, chunk: bytes) -> None:
        """Appends a chunk. Also raises StoreUnavailableError if there is no room."""
        await self._publish(self._chunk_subject(upload_id), chunk, {Header.MSG_ID: f"{upload_id}.{number}"})

    async def complete(self, snapshot: Snapshot) -> None:
        """Publishes the snapshot whose chunks were put. Also raises StoreUnavailableError."""
        subject = self._chunk_subject(snapshot.upload_id)
        if (await self._counts()).get(subject) != snapshot.chunks:
            raise LogUnreachableError("chunks of the snapshot were removed or duplicated")
        await self._publish(
            self._info_subject(snapshot.name),
            msgspec.json.encode(self._info_of(snapshot)),
            {Header.MSG_ID: snapshot.upload_id, Header.ROLLUP: "sub"},
        )

    async def remove(self, snapshot: Snapshot) -> None:
        """Removes a snapshot and its chunks."""
        await self._purge(self._info_subject(snapshot.name))
        await self._purge(self._chunk_subject(snapshot.upload_id))

    async def remove_orphans(self) -> None:
        """Removes chunks of incomplete snapshots. Requires the lease."""
        counts = await self._counts()
        used = {self._chunk_subject(info.nuid) for _, info in await self._infos()}
        for subject in counts.keys() - used - {self._lease_subject}:
            _log.info("removing the chunks of an incomplete snapshot")
            await self._purge(subject)

    async def _publish(self, subject: str, data: bytes, headers: dict[str, str]) -> None:
        await _retry(
            lambda: self._js.publish(
                subject, data, timeout=_ATTEMPT_SECONDS, stream=self._stream, headers=headers
            )
        )

    async def _infos(self) -> list[tuple[int, _ObjectInfo]]:
        """Returns the descriptions of all objects, each with its sequence."""
        infos: list[tuple[int, _ObjectInfo]] = []
        sequence = 0
        while message := await self._next_message(f"$O.{self._name}.M.>", after=sequence, is_direct=False):
            sequence = message.seq or 0
            try:
                info = msgspec.json.decode(message.data or b"", type=_ObjectInfo)
            except msgspec.MsgspecError as error:
                _log.warning("%s is not the description of an object: %s", message.subject, error)
                continue
            if not info.deleted:
                infos.append((sequence, info))
        return infos

    async def _next_message(self, subject: str, *, after: int, is_direct: bool = True) -> RawStreamMsg | None:
        """Returns the first message after a sequence; None if there is none, as reported by the leader."""

        async def get(*, direct: bool) -> RawStreamMsg | None:
            try:
                return await self._js.get_msg(
                    self._stream, seq=after + 1, subject=subject, next=True, direct=direct
                )
            except NotFoundError:
                return None

        if is_direct and (message := await _retry(lambda: get(direct=True))):
            return message
        return await _retry(lambda: get(direct=False))

    async def _counts(self) -> dict[str, int]:
        """Returns the number of chunks of each upload, by subject."""
        info = await _retry(
            lambda: self._js.stream_info(self._stream, subjects_filter=f"$O.{self._name}.C.>")
        )
        return info.state.subjects or {}

    async def _purge(self, subject: str) -> None:
        await _retry(lambda: self._js.purge_stream(self._stream, subject=subject))

    def _chunk_subject(self, upload_id: str) -> str:
        return f"$O.{self._name}.C.{upload_id}"

    def _info_subject(self, name: str) -> str:
        return f"$O.{self._name}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"

    def _info_of(self, snapshot: Snapshot) -> _ObjectInfo:
        return _ObjectInfo(
            name=snapshot.name,
            bucket=self._name,
            nuid=snapshot.upload_id,
            size=snapshot.packed_bytes,
            chunks=snapshot.chunks,
            digest=snapshot.digest,
            mtime=datetime.now(UTC).isoformat(),
            metadata={name: str(value) for name, value in msgspec.to_builtins(snapshot.facts).items()},
        )


def _snapshot_of(info: _ObjectInfo) -> Snapshot | None:
    try:
        facts = msgspec.convert(info.metadata, SnapshotFacts, strict=False)
    except msgspec.ValidationError:
        return None
    return Snapshot(info.name, info.nuid, info.chunks, info.size, info.digest, facts)


async def _retry(call: Callable[[], Awaitable[T]]) -> T:
    return await retry(call, seconds=_PATIENCE_SECONDS, attempt_seconds=_ATTEMPT_SECONDS)
