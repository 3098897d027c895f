"""One JetStream stream, as the log uses it: messages in order, published once. It knows nothing of commits.

Each connection is used until it fails; then another one is made, to another server where there is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import nats
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, DiscardPolicy, StreamConfig
from nats.js.errors import APIError, NotFoundError

from engagement_server.errors import LogUnreachableError, StoreUnavailableError

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
    from nats.js import JetStreamContext
    from nats.js.api import StreamInfo

_log = logging.getLogger(__name__)

_CONNECT_SECONDS = 2
_CALL_SECONDS = 2.0
_PING_SECONDS = 1
_MAX_UNANSWERED_PINGS = 3
_HEARTBEAT_SECONDS = 1.0
_MAX_SILENCE_SECONDS = 3.0
# A replica that the leader has not heard of for longer does not count as one that answers.
_MAX_PEER_SILENCE_NANOSECONDS = 3_000_000_000
# How long the stream knows the ids of messages; the views know them for good.
_DUPLICATE_WINDOW_SECONDS = 120.0
# Room for the protocol's own words beside a message.
_HEADER_BYTES = 1024
_MAX_BATCH_MESSAGES = 64
_MAX_BATCH_BYTES = 8 * 1024 * 1024
_FULL = frozenset({10077, 10047, 10023})
"""The error codes of a server or stream that has no room left."""


@dataclass(frozen=True, slots=True)
class NatsSettings:
    """How to reach the servers, and what makes a stream that is not there yet."""

    servers: Sequence[str]
    name: str
    """Of the stream, and the last part of its subject."""
    replicas: int
    max_age_seconds: float
    """Older messages are removed."""
    credentials: Path | None = None
    """A file with a user's token and key, as NATS's own tools write it."""
    tls: ssl.SSLContext | None = None


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
    created: str
    """When the stream was made."""


@asynccontextmanager
async def connect(settings: NatsSettings) -> AsyncIterator[NatsStream]:
    """A stream through a connection of its own, made where it is not there.

    Raises LogUnreachableError.
    """
    lost = asyncio.Event()
    client = await _connect(settings, lost)
    try:
        stream = NatsStream(client, settings, lost)
        await stream.create()
        yield stream
    finally:
        with contextlib.suppress(NatsError, OSError, TimeoutError):
            await client.close()


async def _connect(settings: NatsSettings, lost: asyncio.Event) -> Client:
    """A connection to one of the servers, in a random order."""

    async def on_closed() -> None:
        lost.set()

    async def on_error(error: Exception) -> None:
        _log.debug("nats: %s", error)

    options: dict[str, Any] = {}  # Any: the library's options have types of their own
    if settings.credentials is not None:
        options["user_credentials"] = str(settings.credentials)
    if settings.tls is not None:
        options["tls"] = settings.tls
    failures = []
    for server in random.sample(settings.servers, len(settings.servers)):
        try:
            return await nats.connect(
                server,
                name=settings.name,
                allow_reconnect=False,
                connect_timeout=_CONNECT_SECONDS,
                ping_interval=_PING_SECONDS,
                max_outstanding_pings=_MAX_UNANSWERED_PINGS,
                closed_cb=on_closed,
                error_cb=on_error,
                **options,
            )
        except (NatsError, OSError, TimeoutError) as error:
            failures.append(f"{_without_password(server)}: {error or type(error).__name__}")
    raise LogUnreachableError("; ".join(failures))


class NatsStream:
    """A stream, as long as one connection lasts. Raises LogUnreachableError where it has ended."""

    def __init__(self, client: Client, settings: NatsSettings, lost: asyncio.Event) -> None:
        self._client = client
        self._settings = settings
        self._lost = lost
        self._js: JetStreamContext = client.jetstream(timeout=_CALL_SECONDS)
        self._subject = f"{settings.name.replace('-', '.')}.commits"

    @property
    def max_message_bytes(self) -> int:
        """How large a message may be."""
        return self._client.max_payload - _HEADER_BYTES

    @property
    def js(self) -> JetStreamContext:
        """What the snapshots use as well."""
        return self._js

    async def lost(self) -> None:
        """Returns when the connection has ended."""
        await self._lost.wait()

    async def create(self) -> None:
        """Makes the stream where it is not there, and gives it the settings where it has others."""
        config = StreamConfig(
            name=self._settings.name,
            subjects=[self._subject],
            num_replicas=self._settings.replicas,
            max_age=self._settings.max_age_seconds,
            duplicate_window=min(_DUPLICATE_WINDOW_SECONDS, self._settings.max_age_seconds),
            # Where there is no room, nothing old is dropped for what is new.
            discard=DiscardPolicy.NEW,
        )
        with _translated():
            try:
                present = (await self._js.stream_info(self._settings.name)).config
            except NotFoundError:
                await self._js.add_stream(config)
                return
            if (present.num_replicas, present.max_age) != (config.num_replicas, config.max_age):
                _log.info("the stream %s gets other settings", self._settings.name)
                await self._js.update_stream(config)

    async def state(self) -> StreamState:
        """How far the stream reaches."""
        with _translated():
            info = await self._js.stream_info(self._settings.name)
        return StreamState(
            info.state.first_seq, info.state.last_seq, _has_quorum(info), str(info.created or "")
        )

    async def read(self, sequence: int) -> Message | None:
        """One message; None where the stream does not have it."""
        with _translated():
            try:
                found = await self._js.get_msg(self._settings.name, seq=sequence)
            except NotFoundError:
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
        with _translated():
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
        with _translated():
            subscription = await self._client.subscribe(inbox, pending_bytes_limit=0)
        try:
            with _translated():
                await self._js.add_consumer(
                    self._settings.name,
                    ConsumerConfig(
                        deliver_subject=inbox,
                        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                        opt_start_seq=after + 1,
                        ack_policy=AckPolicy.NONE,
                        max_deliver=1,
                        mem_storage=True,
                        num_replicas=1,
                        flow_control=True,
                        idle_heartbeat=_HEARTBEAT_SECONDS,
                        inactive_threshold=30.0,
                    ),
                )
            delivery = _Delivery(self._client, subscription)
            while True:
                with _translated():
                    messages = await delivery.next_messages()
                if messages:
                    yield messages
        finally:
            with contextlib.suppress(NatsError):
                await subscription.unsubscribe()


@dataclass(slots=True)
class _Delivery:
    """What a push consumer sends: messages that are counted, heartbeats, and requests to go on."""

    client: Client
    subscription: Subscription
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
        return Message(sequence.stream, (message.header or {}).get("Nats-Msg-Id", ""), message.data)

    @staticmethod
    def _require(is_complete: bool) -> None:  # noqa: FBT001  # says what it checks
        if not is_complete:
            raise LogUnreachableError("messages were lost on their way")


def _has_quorum(info: StreamInfo) -> bool:
    cluster = info.cluster
    if cluster is None or not cluster.replicas:
        return True
    answering = [
        peer
        for peer in cluster.replicas
        if not peer.offline and (peer.active or 0) < _MAX_PEER_SILENCE_NANOSECONDS
    ]
    return 2 * (1 + len(answering)) > 1 + len(cluster.replicas)


def _without_password(server: str) -> str:
    scheme, _, rest = server.rpartition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


@contextlib.contextmanager
def _translated() -> Any:  # Any: a generator that a decorator turns into something else
    """Turns what the library raises into the log's errors."""
    try:
        yield
    except APIError as error:
        if error.err_code in _FULL:
            raise StoreUnavailableError(f"the log has no room: {error.description}") from error
        raise LogUnreachableError(str(error.description or error)) from error
    except NatsTimeoutError as error:
        raise LogUnreachableError("the log does not answer") from error
    except (NatsError, OSError) as error:
        raise LogUnreachableError(str(error)) from error
