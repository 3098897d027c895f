"""One JetStream stream, as the log uses it: messages in order, each once. It knows nothing of commits."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, DiscardPolicy, StreamConfig
from nats.js.errors import APIError, NotFoundError

from engagement_server.faults import ConfigurationError, LogUnreachableError
from engagement_server.log.nats.connection import persistently, translated

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
    from nats.js import JetStreamContext
    from nats.js.api import RawStreamMsg, StreamInfo

    from engagement_server.log.nats.connection import Connection, NatsSettings, Servers

_log = logging.getLogger(__name__)

T = TypeVar("T")

_SUBJECT_TAKEN = 10065
"""The error code of a server where another stream has the subject."""
_NO_REPLICAS = 10074
"""The error code of a server that belongs to no cluster."""

_ATTEMPT_SECONDS = 0.7
_CALL_SECONDS = 5.0
PUBLISH_SECONDS = 15.0
"""How long it is tried to publish: longer than the stream needs for another leader."""
_HEARTBEAT_SECONDS = 1.0
_FORGOTTEN_SECONDS = 30.0
_MAX_SILENCE_SECONDS = 3.0
# A replica that the leader has not heard of for longer does not count as one that answers.
_MAX_PEER_SILENCE_NANOSECONDS = 3_000_000_000
# How long the stream knows the ids of messages; the views know them for good.
_DUPLICATE_WINDOW_SECONDS = 120.0
# Room for the protocol's own words beside a message.
_HEADER_BYTES = 1024
_MAX_BATCH_MESSAGES = 64
_MAX_BATCH_BYTES = 2 * 1024 * 1024


class Message(NamedTuple):
    """One message of the stream."""

    sequence: int
    message_id: str
    data: bytes


class StreamState(NamedTuple):
    """How far the stream reaches, by its leader's word."""

    first_sequence: int
    last_sequence: int
    has_quorum: bool
    """Whether the leader hears of enough replicas to take more."""


@asynccontextmanager
async def connect(servers: Servers, *, creates: bool) -> AsyncIterator[NatsStream]:
    """A stream through a connection of its own; where it `creates`, one that is not there is made.

    Raises LogUnreachableError.
    """
    connection = await servers.connect()
    try:
        stream = NatsStream(connection, servers.settings)
        await stream.prepare(creates=creates)
        yield stream
    finally:
        await connection.close()


