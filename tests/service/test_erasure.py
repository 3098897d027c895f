"""Erasures, suppressions and their audit, call by call, against a real server."""

from __future__ import annotations

import asyncio

import pytest

from engagement import ConflictError, EngagementClient, InvalidArgumentError, NotFoundError, v1
from engagement_server.node import Server
from tests.support.events import customer_event, customer_events, personal_event
from tests.support.waiting import eventually

ACCEPTED, DUPLICATE, SUPPRESSED = (
    v1.Outcome.OUTCOME_ACCEPTED,
    v1.Outcome.OUTCOME_DUPLICATE,
    v1.Outcome.OUTCOME_SUPPRESSED,
)


async def ids(client: EngagementClient, wanted: v1.EventFilter | None = None) -> list[str]:
    return [stored.event.event_id async for stored in client.list_events(wanted)]


async def outcomes(client: EngagementClient, *events: v1.Event) -> list[v1.Outcome]:
    return [result.outcome for result in (await client.record_events(events)).results]


async def test_only_the_events_of_the_subject_go(client: EngagementClient) -> None:
    other = customer_event("other", customer_id="C2")
    other.consumer_id, other.conversation_id = "bela", "talk"
    named = customer_event("named", customer_id="C1")
    await client.record_events([*customer_events(5), personal_event("personal"), named, other])
    assert (await client.erase_consumer(customer_id="C1")).erased_events == 1
    assert (await client.erase_consumer(conversation_id="another")).erased_events == 0
    assert (await client.erase_consumer(consumer_id="ada")).erased_events == 6
    assert await ids(client) == ["other"]
    assert await ids(client, v1.EventFilter(consumer_ids=["ada"])) == []
    assert await ids(client, v1.EventFilter(text="ada")) == []
    assert (await client.erase_consumer(conversation_id="talk")).erased_events == 1
    assert await ids(client) == []


async def test_other_accounts_keep_their_events(client: EngagementClient, server: Server) -> None:
    async with EngagementClient(server.address, account_id="beta") as other:
        await client.record_event(customer_event("a"))
        await other.record_event(customer_event("a"))
        await client.erase_consumer(consumer_id="ada")
        assert (await ids(client), await ids(other)) == ([], ["a"])
        assert await outcomes(other, customer_event("a")) == [DUPLICATE]


async def test_an_erased_event_is_found_neither_by_its_id_nor_by_its_cursor(client: EngagementClient) -> None:
    result = await client.record_event(customer_event("a"))
    await client.erase_consumer(consumer_id="ada")
    later = await client.record_event(customer_event("b"))
    with pytest.raises(NotFoundError):
        await client.get_event(event_id="a")
    with pytest.raises(NotFoundError):
        await client.get_event(cursor=result.cursor)
    assert (await client.get_event(cursor=later.cursor)).event.event_id == "b"


async def test_a_preview_counts_and_erases_nothing(client: EngagementClient) -> None:
    await client.record_events(customer_events(150))
    preview = await client.erase_consumer(consumer_id="ada", validate_only=True)
    assert (preview.matched_events, preview.erased_events, preview.erasure_id) == (150, 0, "")
    assert list(preview.sample_event_ids) == [f"event-{number:06}" for number in range(100)]
    assert not preview.HasField("create_time")
    assert len(await ids(client)) == 150
    assert [erasure async for erasure in client.list_erasures()] == []


async def test_erased_ids_are_duplicates_for_good_with_any_content(client: EngagementClient) -> None:
    await client.record_events(customer_events(3))
    await client.erase_consumer(consumer_id="ada")
    assert await outcomes(client, *customer_events(3)) == [DUPLICATE] * 3
    changed = customer_event("event-000001", role="another")
    assert await outcomes(client, changed, customer_event("new")) == [DUPLICATE, ACCEPTED]
    assert (await client.record_event(changed, validate_only=True)).outcome == DUPLICATE
    assert (await client.record_event(changed)).cursor == ""
    assert await ids(client) == ["new"]


async def test_the_same_request_is_the_same_erasure_and_takes_no_later_events(
    client: EngagementClient,
) -> None:
    await client.record_event(customer_event("a"))
    first = await client.erase_consumer(consumer_id="ada", request_id="ticket")
    await client.record_event(customer_event("b"))
    again = await client.erase_consumer(consumer_id="ada", request_id="ticket")
    assert again == first
    assert await ids(client) == ["b"]
    for changed in (
        client.erase_consumer(consumer_id="bela", request_id="ticket"),
        client.erase_consumer(customer_id="ada", request_id="ticket"),
        client.erase_consumer(consumer_id="ada", request_id="ticket", suppress=True),
    ):
        with pytest.raises(ConflictError) as caught:
            await changed
        assert caught.value.reason == "REQUEST_ID_REUSED"


