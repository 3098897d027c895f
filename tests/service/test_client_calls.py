"""The client's single calls, against a real server."""

from __future__ import annotations

import asyncio
import socket
import uuid

import grpc
import pytest

from engagement import (
    ConflictError,
    DeadlineError,
    EngagementClient,
    InvalidArgumentError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
    v1,
)
from engagement_server.node import Server
from tests.support.event_samples import bad_event, good_event, good_events, stored_ids
from tests.support.tcp_proxy import TcpProxy


async def test_a_recorded_event_is_found_by_id_and_by_cursor(client: EngagementClient) -> None:
    result = await client.record_event(good_event(1))
    assert result.outcome == v1.Outcome.OUTCOME_ACCEPTED
    by_id = await client.get_event(event_id="event-000001")
    by_cursor = await client.get_event(cursor=result.cursor)
    assert by_id == by_cursor
    assert by_id.event.customer_info.balance == "-400.99"


async def test_an_event_without_id_gets_one_that_the_result_names(client: EngagementClient) -> None:
    event = v1.Event(customer_info=v1.CustomerInfo(balance="1"))
    result = await client.record_event(event)
    assert uuid.UUID(result.event_id).version == 7
    assert event.event_id == ""
    stored = await client.get_event(event_id=result.event_id)
    assert stored.event.customer_info.balance == "1"


async def test_the_same_event_again_is_a_duplicate(client: EngagementClient) -> None:
    first = await client.record_event(good_event(1))
    second = await client.record_event(good_event(1))
    assert second.outcome == v1.Outcome.OUTCOME_DUPLICATE
    assert second.cursor == first.cursor


async def test_the_same_id_with_other_content_is_a_conflict(client: EngagementClient) -> None:
    await client.record_event(good_event(1))
    with pytest.raises(ConflictError) as caught:
        await client.record_event(good_event(1, balance="7"))
    assert caught.value.reason == "EVENT_ID_CONFLICT"
    assert caught.value.metadata["eventId"] == "event-000001"


async def test_a_bad_event_names_the_field_and_the_rule(client: EngagementClient) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await client.record_event(bad_event(1))
    assert caught.value.reason == "FIELD_INVALID"
    (violation,) = caught.value.violations
    assert violation.field == "event.customer_info.last_payment_date.month"
    assert violation.rule == "int32.gte_lte"
    assert violation.field in str(caught.value)


async def test_validate_only_stores_nothing(client: EngagementClient) -> None:
    result = await client.record_event(good_event(1), validate_only=True)
    assert result.outcome == v1.Outcome.OUTCOME_ACCEPTED
    with pytest.raises(NotFoundError):
        await client.get_event(event_id="event-000001")


async def test_one_bad_event_refuses_a_call(client: EngagementClient) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await client.record_events([good_event(0), bad_event(1)])
    assert caught.value.violations[0].field.startswith("events[1].")
    assert await stored_ids(client) == []


async def test_a_partial_call_stores_the_good_events(client: EngagementClient) -> None:
    response = await client.record_events([good_event(0), bad_event(1), good_event(2)], allow_partial=True)
    assert [result.outcome for result in response.results] == [
        v1.Outcome.OUTCOME_ACCEPTED,
        v1.Outcome.OUTCOME_REJECTED,
        v1.Outcome.OUTCOME_ACCEPTED,
    ]
    assert (response.tally.accepted, response.tally.rejected) == (2, 1)
    assert await stored_ids(client) == ["event-000000", "event-000002"]


async def test_events_without_ids_in_one_call_are_different_events(client: EngagementClient) -> None:
    nameless = v1.Event(customer_info=v1.CustomerInfo(balance="1"))
    response = await client.record_events([nameless, nameless])
    assert response.tally.accepted == 2


async def test_too_many_events_in_a_call_are_refused_with_the_limit(client: EngagementClient) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await client.record_events(good_events(501))
    assert caught.value.reason == "BATCH_TOO_LARGE"
    assert caught.value.metadata["limit"] == "500"


async def test_a_missing_event_and_a_missing_upload_are_not_found(client: EngagementClient) -> None:
    with pytest.raises(NotFoundError) as event:
        await client.get_event(event_id="nobody")
    with pytest.raises(NotFoundError) as upload:
        await client.get_upload("nobody")
    assert (event.value.reason, upload.value.reason) == ("EVENT_NOT_FOUND", "UPLOAD_NOT_FOUND")


