"""One JetStream stream, as the log uses it: messages in order, each once. It knows nothing of commits."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from nats.js.api import DiscardPolicy, StreamConfig
from nats.js.errors import APIError, NotFoundError

from engagement_server.errors import ConfigurationError
from engagement_server.log.nats.connection import CALL_SECONDS, retry, translated
from engagement_server.log.nats.delivery import Message, deliver, message_of
from engagement_server.log.nats.marks import HEADER, mark
from engagement_server.telemetry.context import TRACEPARENT
from engagement_server.telemetry.spans import current_span, note

if TYPE_CHECKING:
    from nats.js import JetStreamContext
    from nats.js.api import RawStreamMsg, StreamInfo

    from engagement_server.log.nats.connection import Connection, NatsSettings, Servers

_log = logging.getLogger(__name__)

_SUBJECT_TAKEN = 10065
"""Error code of NATS: another stream has the subject."""
_NO_REPLICAS = 10074
"""Error code of NATS: the server does not belong to a cluster."""

_REQUEST_SECONDS = 0.7
PUBLISH_SECONDS = 15.0
"""How long publishing is retried: longer than the stream needs to elect another leader."""
# A replica that the leader has not heard from for longer does not count towards the quorum.
_MAX_PEER_SILENCE_NANOSECONDS = 3_000_000_000
# For this long the stream itself drops repeated messages; views do so for good.
_DUPLICATE_WINDOW_SECONDS = 120.0
# Any server answers a direct read, also one that lacks the message.
_DIRECT_READS = 8
# Room for the protocol's headers beside a message.
_HEADER_BYTES = 1024


class StreamState(NamedTuple):
    """The extent of the stream, as reported by its leader."""

    first_sequence: int
    last_sequence: int
    has_quorum: bool
    """Whether the leader hears from enough replicas to accept more messages."""


@asynccontextmanager
async def connect(servers: Servers, *, creates: bool | None) -> AsyncIterator[NatsStream]:
    """Opens a stream over a connection of its own; `creates` the stream if missing; None: leaves it as it is.

    Raises LogUnreachableError and ConfigurationError.
    """
    connection = await servers.connect()
    try:
        stream = NatsStream(connection, servers.settings)
        if creates is not None:
            await stream.prepare(creates=creates)
        yield stream
    finally:
        await connection.close()


class NatsStream:
    """A stream, for as long as one connection lasts. Raises LogUnreachableError once that has ended."""

    def __init__(self, connection: Connection, settings: NatsSettings) -> None:
        self._connection = connection
        self._client = connection.client
        self._subject = settings.subject or f"{settings.name}.commits"
        self._skips_subject = f"{self._subject}.skips"
        self.settings = settings
        self.server = connection.server
        """Address of the server that it is connected to."""
        self.js: JetStreamContext = self._client.jetstream(timeout=_REQUEST_SECONDS)
        """The JetStream API of the connection, for the snapshots."""

    @property
    def max_message_bytes(self) -> int:
        """Maximum size of a message."""
        return self._client.max_payload - _HEADER_BYTES

    async def lost(self) -> None:
        """Returns when the connection has ended."""
        await self._connection.lost()

    async def prepare(self, *, creates: bool) -> None:
        """Applies the settings to the stream; `creates` it if missing.

        Raises ConfigurationError if another stream has its subject, or no replicas are possible.
        """
        config = StreamConfig(
            name=self.settings.name,
            subjects=[self._subject, self._skips_subject],
            num_replicas=self.settings.replicas,
            max_age=self.settings.max_age_seconds,
            duplicate_window=min(_DUPLICATE_WINDOW_SECONDS, self.settings.max_age_seconds),
            # A full stream refuses new messages instead of dropping old ones.
            discard=DiscardPolicy.NEW,
            # Servers that are not the leader answer as well, if the files of the leader are damaged.
            allow_direct=True,
        )
        info = await self._info()
        if info is None:
            if creates:
                await retry(lambda: self._create(config))
            return
        present = info.config
        if _changeable(present) != _changeable(config):
            _log.info("changing the settings of the stream %s", self.settings.name)
            await retry(lambda: self.js.update_stream(config))

    async def state(self, *, seconds: float = CALL_SECONDS) -> StreamState:
        """Returns the extent of the stream; retries for some time if there is no answer."""
        info = await self._info(seconds=seconds)
        if info is None:
            return StreamState(0, 0, has_quorum=True)
        return StreamState(info.state.first_seq, info.state.last_seq, _has_quorum(info))

    async def read(self, sequence: int) -> Message | None:
        """Returns one message, or None if the stream does not have it."""
        return await self._get(seq=sequence)

    async def read_anywhere(self, sequence: int) -> Message | None:
        """Returns one message, or None if neither the leader nor another server has it."""
        found = await self.read(sequence)
        for _ in range(_DIRECT_READS):
            if found is not None:
                break
            found = await self._get(seq=sequence, direct=True)
        return found

    async def read_next(self, sequence: int) -> Message | None:
        """Returns the first message from a sequence on; None if there is none."""
        return await self._get(seq=sequence, subject=">", next=True)

    async def read_skips(self) -> Message | None:
        """Returns the latest list of messages to skip; None if there is none."""
        return await self._get(subject=self._skips_subject)

    async def all_skips(self) -> AsyncGenerator[Message]:
        """Yields all lists of messages to skip, the latest one last."""
        sequence = 0
        while found := await self._get(seq=sequence + 1, subject=self._skips_subject, next=True):
            yield found
            sequence = found.sequence

    async def publish(
        self,
        message_id: str,
        data: bytes,
        *,
        timeout_seconds: float,
        must_be_first: bool = False,
    ) -> int:
        """Appends a message unless the stream has its id already; returns its sequence.

        Raises LogUnreachableError if it is unknown whether the stream has it, and StoreUnavailableError if
        the stream has not, because it is full.
        """
        expected = {"Nats-Expected-Last-Sequence": "0"} if must_be_first else {}
        return await self._append(self._subject, message_id, data, expected, seconds=timeout_seconds)

    async def publish_skips(self, message_id: str, data: bytes, *, replaces: int) -> int:
        """Appends a list of messages to skip if the latest one has this sequence; 0: there is none."""
        expected = {"Nats-Expected-Last-Subject-Sequence": str(replaces)}
        return await self._append(self._skips_subject, message_id, data, expected, seconds=PUBLISH_SECONDS)

    async def _append(
        self, subject: str, message_id: str, data: bytes, expected: dict[str, str], *, seconds: float
    ) -> int:
        headers = {"Nats-Msg-Id": message_id, HEADER: mark(message_id, data), **expected}
        if (span := current_span.get()) is not None:
            headers[TRACEPARENT] = span.context.traceparent
        with translated():
            ack = await self.js.publish(
                subject, data, timeout=seconds, stream=self.settings.name, headers=headers
            )
        note("engagement.log.sequence", ack.seq)
        return ack.seq

    def messages(self, *, after: int) -> AsyncGenerator[list[Message]]:
        """Yields the messages after a sequence in batches, in order, without end; damage makes gaps."""
        return deliver(self._client, self.js, self.settings.name, after=after)

    async def servers(self) -> list[str]:
        """Names of the servers that keep the stream; one without a name if there is only one."""
        info = await self._info()
        if info is None or info.cluster is None or not info.cluster.replicas:
            return [""]
        return sorted([info.cluster.leader or "", *(peer.name or "" for peer in info.cluster.replicas)])

    def copy(self, *, after: int, accepts: Callable[[str], bool]) -> AsyncGenerator[list[Message]]:
        """Yields the messages that one server has; none at all if its name is not accepted."""
        return deliver(self._client, self.js, self.settings.name, after=after, accepts=accepts)

    async def _get(self, **selection: Any) -> Message | None:  # Any: each part has its own type
        """Returns the message that the library's parameters select."""

        async def get() -> RawStreamMsg | None:
            try:
                return await self.js.get_msg(self.settings.name, **selection)
            except NotFoundError:
                return None

        found = await retry(get)
        if found is None or found.seq is None:
            return None
        return message_of(found.seq, found.subject or "", found.headers, found.data or b"")

    async def _create(self, config: StreamConfig) -> None:
        try:
            await self.js.add_stream(config)
        except APIError as error:
            if error.err_code == _NO_REPLICAS:
                raise ConfigurationError(
                    f"a single server of the log cannot keep {config.num_replicas} replicas: add two servers,"
                    " or set --log-replicas 1, with which a lost server is lost data"
                ) from error
            if error.err_code != _SUBJECT_TAKEN:
                raise
            raise ConfigurationError(
                f"the log has another stream for {self._subject}: it has another partition count, which"
                " cannot be changed, or another service uses this name. Check --partitions and --log-name"
            ) from error

    async def _info(self, *, seconds: float = CALL_SECONDS) -> StreamInfo | None:
        """Returns the leader's description of the stream, or None if there is no stream."""

        async def ask() -> StreamInfo | None:
            try:
                return await self.js.stream_info(self.settings.name)
            except NotFoundError:
                return None

        return await retry(ask, seconds=seconds)


def _changeable(config: StreamConfig) -> tuple[object, ...]:
    """The settings that may differ between two starts."""
    return config.num_replicas, config.max_age, config.allow_direct


def _has_quorum(info: StreamInfo) -> bool:
    cluster = info.cluster
    if cluster is None:  # a single server
        return True
    if not cluster.leader:
        return False
    replicas = cluster.replicas or []
    # A replica that the leader never heard from is reported as silent for 0 ns.
    answering = [
        peer
        for peer in replicas
        if not peer.offline
        and (peer.active or peer.current)
        and (peer.active or 0) < _MAX_PEER_SILENCE_NANOSECONDS
    ]
    return 2 * (1 + len(answering)) > 1 + len(replicas)
