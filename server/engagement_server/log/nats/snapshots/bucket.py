"""The bucket of a JetStream object store where the snapshots of a log's views are.

Its form is that of any object store, so that usual tools can list and fetch snapshots; each is a gzip file.
The library's own calls are not used: a read may wait for ever or end early without an error, and a write
gives up where a server needs a moment. Here each wait has a bound.

A snapshot holds nothing that was erased before it was taken. As only the latest few are kept, none holds
what an erasure removed once that is complete and as many more were taken; how long NATS's own files
keep the bytes of snapshots that were removed is up to NATS.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import msgspec
from nats.js.api import DiscardPolicy, Header, StreamConfig
from nats.js.errors import APIError, NotFoundError

from engagement_server.faults import DamagedSnapshotError, LogUnreachableError
from engagement_server.log.nats.connection import persistently, translated
from engagement_server.store.log_position import LogPosition

if TYPE_CHECKING:
    from nats.js.api import RawStreamMsg

    from engagement_server.log.nats.stream import NatsStream

_log = logging.getLogger(__name__)

T = TypeVar("T")

# As much as all servers take where nothing else is said; smaller ones wait for more disks to answer.
_CHUNK_BYTES = 1024 * 1024
# Longer than the bucket needs for another leader.
_PATIENCE_SECONDS = 15.0
_ATTEMPT_SECONDS = 5.0
_DUPLICATE_WINDOW_SECONDS = 120.0
# A claim outlives a node that takes a snapshot by this long.
_CLAIM_SECONDS = 30
_CLAIM_RENEWAL_SECONDS = 10.0
_CLAIMED = frozenset({10071, 10164})
"""The error codes of a server where somebody else was first."""


@dataclass(frozen=True, slots=True)
class SnapshotFacts:
    """What is in a snapshot."""

    sequence: int
    """Of the last message of the log that it holds."""
    message_id: str
    log_epoch: int
    schema_version: int
    unpacked_bytes: int
    time_ms: int
    """When it was taken, by the clock of the node that took it; in epoch milliseconds."""

    @property
    def position(self) -> LogPosition:
        """How far it has followed the log."""
        return LogPosition(self.sequence, self.message_id)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot in the bucket."""

    name: str
    upload_id: str
    """Names its chunks."""
    chunks: int
    packed_bytes: int
    digest: str
    facts: SnapshotFacts