async def test_an_event_is_asked_for_by_exactly_one_key(client: EngagementClient) -> None:
    with pytest.raises(TypeError):
        await client.get_event()
    with pytest.raises(TypeError):
        await client.get_event(event_id="event-000001", cursor="c")


async def test_a_walk_over_pages_meets_every_event_once(client: EngagementClient) -> None:
    await client.record_events(good_events(10))
    expected = [event.event_id for event in good_events(10)]
    oldest_first = [stored.event.event_id async for stored in client.list_events(page_size=3)]
    newest_first = [
        stored.event.event_id async for stored in client.list_events(page_size=3, newest_first=True)
    ]
    assert oldest_first == expected
    assert newest_first == expected[::-1]


async def test_a_list_takes_a_filter_and_a_mask(client: EngagementClient) -> None:
    await client.record_events(good_events(10))
    found = [
        stored
        async for stored in client.list_events(
            v1.EventFilter(consumer_ids=["consumer-3"]), read_mask=["event.event_id"]
        )
    ]
    assert [stored.event for stored in found] == [v1.Event(event_id="event-000003")]


async def test_the_server_tells_its_limits(client: EngagementClient) -> None:
    info = await client.get_server_info()
    assert info.contract == "engagement.v1"
    assert info.limits.max_batch_events == 500


async def test_a_call_with_compression_works(server: Server) -> None:
    async with EngagementClient(
        server.address, account_id="acme", compression=grpc.Compression.Gzip
    ) as compressed:
        response = await compressed.record_events(good_events(100))
    assert response.tally.accepted == 100


async def test_lost_connections_are_tried_again(server: Server) -> None:
    async with (
        TcpProxy(server.address) as proxy,
        EngagementClient(proxy.address, account_id="acme") as distant,
    ):
        proxy.refusals_due = 2
        result = await distant.record_event(good_event(1))
    assert result.outcome == v1.Outcome.OUTCOME_ACCEPTED
    assert proxy.connections >= 3


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as bound:
        # A port that is taken, but where nobody listens.
        bound.bind(("127.0.0.1", 0))
        async with EngagementClient(f"127.0.0.1:{bound.getsockname()[1]}", account_id="acme") as lonely:
            with pytest.raises(UnavailableError):
                await lonely.get_server_info()


async def test_a_call_that_gets_no_answer_ends_at_its_deadline(server: Server) -> None:
    async with (
        TcpProxy(server.address) as proxy,
        EngagementClient(proxy.address, account_id="acme", timeout_seconds=1.5) as distant,
    ):
        await distant.get_server_info()
        proxy.hold_replies()
        with pytest.raises(DeadlineError):
            await distant.get_server_info()


async def test_cancelling_a_call_is_asyncios_own_cancellation(server: Server) -> None:
    async with (
        TcpProxy(server.address) as proxy,
        EngagementClient(proxy.address, account_id="acme") as distant,
    ):
        await distant.get_server_info()
        proxy.hold_replies()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await distant.get_server_info()


class _Doorkeeper(grpc.GenericRpcHandler):
    """Refuses every call and remembers the token that it showed."""

    def __init__(self) -> None:
        self.tokens: list[object] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[object, object]:
        self.tokens += [value for key, value in details.invocation_metadata or () if key == "authorization"]

        async def refuse(_: object, context: grpc.aio.ServicerContext[object, object]) -> object:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is too old")

        return grpc.unary_unary_rpc_method_handler(refuse)


async def test_a_token_goes_with_every_call_and_its_refusal_is_typed() -> None:
    doorkeeper = _Doorkeeper()
    guarded = grpc.aio.server(handlers=[doorkeeper])
    port = guarded.add_insecure_port("127.0.0.1:0")
    await guarded.start()
    try:
        async with EngagementClient(f"127.0.0.1:{port}", account_id="acme", token="secret") as client:
            with pytest.raises(UnauthenticatedError):
                await client.get_server_info()
    finally:
        await guarded.stop(None)
    assert doorkeeper.tokens == ["Bearer secret"]
