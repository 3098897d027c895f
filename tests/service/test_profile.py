"""Profiles: which value wins, where it comes from, and whose events count."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import grpc
import pytest

from engagement import EngagementClient, NotFoundError, v1
from engagement_server import profiles
from engagement_server.jobs.hot_consumers import MIN_KEPT_EVENTS
from engagement_server.node import Server
from tests.support.calls import some, stored
from tests.support.events import customer_event, customer_events, personal_event
from tests.support.plain_profile import plain_profile
from tests.support.refused_call import expect_refused

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

MERGE, REPLACE = v1.Folding.FOLDING_MERGE, v1.Folding.FOLDING_REPLACE
EARLIER_MS, LATER_MS = 1_600_000_000_000, 1_600_000_000_001


def of_consumer(
    consumer_id: str = "ada", *, folding: v1.Folding = MERGE, account_id: str = "acme"
) -> v1.GetProfileRequest:
    return v1.GetProfileRequest(account_id=account_id, consumer_id=consumer_id, folding=folding)


def of_customer(customer_id: str, *, folding: v1.Folding = MERGE) -> v1.GetProfileRequest:
    return v1.GetProfileRequest(account_id="acme", customer_id=customer_id, folding=folding)


async def read(events: EventServiceAsyncStub, request: v1.GetProfileRequest) -> v1.Profile:
    return (await events.GetProfile(request)).profile


async def balance_of(events: EventServiceAsyncStub) -> str:
    return (await read(events, of_consumer())).customer_info.balance


# Which value wins.


async def test_a_value_that_is_not_sent_again_stays(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    await ingest.RecordEvents(
        some(
            customer_event("a", balance="1", role="broker"),
            personal_event("b", name="Ada", email="ada@example.com"),
            customer_event("c", balance="2"),
            personal_event("d", name="Ada L."),
        )
    )
    merged = await read(events, of_consumer())
    assert (merged.customer_info.balance, merged.customer_info.role) == ("2", "broker")
    assert (merged.personal_info.name, merged.personal_info.email) == ("Ada L.", "ada@example.com")
    assert merged == await read(events, of_consumer(folding=v1.Folding.FOLDING_UNSPECIFIED))


async def test_replacing_keeps_only_the_latest_event_of_each_set(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    await ingest.RecordEvents(
        some(
            customer_event("a", balance="1", role="broker"),
            customer_event("b", balance="2"),
            personal_event("c", name="Ada"),
        )
    )
    replaced = await read(events, of_consumer(folding=REPLACE))
    assert (replaced.customer_info.balance, replaced.personal_info.name) == ("2", "Ada")
    assert not replaced.customer_info.HasField("role")
    assert {source.event_id for source in replaced.sources.values()} == {"b", "c"}


async def test_the_later_event_wins_whenever_it_was_accepted(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    await ingest.RecordEvents(
        some(
            customer_event("later", balance="later", server_time_stamp=LATER_MS),
            customer_event("earlier", balance="earlier", server_time_stamp=EARLIER_MS),
        )
    )
    assert await balance_of(events) == "later"


async def test_of_events_of_one_time_the_one_accepted_last_wins(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    await ingest.RecordEvents(
        some(
            customer_event("z", balance="first", server_time_stamp=LATER_MS),
            customer_event("a", balance="last", server_time_stamp=LATER_MS),
        )
    )
    assert await balance_of(events) == "last"


async def test_a_value_whose_source_vouched_for_the_customer_wins_over_a_later_one(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    vouched = customer_event("vouched", balance="1", server_time_stamp=EARLIER_MS)
    vouched.authenticated = True
    later = customer_event("later", balance="2", role="guest", server_time_stamp=LATER_MS)
    await ingest.RecordEvents(some(vouched, later))
    profile = await read(events, of_consumer())
    assert (profile.customer_info.balance, profile.customer_info.role) == ("1", "guest")
    assert profile.customer_info.server_time_stamp == EARLIER_MS
    replaced = await read(events, of_consumer(folding=REPLACE))
    assert (replaced.customer_info.balance, replaced.customer_info.HasField("role")) == ("1", False)


async def test_the_empty_text_is_a_value(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    await ingest.RecordEvents(some(customer_event("a", balance="1"), customer_event("b", balance="")))
    profile = await read(events, of_consumer())
    assert profile.customer_info.HasField("balance")
    assert profile.customer_info.balance == ""
    assert profile.sources["customer_info.balance"].event_id == "b"


# Where values come from.


async def test_every_value_has_the_event_that_it_comes_from(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    contacts = [v1.PersonalContact(email="b@example.com"), v1.PersonalContact(phone="2")]
    vouched = personal_event("c", other_contacts=contacts, server_time_stamp=EARLIER_MS)
    vouched.authenticated = True
    await ingest.RecordEvents(
        some(
            customer_event("a", last_payment_date=v1.Date(year=2024, month=5, day=31), role="broker"),
            customer_event("b", last_payment_date=v1.Date(year=2024, month=6, day=1)),
            vouched,
            personal_event("d", other_contacts=contacts[:1], name="Ada"),
        )
    )
    merged = await read(events, of_consumer())
    assert {path: source.event_id for path, source in merged.sources.items()} == {
        "customer_info.server_time_stamp": "b",
        "customer_info.role": "a",
        "customer_info.last_payment_date": "b",
        "personal_info.server_time_stamp": "c",
        "personal_info.other_contacts": "c",
        "personal_info.name": "d",
    }
    everything = await stored(events)
    for folding in (MERGE, REPLACE):
        assert await read(events, of_consumer(folding=folding)) == plain_profile(everything, "ada", folding)


# Whose events count.


async def test_events_of_other_consumers_and_of_none_are_not_part_of_a_profile(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    other, nobody = customer_event("b", role="other"), customer_event("c", role="nobody", customer_id="k-1")
    other.consumer_id, nobody.consumer_id = "bob", ""
    await ingest.RecordEvents(some(customer_event("a", balance="1", customer_id="k-1"), other, nobody))
    await ingest.RecordEvents(some(customer_event("d", role="elsewhere"), account_id="other"))
    profile = await read(events, of_consumer())
    assert profile.consumer_id == "ada"
    assert not profile.customer_info.HasField("role")


async def test_a_customer_is_the_consumer_last_named_with_the_customer_id(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    bob = customer_event("b", customer_id="k-1", server_time_stamp=EARLIER_MS)
    bob.consumer_id = "bob"
    name = personal_event("c", name="Bob")
    name.consumer_id = "bob"
    await ingest.RecordEvents(
        some(customer_event("a", customer_id="k-1", role="broker"), name, bob, personal_event("d"))
    )
    profile = await read(events, of_customer("k-1"))
    assert (profile.consumer_id, profile.personal_info.name) == ("bob", "Bob")
    assert profile == await read(events, of_consumer("bob"))


async def test_a_customer_without_a_consumer_is_made_of_the_events_with_the_customer_id(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    first, last = (
        customer_event("a", customer_id="k-1", role="broker"),
        customer_event("b", customer_id="k-1", balance="1"),
    )
    other = customer_event("c", customer_id="k-2", company_size="9")
    first.consumer_id = last.consumer_id = other.consumer_id = ""
    await ingest.RecordEvents(some(first, last, other))
    profile = await read(events, of_customer("k-1"))
    assert profile.consumer_id == ""
    assert (profile.customer_info.role, profile.customer_info.balance) == ("broker", "1")
    assert not profile.customer_info.HasField("company_size")
    assert not profile.HasField("personal_info")


@pytest.mark.parametrize(
    ("request_", "key"),
    [
        (of_consumer("nobody"), {"consumerId": "nobody"}),
        (of_customer("nobody"), {"customerId": "nobody"}),
        (of_consumer(account_id="nowhere"), {"consumerId": "ada"}),
    ],
)
async def test_who_is_unknown_has_no_profile(
    ingest: IngestServiceAsyncStub,
    events: EventServiceAsyncStub,
    request_: v1.GetProfileRequest,
    key: dict[str, str],
) -> None:
    await ingest.RecordEvents(some(customer_event("a")))
    refused = await expect_refused(events.GetProfile(request_))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "PROFILE_NOT_FOUND")
    assert refused.metadata == key


async def test_a_profile_of_no_consumer_is_refused(events: EventServiceAsyncStub) -> None:
    refused = await expect_refused(events.GetProfile(v1.GetProfileRequest(account_id="acme")))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["subject"])


async def test_ids_that_look_alike_to_the_index_are_told_apart(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    # Their CRC-32 is the same.
    first, second = (
        customer_event("a", role="first", customer_id="plumless"),
        customer_event("b", role="second"),
    )
    first.consumer_id, second.consumer_id = "plumless", "buckeroo"
    second.customer_info.customer_id = "buckeroo"
    await ingest.RecordEvents(some(first, second))
    for request in (of_consumer("plumless"), of_customer("plumless")):
        profile = await read(events, request)
        assert (profile.consumer_id, profile.customer_info.role) == ("plumless", "first")


async def test_nothing_erased_comes_back_in_a_profile(
    server: Server, ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    await ingest.RecordEvents(some(*customer_events(MIN_KEPT_EVENTS + 10)))
    await read(events, of_consumer())
    async with EngagementClient(server.address, account_id="acme") as client:
        await client.erase_consumer(consumer_id="ada")
    refused = await expect_refused(events.GetProfile(of_consumer()))
    assert refused.reason == "PROFILE_NOT_FOUND"
    await ingest.RecordEvents(some(customer_event("new", role="broker")))
    profile = await read(events, of_consumer())
    assert profile.customer_info.role == "broker"
    assert not profile.customer_info.HasField("balance")


# The Python client.


async def test_the_client_waits_for_a_profile_that_is_being_prepared(
    client: EngagementClient, ingest: IngestServiceAsyncStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiles, "MAX_READ_EVENTS", 100)
    monkeypatch.setattr(profiles, "STEP_SECONDS", 0.0)  # one event a step
    await ingest.RecordEvents(some(*customer_events(MIN_KEPT_EVENTS)))
    began = time.monotonic()
    profile = await client.get_profile(consumer_id="ada")
    assert profile.customer_info.balance == str(MIN_KEPT_EVENTS - 1)
    # The first answer is PROFILE_PENDING with a delay of a second; by itself the client would wait a tenth.
    assert time.monotonic() - began > 0.9


async def test_the_client_reads_a_profile_by_either_id(
    server: Server, ingest: IngestServiceAsyncStub
) -> None:
    await ingest.RecordEvents(
        some(customer_event("a", customer_id="k-1", role="broker"), customer_event("b", customer_id="k-1"))
    )
    async with EngagementClient(server.address, account_id="acme") as client:
        merged = await client.get_profile(consumer_id="ada")
        assert merged == await client.get_profile(customer_id="k-1")
        assert merged.customer_info.role == "broker"
        replaced = await client.get_profile(consumer_id="ada", folding=REPLACE)
        assert not replaced.customer_info.HasField("role")
        with pytest.raises(NotFoundError, match="nobody"):
            await client.get_profile(consumer_id="nobody")
        with pytest.raises(TypeError):
            await client.get_profile(consumer_id="ada", customer_id="k-1")
