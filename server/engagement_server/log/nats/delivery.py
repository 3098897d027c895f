"""Delivers the messages of a stream in order, through a push consumer for each connection.

Nothing is lost in transit. Messages that the server of the consumer does not have are missing: its files may
be damaged, or the messages were deleted.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from engagement_server.errors import LogUnreachableError
from engagement_server.log.nats.connection import retry, translated
from engagement_server.log.nats.marks import mark_of

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
    from nats.js import JetStreamContext

_HEARTBEAT_SECONDS = 1.0
_MAX_SILENCE_SECONDS = 3.0
# The server removes a consumer whose connection has ended after this long.
_INACTIVE_SECONDS = 30.0
_MAX_BATCH_MESSAGES = 64
_MAX_BATCH_BYTES = 2 * 1024 * 1024


class Message(NamedTuple):
    """A message of the stream."""

    sequence: int
    message_id: str
    data: bytes
    mark: str = ""
    """Its mark, which `marks` checks; empty if it has none."""
    subject: str = ""


async def deliver(
    client: Client,
    js: JetStreamContext,
    stream: str,
    *,
    after: int,
    accepts: Callable[[str], bool] = lambda _: True,
) -> AsyncGenerator[list[Message]]:
    """Yields all messages after a sequence in batches, without end. Raises LogUnreachableError.

    The stream chooses the server that delivers; if `accepts` is false for its name, nothing is yielded.
    """
    inbox = client.new_inbox()
    with translated():
        subscription = await client.subscribe(inbox, pending_bytes_limit=0)
    try:
        config = ConsumerConfig(
            # With a name, creating it again changes nothing.
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
            inactive_threshold=_INACTIVE_SECONDS,
        )
        info = await retry(lambda: js.add_consumer(stream, config))
        if not accepts((info.cluster and info.cluster.leader) or ""):
            return
        delivery = _Delivery(client, subscription)
        while True:
            with translated():
                messages = await delivery.next_messages()
            if messages:
                yield messages
    finally:
        with contextlib.suppress(NatsError):
            await subscription.unsubscribe()


class _Delivery:
    """Reads the messages, heartbeats and flow-control requests of a push consumer."""

    def __init__(self, client: Client, subscription: Subscription) -> None:
        self._client = client
        self._subscription = subscription
        self._received = 0

    async def next_messages(self) -> list[Message]:
        """Waits for a message and returns it with those behind it; empty after a mere heartbeat."""
        messages: list[Message] = []
        size_bytes = 0
        while True:
            received = await self._subscription.next_msg(timeout=_MAX_SILENCE_SECONDS)
            if received.header and "Status" in received.header:
                await self._answer(received)
            else:
                messages.append(self._checked(received))
                size_bytes += len(received.data)
            is_full = len(messages) == _MAX_BATCH_MESSAGES or size_bytes > _MAX_BATCH_BYTES
            if is_full or not self._subscription.pending_msgs:
                return messages

    async def _answer(self, status: Msg) -> None:
        """Handles a heartbeat or a flow-control request."""
        headers = status.header or {}
        if last := headers.get("Nats-Last-Consumer"):
            _require(int(last) == self._received)
        if reply := status.reply or headers.get("Nats-Consumer-Stalled"):
            await self._client.publish(reply)

    def _checked(self, message: Msg) -> Message:
        sequence = message.metadata.sequence
        self._received += 1
        _require(sequence.consumer == self._received)
        return message_of(sequence.stream, message.subject, message.header, message.data)


def message_of(sequence: int, subject: str, headers: Mapping[str, str] | None, data: bytes) -> Message:
    """A message with what matters of its headers."""
    return Message(sequence, (headers or {}).get("Nats-Msg-Id", ""), data, mark_of(headers), subject)


def _require(is_complete: bool) -> None:  # noqa: FBT001  # says what it checks
    if not is_complete:
        raise LogUnreachableError("messages were lost in transit")
