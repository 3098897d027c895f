"""The rules for events, over the wire: each limit, and the field that an error names."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import grpc
import pytest

from engagement import v1
from tests.support.calls import ACCEPTED, one, some, stored
from tests.support.events import customer_event, personal_event, text_fields, with_texts
from tests.support.refused_call import expect_refused

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

HOUR_MS = 3_600_000
SETS = ["customer_info", "personal_info"]


@pytest.mark.parametrize("set_name", SETS)
async def test_a_text_may_have_50000_characters_of_any_size_in_every_field(
    ingest: IngestServiceAsyncStub, set_name: str
) -> None:
    result = (await ingest.RecordEvent(one(with_texts(set_name, "\U0001f600" * 50_000)))).result
    assert result.outcome == ACCEPTED
    too_long = with_texts(set_name, "\U0001f600" * 50_001)
    refused = await expect_refused(ingest.RecordEvent(one(too_long)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    names = text_fields(getattr(too_long, set_name))
    assert refused.fields == [f"event.{set_name}.{name}" for name in names]
    assert {rule for _, rule, _ in refused.violations} == {"string.max_len"}
    assert all("50000" in description for _, _, description in refused.violations)
    assert refused.metadata["violationsTotal"] == str(len(names))


@pytest.mark.parametrize(
    ("field", "limit", "make"),
    [
        ("event.event_id", 128, lambda text: v1.Event(event_id=text)),
        ("event.source", 64, lambda text: v1.Event(source=text)),
        ("event.consumer_id", 50_000, lambda text: v1.Event(consumer_id=text)),
        ("event.conversation_id", 50_000, lambda text: v1.Event(conversation_id=text)),
        (
            'event.additional_attributes["k"]',
            50_000,
            lambda text: v1.Event(additional_attributes={"k": text}),
        ),
        ("event.additional_attributes[", 50_000, lambda text: v1.Event(additional_attributes={text: "v"})),
        (
            "event.personal_info.other_contacts[1].email",
            50_000,
            lambda text: v1.Event(personal_info=v1.PersonalInfo(other_contacts=[{}, {"email": text}])),
        ),
        (
            "event.personal_info.other_contacts[0].phone",
            50_000,
            lambda text: v1.Event(personal_info=v1.PersonalInfo(other_contacts=[{"phone": text}])),
        ),
    ],
)
async def test_every_other_text_has_its_limit_too(
    ingest: IngestServiceAsyncStub, field: str, limit: int, make: type[v1.Event]
) -> None:
    for length in (limit, limit + 1):
        event = make("\U0001f600" * length)
        event.personal_info.SetInParent()
        if length == limit:
            assert (await ingest.RecordEvent(one(event))).result.outcome == ACCEPTED
        else:
            refused = await expect_refused(ingest.RecordEvent(one(event)))
            assert refused.fields[0].startswith(field)
            assert str(limit) in refused.violations[0][2]


@pytest.mark.parametrize(
    ("event", "field", "rule"),
    [
        (v1.Event(event_id="a"), "event.attributes", "required"),
        (customer_event("\0"), "event.event_id", "string.not_contains"),
        (customer_event(balance="1\0"), "event.customer_info.balance", "string.not_contains"),
        (
            v1.Event(customer_info=v1.CustomerInfo(), additional_attributes={"a\0b": ""}),
            'event.additional_attributes["a\\0b"]',
            "string.not_contains",
        ),
        (
            v1.Event(customer_info=v1.CustomerInfo(), additional_attributes={"": "value"}),
            'event.additional_attributes[""]',
            "string.min_len",
        ),
        (customer_event(server_time_stamp=0), "event.customer_info.server_time_stamp", "int64.gt_lt"),
        (personal_event(server_time_stamp=-1), "event.personal_info.server_time_stamp", "int64.gt_lt"),
        (
            customer_event(server_time_stamp=1_700_000_000),
            "event.customer_info.server_time_stamp",
            "time.seconds",
        ),
        (
            v1.Event(personal_info=v1.PersonalInfo(), original_time_stamp=1_700_000_000),
            "event.original_time_stamp",
            "time.seconds",
        ),
        (
            personal_event(server_time_stamp=253_402_300_800_000),
            "event.personal_info.server_time_stamp",
            "int64.gt_lt",
        ),
        (
            v1.Event(customer_info=v1.CustomerInfo(), original_time_stamp=253_402_300_800_000),
            "event.original_time_stamp",
            "int64.gt_lt",
        ),
        (
            personal_event(server_time_stamp=int(time.time() * 1000) + 25 * HOUR_MS),
            "event.personal_info.server_time_stamp",
            "server.time.future",
        ),
    ],
)
async def test_a_refused_event_names_the_field_and_the_rule(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub, event: v1.Event, field: str, rule: str
) -> None:
    refused = await expect_refused(ingest.RecordEvent(one(event)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert [violation[:2] for violation in refused.violations] == [(field, rule)]
    assert refused.metadata["field"] == field
    assert refused.metadata["rule"] == rule
    assert refused.metadata["violationsTotal"] == "1"
    assert field in refused.message
    assert refused.violations[0][2] in refused.message
    assert await stored(events) == []


async def test_times_may_be_23_hours_ahead_and_the_sources_own_even_more(
    ingest: IngestServiceAsyncStub,
) -> None:
    event = customer_event(server_time_stamp=int(time.time() * 1000) + 23 * HOUR_MS)
    event.original_time_stamp = 253_402_300_799_999
    assert (await ingest.RecordEvent(one(event))).result.outcome == ACCEPTED


@pytest.mark.parametrize(
    ("day", "place"),
    [
        ((2014, 2, 30), ""),
        ((2013, 2, 29), ""),
        ((1900, 2, 29), ""),
        ((2014, 4, 31), ""),
        ((0, 1, 1), ".year"),
        ((10_000, 1, 1), ".year"),
        ((2014, 13, 1), ".month"),
        ((2014, 0, 1), ".month"),
        ((2014, 1, 32), ".day"),
        ((2014, 1, 0), ".day"),
    ],
)
async def test_a_day_that_is_in_no_calendar_is_refused(
    ingest: IngestServiceAsyncStub, day: tuple[int, int, int], place: str
) -> None:
    year, month, number = day
    event = customer_event(registration_date=v1.Date(year=year, month=month, day=number))
    refused = await expect_refused(ingest.RecordEvent(one(event)))
    assert refused.fields == [f"event.customer_info.registration_date{place}"]


@pytest.mark.parametrize("day", [(1, 1, 1), (2000, 2, 29), (2012, 2, 29), (2014, 4, 30), (9999, 12, 31)])
async def test_a_day_of_the_calendar_is_accepted(
    ingest: IngestServiceAsyncStub, day: tuple[int, int, int]
) -> None:
    year, month, number = day
    event = customer_event(last_payment_date=v1.Date(year=year, month=month, day=number))
    assert (await ingest.RecordEvent(one(event))).result.outcome == ACCEPTED


@pytest.mark.parametrize("account_id", ["", "a/b", "a" * 65, "acme\n", "é", "acme "])
async def test_an_account_has_1_to_64_plain_characters(
    ingest: IngestServiceAsyncStub, account_id: str
) -> None:
    refused = await expect_refused(ingest.RecordEvent(one(customer_event(), account_id=account_id)))
    assert (refused.reason, refused.fields) == ("FIELD_INVALID", ["account_id"])


async def test_a_call_without_an_event_is_refused(ingest: IngestServiceAsyncStub) -> None:
    refused = await expect_refused(ingest.RecordEvent(v1.RecordEventRequest(account_id="acme")))
    assert [violation[:2] for violation in refused.violations] == [("event", "required")]
    refused = await expect_refused(ingest.RecordEvents(some()))
    assert [violation[:2] for violation in refused.violations] == [("events", "repeated.min_items")]
