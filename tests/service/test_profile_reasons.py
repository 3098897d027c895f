"""Profiles answer why: matched names, sources, values that lost, and profiles of the past."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from engagement import EngagementClient, NotFoundError, v1
from engagement_server.clock import now_ms
from engagement_server.jobs.hot_consumers import MIN_KEPT_EVENTS
from tests.support.calls import some, stored
from tests.support.events import customer_event, customer_events, personal_event
from tests.support.plain_profile import plain_profile
from tests.support.refused_call import expect_refused
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

MERGE, REPLACE = v1.Folding.FOLDING_MERGE, v1.Folding.FOLDING_REPLACE
Rule = v1.BeatenValue.Rule
EARLIER_MS, LATER_MS = 1_600_000_000_000, 1_600_000_000_001
HOUR_MS = 60 * 60 * 1000


def vouched(event: v1.Event) -> v1.Event:
    event.authenticated = True
    return event


def beaten(profile: v1.Profile) -> dict[str, tuple[str, int]]:
    """The ids of the events that lost and why, by attribute, without the time stamps."""
    return {
        path.partition(".")[2]: (lost.source.event_id, lost.rule)
        for path, lost in profile.beaten.items()
        if not path.endswith(".server_time_stamp")
    }


async def read(client: EngagementClient, *, folding: v1.Folding = MERGE) -> v1.Profile:
    return await client.get_profile(consumer_id="ada", folding=folding)


# Matched names and sources.


async def test_names_are_those_that_the_winning_event_matched_when_it_was_accepted(
    client: EngagementClient, ingest: IngestServiceAsyncStub
) -> None:
    status, type_ = v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS, v1.EntityKind.ENTITY_KIND_CUSTOMER_TYPE
    await client.put_entities(status, ["Gold"])
    await client.put_entities(type_, ["VIP"])
    await ingest.RecordEvents(some(customer_event("a", customer_status="GOLD", customer_type="vip")))
    await client.delete_entity(status, "gold")
    await ingest.RecordEvents(some(customer_event("b", customer_status="gold", server_time_stamp=EARLIER_MS)))
    profile = await read(client)
    assert (profile.customer_info.customer_status, profile.matched_customer_status) == ("GOLD", "Gold")
    assert (profile.customer_info.customer_type, profile.matched_customer_type) == ("vip", "VIP")
    await ingest.RecordEvents(some(customer_event("c", customer_status="gold")))
    profile = await read(client)
    assert (profile.customer_info.customer_status, profile.matched_customer_status) == ("gold", "")
    assert profile.matched_customer_type == "VIP"
    assert (await read(client, folding=REPLACE)).matched_customer_type == ""


async def test_every_value_names_the_system_that_produced_it(
    client: EngagementClient, ingest: IngestServiceAsyncStub
) -> None:
    crm, web = customer_event("a", balance="1"), personal_event("b", name="Ada")
    crm.source, web.source = "crm", "web"
    await ingest.RecordEvents(some(crm, web))
    profile = await read(client)
    assert profile.sources["customer_info.balance"].source == "crm"
    assert profile.sources["personal_info.name"].source == "web"


# Values that lost.


async def test_a_value_that_lost_names_its_event_and_the_rule(
    client: EngagementClient, ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    await ingest.RecordEvents(
        some(
            vouched(customer_event("sure", role="a", server_time_stamp=EARLIER_MS)),
            customer_event("late", balance="1", server_time_stamp=LATER_MS),
            customer_event("unsure", role="b", server_time_stamp=LATER_MS),
            customer_event("old", balance="2", server_time_stamp=EARLIER_MS),
            customer_event("ahead", user_name="c", server_time_stamp=now_ms() + HOUR_MS),
        )
    )
    profile = await read(client)
    assert beaten(profile) == {
        "role": ("unsure", Rule.RULE_AUTHENTICATED),
        "balance": ("old", Rule.RULE_LATER),
        "user_name": ("ahead", Rule.RULE_FUTURE),
    }
    assert not profile.customer_info.HasField("user_name")
    assert profile == plain_profile(await stored(events), "ada", MERGE, due_ms=now_ms())


async def test_of_each_attribute_only_the_value_accepted_last_is_told_until_one_wins(
    client: EngagementClient, ingest: IngestServiceAsyncStub
) -> None:
    await ingest.RecordEvents(
        some(
            customer_event("late", balance="1", server_time_stamp=LATER_MS),
            customer_event("old", balance="2", server_time_stamp=EARLIER_MS),
            customer_event("older", balance="3", server_time_stamp=EARLIER_MS - 1),
        )
    )
    assert beaten(await read(client)) == {"balance": ("older", Rule.RULE_LATER)}
    await ingest.RecordEvents(some(customer_event("new", balance="4")))
    assert beaten(await read(client)) == {}


async def test_when_replacing_the_winning_event_beats_what_later_events_say_of_its_set(
    client: EngagementClient, ingest: IngestServiceAsyncStub
) -> None:
    await ingest.RecordEvents(
        some(
            customer_event("late", balance="1", server_time_stamp=LATER_MS),
            customer_event("old", role="b", server_time_stamp=EARLIER_MS),
            personal_event("person", name="Ada"),
        )
    )
    assert beaten(await read(client)) == {}
    assert beaten(await read(client, folding=REPLACE)) == {"role": ("old", Rule.RULE_LATER)}


async def test_what_lost_is_kept_with_folds_and_goes_with_its_event(
    client: EngagementClient, ingest: IngestServiceAsyncStub
) -> None:
    lost = customer_event("old", balance="2", server_time_stamp=EARLIER_MS)
    await ingest.RecordEvents(some(*customer_events(MIN_KEPT_EVENTS + 10), lost))
    for _ in range(2):
        assert beaten(await read(client)) == {"balance": ("old", Rule.RULE_LATER)}
    await client.erase_consumer(event_id="old")
    assert beaten(await read(client)) == {}


# Events that are ahead of the clock.


async def test_an_event_wins_once_its_time_has_come(
    client: EngagementClient, ingest: IngestServiceAsyncStub
) -> None:
    due_ms = now_ms() + 1000
    await ingest.RecordEvents(
        some(customer_event("now", balance="1"), customer_event("due", balance="2", server_time_stamp=due_ms))
    )

    async def has_won() -> bool:
        profile = await read(client)
        if profile.customer_info.balance == "2":
            assert now_ms() >= due_ms
            assert not profile.beaten
            return True
        assert beaten(profile) == {"balance": ("due", Rule.RULE_FUTURE)}
        return False

    await eventually(has_won, "the event wins")


async def test_a_consumer_known_from_the_future_alone_has_a_profile_without_values(
    client: EngagementClient, ingest: IngestServiceAsyncStub
) -> None:
    await ingest.RecordEvents(
        some(customer_event("ahead", balance="1", server_time_stamp=now_ms() + HOUR_MS))
    )
    profile = await read(client)
    assert (profile.consumer_id, profile.HasField("customer_info")) == ("ada", False)
    assert beaten(profile) == {"balance": ("ahead", Rule.RULE_FUTURE)}
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert (await client.get_profile(consumer_id="ada", before=tomorrow)).customer_info.balance == "1"


# Profiles of the past.


async def test_a_profile_of_the_past_is_folded_from_events_of_earlier_times(
    client: EngagementClient, ingest: IngestServiceAsyncStub
) -> None:
    await ingest.RecordEvents(
        some(
            customer_event("late", balance="late", customer_id="k-1", server_time_stamp=LATER_MS),
            customer_event("early", balance="early", customer_id="k-1", server_time_stamp=EARLIER_MS),
        )
    )
    later, earlier = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (LATER_MS, EARLIER_MS))
    for consumer_id, customer_id in (("ada", None), (None, "k-1")):
        profile = await client.get_profile(consumer_id=consumer_id, customer_id=customer_id, before=later)
        assert (profile.customer_info.balance, len(profile.beaten)) == ("early", 0)
        with pytest.raises(NotFoundError):
            await client.get_profile(consumer_id=consumer_id, customer_id=customer_id, before=earlier)


async def test_a_profile_of_the_past_is_what_the_server_would_have_answered(
    client: EngagementClient, ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    bob = customer_event("second", balance="2", customer_id="k-1", server_time_stamp=LATER_MS)
    bob.consumer_id = "bob"
    await ingest.RecordEvents(
        some(customer_event("first", balance="1", customer_id="k-1", server_time_stamp=LATER_MS))
    )
    accepted_ms = (await stored(events))[0].receive_time.ToMilliseconds()
    await eventually(lambda: now_ms() > accepted_ms, "the clock goes on")
    await ingest.RecordEvents(some(bob))
    before = (await stored(events))[1].receive_time
    assert (await client.get_profile(customer_id="k-1")).consumer_id == "bob"
    profile = await client.get_profile(customer_id="k-1", accepted_before=before)
    assert (profile.consumer_id, profile.customer_info.balance) == ("ada", "1")
    with pytest.raises(NotFoundError):
        await client.get_profile(consumer_id="bob", accepted_before=before)


@pytest.mark.parametrize("field", ["before_time", "before_receive_time"])
async def test_a_time_that_is_none_is_refused(events: EventServiceAsyncStub, field: str) -> None:
    for timestamp in (Timestamp(seconds=-1), Timestamp(seconds=1, nanos=1_000_000_000)):
        request = v1.GetProfileRequest(account_id="acme", consumer_id="ada")
        getattr(request, field).CopyFrom(timestamp)
        refused = await expect_refused(events.GetProfile(request))
        assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])