async def test_callers_of_the_same_request_wait_for_one_erasure(client: EngagementClient) -> None:
    await client.record_events(customer_events(400))
    erasures = await asyncio.gather(
        *(client.erase_consumer(consumer_id="ada", request_id="ticket") for _ in range(10))
    )
    assert [erasure.erased_events for erasure in erasures] == [400] * 10
    assert len({erasure.erasure_id for erasure in erasures}) == 1


async def test_erasures_of_several_run_beside_each_other(client: EngagementClient) -> None:
    events = customer_events(400)
    for number, event in enumerate(events):
        event.consumer_id = f"c{number % 20}"
    await client.record_events(events)
    erasures = await asyncio.gather(*(client.erase_consumer(consumer_id=f"c{n}") for n in range(19)))
    assert [erasure.erased_events for erasure in erasures] == [20] * 19
    assert len(await ids(client)) == 20


async def test_a_suppressed_subject_is_not_stored_until_it_is_let_in(client: EngagementClient) -> None:
    await client.record_event(customer_event("a"))
    erasure = await client.erase_consumer(consumer_id="ada", suppress=True)
    assert erasure.suppressing
    other = customer_event("other")
    other.consumer_id = "bela"
    assert await outcomes(client, customer_event("b"), other) == [SUPPRESSED, ACCEPTED]
    assert await client.lift_suppression(erasure_id=erasure.erasure_id)
    assert not await client.lift_suppression(consumer_id="ada")
    ended = await client.get_erasure(erasure.erasure_id)
    assert (ended.suppressing, ended.HasField("lift_time")) == (False, True)
    assert await outcomes(client, customer_event("b"), customer_event("a")) == [ACCEPTED, DUPLICATE]
    assert await ids(client) == ["other", "b"]


async def test_what_does_not_exist_cannot_be_read_or_lifted(client: EngagementClient) -> None:
    for call in (client.get_erasure("nothing"), client.lift_suppression(erasure_id="nothing")):
        with pytest.raises(NotFoundError) as caught:
            await call
        assert caught.value.reason == "ERASURE_NOT_FOUND"
    with pytest.raises(TypeError):
        await client.lift_suppression(consumer_id="a", customer_id="b")
    for refused in (
        client.erase_consumer(consumer_id=""),
        client.erase_consumer(),
        client.erase_consumer(event_id="a", suppress=True),
    ):
        with pytest.raises(InvalidArgumentError):
            await refused


async def test_erasures_are_listed_latest_first_page_by_page(
    client: EngagementClient, server: Server
) -> None:
    for number in range(7):
        await client.erase_consumer(consumer_id=f"{number}", request_id=f"request {number}", suppress=True)
    listed = [erasure.request_id async for erasure in client.list_erasures(page_size=3)]
    assert listed == [f"request {number}" for number in reversed(range(7))]
    async with EngagementClient(server.address, account_id="beta") as other:
        assert [erasure async for erasure in other.list_erasures()] == []


async def test_a_caller_that_goes_away_does_not_stop_it(client: EngagementClient) -> None:
    await client.record_events(customer_events(400))
    call = asyncio.create_task(client.erase_consumer(consumer_id="ada", request_id="ticket"))

    async def erasures() -> list[v1.Erasure]:
        return [erasure async for erasure in client.list_erasures()]

    async def has_begun() -> bool:
        return bool(await erasures())

    async def is_complete() -> bool:
        return (await erasures())[0].HasField("complete_time")

    await eventually(has_begun, "the erasure begins")
    call.cancel()
    await eventually(is_complete, "the erasure is complete")
    assert [erasure.erased_events for erasure in await erasures()] == [400]


async def test_subscribers_are_told_in_order_which_events_are_gone(client: EngagementClient) -> None:
    results = (await client.record_events(customer_events(3))).results
    erasure = await client.erase_consumer(consumer_id="ada")
    await client.record_event(customer_event("later"))
    request = v1.SubscribeEventsRequest(account_id="acme", earliest=True, stop_at_tail=True)
    subscription = await client.subscribe_events(request)
    frames = [frame async for frame in subscription.call]
    (notice,) = [frame.erasure_notice for frame in frames if frame.HasField("erasure_notice")]
    assert notice.erasure_id == erasure.erasure_id
    assert list(notice.erased_cursors) == [result.cursor for result in results]
    told, *_, read = [
        frame for frame in frames if frame.HasField("erasure_notice") or frame.HasField("batch")
    ]
    assert (told.HasField("erasure_notice"), read.HasField("batch")) == (True, True)