class NatsStream:
    """A stream, as long as one connection lasts. Raises LogUnreachableError where it has ended."""

    def __init__(self, connection: Connection, settings: NatsSettings) -> None:
        self._connection = connection
        self._client = connection.client
        self._settings = settings
        self._js: JetStreamContext = self._client.jetstream(timeout=_ATTEMPT_SECONDS)
        self._subject = settings.subject or f"{settings.name}.commits"

    @property
    def max_message_bytes(self) -> int:
        """How large a message may be."""
        return self._client.max_payload - _HEADER_BYTES

    @property
    def settings(self) -> NatsSettings:
        """How it is reached and made."""
        return self._settings

    @property
    def js(self) -> JetStreamContext:
        """What the snapshots use as well."""
        return self._js

    @property
    def server(self) -> str:
        """The server that it is reached through."""
        return self._connection.server

    async def lost(self) -> None:
        """Returns when the connection has ended."""
        await self._connection.lost()

    async def prepare(self, *, creates: bool) -> None:
        """Gives the stream the settings, and makes it where that is wanted.

        Raises ConfigurationError where another stream has its subject.
        """
        config = StreamConfig(
            name=self._settings.name,
            subjects=[self._subject],
            num_replicas=self._settings.replicas,
            max_age=self._settings.max_age_seconds,
            duplicate_window=min(_DUPLICATE_WINDOW_SECONDS, self._settings.max_age_seconds),
            # Where there is no room, nothing old is dropped for what is new.
            discard=DiscardPolicy.NEW,
        )
        info = await self._info(seconds=_CALL_SECONDS)
        if info is None:
            if creates:
                await self._ask(lambda: self._add(config))
            return
        present = info.config
        if (present.num_replicas, present.max_age) != (config.num_replicas, config.max_age):
            _log.info("the stream %s gets other settings", self._settings.name)
            await self._ask(lambda: self._js.update_stream(config))

    async def state(self, *, seconds: float = _CALL_SECONDS) -> StreamState:
        """How far the stream reaches; asks for some time where nobody answers."""
        info = await self._info(seconds=seconds)
        if info is None:
            return StreamState(0, 0, has_quorum=True)
        return StreamState(info.state.first_seq, info.state.last_seq, _has_quorum(info))

    async def read(self, sequence: int) -> Message | None:
        """One message; None where the stream does not have it."""

        async def get() -> RawStreamMsg | None:
            try:
                return await self._js.get_msg(self._settings.name, seq=sequence)
            except NotFoundError:
                return None

        found = await self._ask(get)
        if found is None:
            return None
        return Message(sequence, (found.headers or {}).get("Nats-Msg-Id", ""), found.data or b"")

    async def publish(
        self, message_id: str, data: bytes, *, timeout_seconds: float, must_be_first: bool = False
    ) -> int:
        """Puts a message at the end, unless it is there; its sequence.

        Raises LogUnreachableError where it is not known whether it is there, and StoreUnavailableError
        where it is not, because there is no room.
        """
        headers = {"Nats-Msg-Id": message_id}
        if must_be_first:
            headers["Nats-Expected-Last-Sequence"] = "0"
        with translated():
            ack = await self._js.publish(
                self._subject,
                data,
                timeout=timeout_seconds,
                stream=self._settings.name,
                headers=headers,
            )
        return ack.seq

    async def follow(self, *, after: int) -> AsyncIterator[list[Message]]:
        """All messages behind a sequence, without a gap, some at a time; never ends by itself."""
        inbox = self._client.new_inbox()
        with translated():
            subscription = await self._client.subscribe(inbox, pending_bytes_limit=0)
        try:
            config = ConsumerConfig(
                # With a name it can be asked for again.
                name=inbox.rpartition(".")[2],
                deliver_subject=inbox,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=after + 1,
                ack_policy=AckPolicy.NONE,
                max_deliver=1,
                mem_storage=True,
                num_replicas=1,
                flow_control=True,
                idle_heartbeat=_HEARTBEAT_SECONDS,
                inactive_threshold=_FORGOTTEN_SECONDS,
            )
            await self._ask(lambda: self._js.add_consumer(self._settings.name, config))
            delivery = _Delivery(self._client, subscription, first_sequence=after + 1)
            while True:
                with translated():
                    messages = await delivery.next_messages()
                if messages:
                    yield messages
        finally:
            with contextlib.suppress(NatsError):
                await subscription.unsubscribe()

    async def _add(self, config: StreamConfig) -> None:
        try:
            await self._js.add_stream(config)
        except APIError as error:
            if error.err_code == _NO_REPLICAS:
                raise ConfigurationError(
                    f"one server of the log alone cannot keep {config.num_replicas} replicas: give it two"
                    " others, or set --log-replicas 1, which loses what that server loses"
                ) from error
            if error.err_code != _SUBJECT_TAKEN:
                raise
            raise ConfigurationError(
                f"the log has another stream for {self._subject}: its partitions are of another number, which"
                " cannot be changed, or another service has this name. Look at --partitions and --log-name"
            ) from error

    async def _info(self, *, seconds: float) -> StreamInfo | None:
        """What the leader says of the stream; None where there is none."""

        async def ask() -> StreamInfo | None:
            try:
                return await self._js.stream_info(self._settings.name)
            except NotFoundError:
                return None

        return await self._ask(ask, seconds=seconds)

    @staticmethod
    async def _ask(call: Callable[[], Awaitable[T]], *, seconds: float = _CALL_SECONDS) -> T:
        return await persistently(call, seconds=seconds, attempt_seconds=2 * _ATTEMPT_SECONDS)


@dataclass(slots=True)
class _Delivery:
    """What a push consumer sends: messages that are counted, heartbeats, and requests to go on."""

    client: Client
    subscription: Subscription
    first_sequence: int
    received: int = field(default=0)

    async def next_messages(self) -> list[Message]:
        """Waits for a message, then takes what else is there; empty where the server only lives."""
        messages: list[Message] = []
        size_bytes = 0
        while True:
            received = await self.subscription.next_msg(timeout=_MAX_SILENCE_SECONDS)
            if received.header and "Status" in received.header:
                await self._answer(received)
            else:
                messages.append(self._checked(received))
                size_bytes += len(received.data)
            is_full = len(messages) == _MAX_BATCH_MESSAGES or size_bytes > _MAX_BATCH_BYTES
            if is_full or not self.subscription.pending_msgs:
                return messages

    async def _answer(self, status: Msg) -> None:
        """Reads a heartbeat or a request of the flow control."""
        headers = status.header or {}
        if last := headers.get("Nats-Last-Consumer"):
            self._require(int(last) == self.received)
        if reply := status.reply or headers.get("Nats-Consumer-Stalled"):
            await self.client.publish(reply)

    def _checked(self, message: Msg) -> Message:
        sequence = message.metadata.sequence
        self.received += 1
        self._require(sequence.consumer == self.received)
        # The oldest ones may have been removed since somebody looked.
        self._require(self.received > 1 or sequence.stream == self.first_sequence)
        return Message(sequence.stream, (message.header or {}).get("Nats-Msg-Id", ""), message.data)

    @staticmethod
    def _require(is_complete: bool) -> None:  # noqa: FBT001  # says what it checks
        if not is_complete:
            raise LogUnreachableError("messages were lost on their way")


def _has_quorum(info: StreamInfo) -> bool:
    cluster = info.cluster
    if cluster is None:  # a server alone
        return True
    if not cluster.leader:
        return False
    replicas = cluster.replicas or []
    # One that was never heard of has been silent for no time at all.
    answering = [
        peer
        for peer in replicas
        if not peer.offline
        and (peer.active or peer.current)
        and (peer.active or 0) < _MAX_PEER_SILENCE_NANOSECONDS
    ]
    return 2 * (1 + len(answering)) > 1 + len(replicas)
