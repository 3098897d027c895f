"""Reading events: pages, their tokens and masks, and single events by id and cursor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from engagement import v1
from engagement.limits import MAX_EVENT_BYTES
from engagement_server.config import Config
from engagement_server.node import Server
from tests.support.calls import one, some, stored
from tests.support.events import customer_event, customer_events, personal_event
from tests.support.refused_call import expect_refused

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

PAGE_BYTES = 3 * 1024 * 1024


def listing(
    page_token: str = "", *, account_id: str = "acme", page_size: int = 0, mask: tuple[str, ...] = ()
) -> v1.ListEventsRequest:
    return v1.ListEventsRequest(
        account_id=account_id, page_size=page_size, page_token=page_token, read_mask={"paths": mask}
    )


# Pages.


async def test_an_account_without_events_has_an_empty_page(events: EventServiceAsyncStub) -> None:
    assert await events.ListEvents(listing()) == v1.ListEventsResponse()


@pytest.mark.parametrize(
    ("asked", "given"), [(0, 100), (1, 1), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)]
)
async def test_a_page_holds_100_events_or_what_was_asked_up_to_1000(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub, asked: int, given: int
) -> None:
    for start in (0, 500, 1000):
        await ingest.RecordEvents(some(*customer_events(500, start=start)))
    page = await events.ListEvents(listing(page_size=asked))
    assert [each.event.event_id for each in page.events] == [f"event-{n:06}" for n in range(given)]
    following = await events.ListEvents(listing(page.next_page_token, page_size=1))
    assert following.events[0].event.event_id == f"event-{given:06}"


async def test_the_last_page_has_no_token(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    await ingest.RecordEvents(some(*customer_events(3)))
    assert (await events.ListEvents(listing(page_size=2))).next_page_token
    assert not (await events.ListEvents(listing(page_size=3))).next_page_token


async def test_a_negative_page_size_is_refused(events: EventServiceAsyncStub) -> None:
    assert (await expect_refused(events.ListEvents(listing(page_size=-1)))).fields == ["page_size"]


async def test_pages_of_large_events_stay_below_what_clients_receive(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    for start in range(0, 160, 80):
        large = customer_events(80, start=start)
        for event in large:
            event.customer_info.role = "x" * 50_000
        await ingest.RecordEvents(some(*large))
    pages = [await events.ListEvents(listing())]
    while pages[-1].next_page_token:
        pages.append(await events.ListEvents(listing(pages[-1].next_page_token)))
    assert all(PAGE_BYTES - 60_000 < page.ByteSize() < PAGE_BYTES + 20_000 for page in pages[:-1])
    found = [each.event.event_id for page in pages for each in page.events]
    assert found == [f"event-{n:06}" for n in range(160)]


async def test_an_event_larger_than_a_page_comes_alone(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    largest = customer_event("large")
    largest.additional_attributes.update({f"{n:02}": "x" * 50_000 for n in range(MAX_EVENT_BYTES // 50_100)})
    for event in (customer_event("before"), largest, customer_event("after")):
        await ingest.RecordEvent(one(event))
    page = v1.ListEventsResponse()
    for event_id in ("before", "large", "after"):
        page = await events.ListEvents(listing(page.next_page_token))
        assert [each.event.event_id for each in page.events] == [event_id]
    assert not page.next_page_token


# Page tokens.


async def test_a_page_token_belongs_to_account_filter_and_order(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    await ingest.RecordEvents(some(*customer_events(3)))
    token = (await events.ListEvents(listing(page_size=1))).next_page_token
    others = [
        listing(token, account_id="other"),
        v1.ListEventsRequest(account_id="acme", page_token=token, newest_first=True),
        v1.ListEventsRequest(account_id="acme", page_token=token, filter={"consumer_ids": ["ada"]}),
    ]
    for request in others:
        refused = await expect_refused(events.ListEvents(request))
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_MISMATCH")
    same = listing(token, page_size=2, mask=("event.event_id",))
    assert len((await events.ListEvents(same)).events) == 2
    same.filter.SetInParent()  # an empty filter matches everything too
    assert len((await events.ListEvents(same)).events) == 2


@pytest.mark.parametrize("token", ["x", "€", "A" * 36, "A" * 1024])
async def test_a_made_up_page_token_is_refused(events: EventServiceAsyncStub, token: str) -> None:
    refused = await expect_refused(events.ListEvents(listing(token)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_MISMATCH")
    assert refused.message.startswith("page_token is damaged, or of another account, filter or order")


async def test_an_endless_page_token_is_refused(events: EventServiceAsyncStub) -> None:
    assert (await expect_refused(events.ListEvents(listing("A" * 1025)))).fields == ["page_token"]


async def test_tokens_and_cursors_of_a_replaced_log_are_told_from_damaged_ones(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub, tmp_path: Path
) -> None:
    await ingest.RecordEvents(some(*customer_events(2)))
    page = await events.ListEvents(listing(page_size=1))
    replacement = await Server.start(Config(listen="127.0.0.1:0", data=tmp_path / "other"))
    async with grpc.aio.insecure_channel(replacement.address) as channel:
        other = v1.EventServiceStub(channel)
        by_cursor = v1.GetEventRequest(account_id="acme", cursor=page.events[0].cursor)
        for call in (other.ListEvents(listing(page.next_page_token)), other.GetEvent(by_cursor)):
            refused = await expect_refused(call)
            assert (refused.code, refused.reason) == (
                grpc.StatusCode.FAILED_PRECONDITION,
                "LOG_EPOCH_CHANGED",
            )
    await replacement.stop()


# Masks.


@pytest.mark.parametrize("mask", [(), ("*",), ("*", "cursor"), ("cursor", "event", "receive_time")])
async def test_a_mask_of_everything_gives_everything(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub, mask: tuple[str, ...]
) -> None:
    await ingest.RecordEvents(some(customer_event("a"), personal_event("b")))
    page = await events.ListEvents(listing(mask=mask))
    assert list(page.events) == await stored(events)


async def test_a_mask_gives_the_fields_that_it_names(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    customer = customer_event(
        "a", balance="", role="buyer", last_payment_date=v1.Date(year=1, month=2, day=3)
    )
    customer.additional_attributes["path"] = "value"
    await ingest.RecordEvents(some(customer, personal_event("b", name="Ada", surname="Lovelace")))
    mask = (
        "event.customer_info.balance",
        "event.customer_info.imei",
        "event.customer_info.last_payment_date.month",
        "event.personal_info.name",
        "event.additional_attributes",
        "event.personal_info.name",
    )
    page = await events.ListEvents(listing(mask=mask))
    expected = [
        v1.Event(
            customer_info=v1.CustomerInfo(balance="", last_payment_date=v1.Date(month=2)),
            additional_attributes={"path": "value"},
        ),
        v1.Event(personal_info=v1.PersonalInfo(name="Ada")),
    ]
    assert list(page.events) == [v1.StoredEvent(event=event) for event in expected]
    request = v1.GetEventRequest(account_id="acme", event_id="a", read_mask={"paths": ["event.consumer_id"]})
    assert (await events.GetEvent(request)).event == v1.StoredEvent(event=v1.Event(consumer_id="ada"))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "customer_info",
        "event.nothing",
        "event.additional_attributes.path",
        "event..cursor",
        "event.personal_info.other_contacts.email",
        "event.customerInfo",
        "cursor.text",
    ],
)
async def test_a_mask_of_no_field_is_refused(events: EventServiceAsyncStub, path: str) -> None:
    mask = {"paths": ["cursor", path]}
    request = v1.GetEventRequest(account_id="acme", event_id="a", read_mask=mask)
    for call in (events.ListEvents(listing(mask=("cursor", path))), events.GetEvent(request)):
        refused = await expect_refused(call)
        assert (refused.reason, refused.fields) == ("FIELD_INVALID", ["read_mask"])
        assert repr(path) in refused.message


# Single events.


async def test_an_event_is_found_by_its_id_and_by_its_cursor(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    await ingest.RecordEvents(some(*customer_events(3)))
    for each in await stored(events):
        by_id = v1.GetEventRequest(account_id="acme", event_id=each.event.event_id)
        by_cursor = v1.GetEventRequest(account_id="acme", cursor=each.cursor)
        assert (await events.GetEvent(by_id)).event == each
        assert (await events.GetEvent(by_cursor)).event == each


@pytest.mark.parametrize("account_id", ["acme", "other"])
async def test_an_event_that_is_not_there_is_not_found(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub, account_id: str
) -> None:
    await ingest.RecordEvent(one(customer_event("there")))
    event_id = "there" if account_id == "other" else "not there"
    refused = await expect_refused(
        events.GetEvent(v1.GetEventRequest(account_id=account_id, event_id=event_id))
    )
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "EVENT_NOT_FOUND")
    assert refused.metadata == {"eventId": event_id}


async def test_a_cursor_of_another_account_is_refused(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    mine = (await ingest.RecordEvent(one(customer_event()))).result.cursor
    await ingest.RecordEvent(one(customer_event(), account_id="other"))
    for account_id in ("other", "nobody"):
        refused = await expect_refused(
            events.GetEvent(v1.GetEventRequest(account_id=account_id, cursor=mine))
        )
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CURSOR_MISMATCH")


@pytest.mark.parametrize("cursor", ["x", "€", "A" * 26, "A" * 128])
async def test_a_made_up_cursor_is_refused(events: EventServiceAsyncStub, cursor: str) -> None:
    refused = await expect_refused(events.GetEvent(v1.GetEventRequest(account_id="acme", cursor=cursor)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CURSOR_MALFORMED")


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (v1.GetEventRequest(account_id="acme"), "key"),
        (v1.GetEventRequest(account_id="acme", event_id=""), "event_id"),
        (v1.GetEventRequest(account_id="acme", event_id="x" * 129), "event_id"),
        (v1.GetEventRequest(account_id="acme", cursor="x" * 129), "cursor"),
        (v1.GetEventRequest(account_id="a/b", event_id="a"), "account_id"),
    ],
)
async def test_a_bad_request_for_an_event_names_the_field(
    events: EventServiceAsyncStub, request_: v1.GetEventRequest, field: str
) -> None:
    refused = await expect_refused(events.GetEvent(request_))
    assert (refused.reason, refused.fields) == ("FIELD_INVALID", [field])
