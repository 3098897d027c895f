"""No log line holds what callers have sent, whatever they call with it and at any level."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from engagement import v1
from tests.support.connection import ACCOUNT, Connection, connect
from tests.support.contract import Method, methods
from tests.support.filled_messages import fill
from tests.support.marked_events import marked_events
from tests.support.server_process import ServerProcess
from tests.support.waiting import deadline

MARKER = "zqmarker4711"
TEXTS = {
    "plain": MARKER,
    "hostile": f'{MARKER}\n\x1b[31m{{"level":"error"}}\u2028\x7f',
    "long": f"{MARKER} " * 2_000,
}
METHODS = list(methods())


@pytest.fixture(params=[("1", "json"), ("2", "text")], ids=["one-process", "workers"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerProcess]:
    workers, log_format = request.param
    options = ("--log-level", "debug", "--workers", workers, "--log-format", log_format)
    with ServerProcess(tmp_path / "data", options=options).start() as process:
        yield process


async def call(connection: Connection, method: Method, request: Message) -> None:
    """Calls any method, with the marker in the metadata too, whatever comes of it."""
    start = connection.channel.stream_stream(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    with suppress(grpc.aio.AioRpcError):
        async with deadline(f"{method.name} ended"):
            async for _ in start(iter([request]), metadata=[("x-marked", MARKER)]):
                pass


async def send_texts(connection: Connection, text: str) -> None:
    """Calls every method with a text in every field: once with an account, once in its place too."""
    for method in METHODS:
        for account in (ACCOUNT, f"{text} is no account"):
            request = GetMessageClass(method.input_type)()
            fill(request, text, account=account)
            if isinstance(request, v1.SubscribeEventsRequest):
                request.stop_at_tail = True
            await call(connection, method, request)


async def use(connection: Connection) -> None:
    """Records, uploads, lists, follows, folds and erases events whose values are marked."""
    consumer = f"{MARKER}consumer"
    events = marked_events(20, consumer_id=consumer, marker=MARKER)
    await connection.record(events[0])
    await connection.record_batch(events[1:10])
    changed = v1.Event.FromString(events[0].SerializeToString())
    changed.conversation_id = f"{MARKER}other"
    bad = v1.Event.FromString(events[0].SerializeToString())
    bad.event_id = f"{MARKER}bad"
    bad.customer_info.last_payment_date.month = 13
    for refused in (changed, bad):
        with pytest.raises(grpc.aio.AioRpcError):
            await connection.record(refused)
    with pytest.raises(grpc.aio.AioRpcError):
        await connection.record_batch([bad, *events[10:]])
    await connection.upload([[*events[10:], bad, changed]])
    names = v1.EventFilter(consumer_ids=[consumer])
    assert [each async for each in connection.stored(wanted=names)]
    following = connection.events.SubscribeEvents(
        v1.SubscribeEventsRequest(account_id=ACCOUNT, earliest=True, stop_at_tail=True, filter=names)
    )
    assert [each async for each in following]
    await connection.events.GetProfile(v1.GetProfileRequest(account_id=ACCOUNT, consumer_id=consumer))
    with pytest.raises(grpc.aio.AioRpcError):
        await connection.events.GetEvent(v1.GetEventRequest(account_id=ACCOUNT, event_id=f"{MARKER}none"))
    privacy = v1.PrivacyServiceStub(connection.channel)
    await privacy.EraseConsumer(
        v1.EraseConsumerRequest(
            account_id=ACCOUNT, request_id=f"{MARKER}request", subjects=[v1.Subject(consumer_id=consumer)]
        )
    )


async def test_no_line_holds_a_value_or_an_id_that_callers_have_sent(server: ServerProcess) -> None:
    async with connect(server.address) as connection:
        await use(connection)
        for text in TEXTS.values():
            await send_texts(connection, text)
        # A client that goes away in the middle of a call.
        leaving = connection.events.SubscribeEvents(
            v1.SubscribeEventsRequest(account_id=ACCOUNT, earliest=True)
        )
        await leaving.read()
        leaving.cancel()
    assert server.stop() == 0
    written = server.messages.lower()
    assert MARKER not in written
    for method in METHODS:
        assert f"{method.containing_service.full_name}/{method.name}".lower() in written
    for line in server.messages.splitlines():
        assert line.isprintable()