@dataclass(frozen=True, slots=True)
class _ObjectInfo:
    """How the object store describes an object."""

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
        self._claim_subject = self._chunk_subject("claim")
        self._claim_id = secrets.token_hex(8).encode()
        self.chunk_bytes = min(_CHUNK_BYTES, stream.max_message_bytes)
        """How large the chunks of a snapshot are to be."""

    async def create(self) -> None:
        """Makes the bucket where it is not there, and gives it the replicas that the log has."""
        config = StreamConfig(
            name=self._stream,
            subjects=[f"$O.{self._name}.C.>", f"$O.{self._name}.M.>"],
            num_replicas=self._replicas,
            duplicate_window=_DUPLICATE_WINDOW_SECONDS,
            # No age: the last snapshot of a log that nobody follows for long is still there.
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
        """All that there are, in the order in which they were put, the latest first."""
        found: list[tuple[int, Snapshot]] = []
        for sequence, info in await self._infos():
            snapshot = _snapshot_of(info)
            if snapshot is None:
                _log.debug("%s in the bucket %s is not a snapshot", info.name, self._name)
            else:
                found.append((sequence, snapshot))
        return [snapshot for _, snapshot in sorted(found, key=lambda each: -each[0])]

    async def chunks(self, snapshot: Snapshot) -> AsyncGenerator[bytes]:
        """The chunks of a snapshot. Raises DamagedSnapshotError as well."""
        subject = self._chunk_subject(snapshot.upload_id)
        sequence = 0
        for number in range(snapshot.chunks):
            message = await self._next_message(subject, after=sequence)
            if message is None or message.seq is None:
                raise DamagedSnapshotError(f"chunk {number} of {snapshot.chunks} is missing")
            yield message.data or b""
            sequence = message.seq

    async def put_chunk(self, upload_id: str, number: int, chunk: bytes) -> None:
        """Puts one chunk behind those that are there. Raises StoreUnavailableError where there is no room."""
        await self._publish(self._chunk_subject(upload_id), chunk, {Header.MSG_ID: f"{upload_id}.{number}"})

    async def complete(self, snapshot: Snapshot) -> None:
        """Makes a snapshot of chunks that were put. Raises StoreUnavailableError as well."""
        subject = self._chunk_subject(snapshot.upload_id)
        if (await self._counts()).get(subject) != snapshot.chunks:
            raise LogUnreachableError("chunks of the snapshot were removed, or doubled")
        await self._publish(
            self._info_subject(snapshot.name),
            msgspec.json.encode(self._info_of(snapshot)),
            {Header.MSG_ID: snapshot.upload_id, Header.ROLLUP: "sub"},
        )

    async def remove(self, snapshot: Snapshot) -> None:
        """Removes a snapshot and its chunks."""
        await self._purge(self._info_subject(snapshot.name))
        await self._purge(self._chunk_subject(snapshot.upload_id))

    async def remove_remains(self) -> None:
        """Removes chunks of which no snapshot was made. Only for the holder of the claim."""
        counts = await self._counts()
        used = {self._chunk_subject(info.nuid) for _, info in await self._infos()}
        for subject in counts.keys() - used - {self._claim_subject}:
            _log.info("removing what is left of a snapshot that was not completed")
            await self._purge(subject)

    @asynccontextmanager
    async def claim(self) -> AsyncIterator[bool]:
        """Whether this node alone takes a snapshot now; its claim ends soon after it does, or dies."""
        renewing = None
        try:
            sequence = await self._claim(known_sequence=0)
            if sequence is not None:
                renewing = asyncio.create_task(self._renew_claim(sequence), name="snapshot-claim")
            yield renewing is not None
        finally:
            if renewing is not None:
                renewing.cancel()
                await asyncio.wait([renewing])
            await self._end_claim()

    async def _renew_claim(self, sequence: int | None) -> None:
        while sequence is not None:
            await asyncio.sleep(_CLAIM_RENEWAL_SECONDS)
            try:
                sequence = await self._claim(known_sequence=sequence)
            except LogUnreachableError as error:
                _log.info("the claim to take a snapshot is renewed later: %s", error)
        # Both go on: what one has removed of the other's is noticed in the end.
        _log.warning("another node has claimed to take a snapshot meanwhile")

    async def _end_claim(self) -> None:
        with contextlib.suppress(LogUnreachableError), translated():
            async with asyncio.timeout(_ATTEMPT_SECONDS):
                # Also one that was put just when this was cancelled.
                if sequence := await self._own_claim():
                    await self._js.delete_msg(self._stream, sequence)

    async def _claim(self, *, known_sequence: int) -> int | None:
        """Puts a claim in the place of one, or of none; None where another node's is there."""
        headers: dict[str, str] = {
            Header.EXPECTED_LAST_SUBJECT_SEQUENCE: str(known_sequence),
            Header.ROLLUP: "sub",
        }

        async def put() -> int | None:
            try:
                ack = await self._js.publish(
                    self._claim_subject,
                    self._claim_id,
                    stream=self._stream,
                    headers=dict(headers),
                    msg_ttl=_CLAIM_SECONDS,
                )
            except APIError as error:
                if error.err_code in _CLAIMED:
                    return await self._own_claim()
                raise
            return ack.seq

        return await _persistently(put)

    async def _own_claim(self) -> int | None:
        """Where a claim stands that was put without an answer."""
        try:
            message = await self._js.get_last_msg(self._stream, self._claim_subject)
        except NotFoundError:
            return None
        return message.seq if message.data == self._claim_id else None

    async def _publish(self, subject: str, data: bytes, headers: dict[str, str]) -> None:
        await _persistently(
            lambda: self._js.publish(
                subject, data, timeout=_ATTEMPT_SECONDS, stream=self._stream, headers=headers
            )
        )

    async def _infos(self) -> list[tuple[int, _ObjectInfo]]:
        """What describes the objects, and where that stands."""
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
        """The first message behind a sequence; None where there is none, by the leader's word."""

        async def get(*, direct: bool) -> RawStreamMsg | None:
            try:
                return await self._js.get_msg(
                    self._stream, seq=after + 1, subject=subject, next=True, direct=direct
                )
            except NotFoundError:
                return None

        if is_direct and (message := await _persistently(lambda: get(direct=True))):
            return message
        return await _persistently(lambda: get(direct=False))

    async def _counts(self) -> dict[str, int]:
        """How many chunks there are of each upload, by subject."""
        info = await _persistently(
            lambda: self._js.stream_info(self._stream, subjects_filter=f"$O.{self._name}.C.>")
        )
        return info.state.subjects or {}

    async def _purge(self, subject: str) -> None:
        await _persistently(lambda: self._js.purge_stream(self._stream, subject=subject))

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


async def _persistently(call: Callable[[], Awaitable[T]]) -> T:
    """Calls again until there is an answer, for as long as the bucket may need for another leader."""
    return await persistently(call, seconds=_PATIENCE_SECONDS, attempt_seconds=_ATTEMPT_SECONDS)
