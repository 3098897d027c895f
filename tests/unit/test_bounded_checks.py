"""A check of a message looks at a bounded number of broken rules, however many there are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import protovalidate
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import given
from hypothesis import strategies as st

from buf.validate import validate_pb2
from engagement import limits, rules, v1
from engagement_server.errors import FieldInvalidError
from engagement_server.validation import admit, admit_partly, examine
from tests.support.contract import methods, reachable
from tests.support.events import bad_event, customer_event, customer_events, very_bad_event

if TYPE_CHECKING:
    from google.protobuf.message import Message

# Of a piece of a message: a few rules for each of 32 items of each list, and for each other field.
_MAX_BUILT = 512
_CHUNK = v1.UploadEventsRequest(chunk=v1.UploadEventsRequest.Chunk(sequence=1))


class Built:
    """How many violations protovalidate has built, and how often it was asked."""

    violations = 0
    checks = 0


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Built:
    return count_built(monkeypatch)


def count_built(monkeypatch: pytest.MonkeyPatch) -> Built:
    counted = Built()
    collect = protovalidate.collect_violations

    def counting(message: Message, *, fail_fast: bool = False) -> list[protovalidate.Violation]:
        found = collect(message, fail_fast=fail_fast)
        counted.violations += len(found)
        counted.checks += 1
        return found

    monkeypatch.setattr(protovalidate, "collect_violations", counting)
    return counted


def contacts(count: int) -> v1.Event:
    return v1.Event(personal_info=v1.PersonalInfo(other_contacts=[v1.PersonalContact(email="\0")] * count))


def attributes(count: int) -> v1.Event:
    return v1.Event(
        customer_info=v1.CustomerInfo(), additional_attributes={f"\0{n}": "\0" for n in range(count)}
    )


def filters(count: int) -> v1.EventFilter:
    return v1.EventFilter(attribute_sets=[9] * count)  # type: ignore[list-item]  # no member of the enum


RUDE: dict[str, Message] = {
    "filter.attribute_sets": v1.ListEventsRequest(account_id="a", filter=filters(100_000)),
    "filter.consumer_ids": v1.SubscribeEventsRequest(
        account_id="a", earliest=True, filter=v1.EventFilter(consumer_ids=[""] * 100_000)
    ),
    "read_mask": v1.GetEventRequest(account_id="a", event_id="b", read_mask=FieldMask(paths=[""] * 100_000)),
    "names": v1.PutEntitiesRequest(account_id="a", kind="ENTITY_KIND_CUSTOMER_TYPE", names=[""] * 100_000),
    "event.personal_info.other_contacts": v1.RecordEventRequest(account_id="a", event=contacts(100_000)),
    "event.additional_attributes": v1.RecordEventRequest(account_id="a", event=attributes(20_000)),
    "events": v1.RecordEventsRequest(account_id="a", events=[v1.Event()] * 100_000),
    "chunk.events": v1.UploadEventsRequest(chunk={"sequence": 1, "events": [v1.Event()] * 100_000}),
}


@pytest.mark.parametrize("field", RUDE)
def test_too_many_items_are_one_violation_and_no_item_is_looked_at(field: str, built: Built) -> None:
    (violation,) = rules.check_message(RUDE[field])
    assert violation.field == field
    assert violation.rule in {"repeated.max_items", "map.max_pairs", "read_mask.max_paths"}
    assert built.checks == 0


def test_every_list_of_a_request_has_a_limit() -> None:
    """Those who add a list to a request give it a limit: then it is counted before anything else."""
    for method in methods():
        for message in reachable(method.input_type):
            for field in message.fields:
                if field.is_repeated and message.full_name != FieldMask.DESCRIPTOR.full_name:
                    rules_of_field = field.GetOptions().Extensions[validate_pb2.field]
                    bounds = rules_of_field.repeated.max_items, rules_of_field.map.max_pairs
                    assert any(bounds), field.full_name


@given(st.integers(1, 1000), st.integers(0, 100), st.integers(0, 40))
def test_however_many_rules_are_broken_few_violations_are_built(
    attribute_count: int, contact_count: int, text_count: int
) -> None:
    event = attributes(attribute_count)
    event.personal_info.CopyFrom(contacts(contact_count).personal_info)
    for number, name in enumerate(("name", "surname", "gender", "company", "email", "phone")):
        if number < text_count:
            setattr(event.personal_info, name, "\0")
    with pytest.MonkeyPatch.context() as monkeypatch:
        counted = count_built(monkeypatch)
        found = rules.check_message(event)
        assert len(found) <= limits.MAX_VIOLATIONS + 1
        assert counted.violations <= _MAX_BUILT
        assert len(rules.check_message(event, is_first_enough=True)) == 1


@given(st.lists(st.booleans(), min_size=1, max_size=1000))
def test_violations_of_long_lists_have_the_places_that_they_have_in_the_whole(are_bad: list[bool]) -> None:
    message = v1.ListEventsRequest(account_id="a", page_size=-1)
    bad, good = v1.AttributeSet.ATTRIBUTE_SET_UNSPECIFIED, v1.AttributeSet.ATTRIBUTE_SET_CUSTOMER_INFO
    message.filter.attribute_sets.extend([bad if is_bad else good for is_bad in are_bad])
    message.filter.consumer_ids.extend(["x" * 50_001] * (len(are_bad) == 1))
    expected = [f"filter.attribute_sets[{index}]" for index, is_bad in enumerate(are_bad) if is_bad] + [
        "filter.consumer_ids[0]"
    ] * (len(are_bad) == 1)
    found = [each.field for each in rules.check_message(message) if each.field != "page_size"]
    assert found == expected[: len(found)]
    assert len(found) >= min(len(expected), limits.MAX_VIOLATIONS)


async def test_500_wrong_events_list_a_few_of_their_violations_in_detail_and_one_each_of_the_others(
    built: Built,
) -> None:
    events = [very_bad_event(str(number)) for number in range(500)]
    batch = admit_partly(_CHUNK, events, await examine(events))
    errors = [v1.EventError.FromString(rejection.error) for rejection in batch.rejections]
    assert [error.violations_total for error in errors] == [33] * 4 + [1] * 496
    assert built.violations < 2 * 500


async def test_a_batch_that_is_all_or_nothing_is_not_checked_to_its_end(built: Built) -> None:
    events = [bad_event(str(number)) for number in range(500)]
    examined = await examine(events, max_violations=limits.MAX_VIOLATIONS)
    with pytest.raises(FieldInvalidError) as refused:
        admit(v1.RecordEventsRequest(account_id="a", events=[customer_event()]), examined, path="events")
    assert len(refused.value.violations) == limits.MAX_VIOLATIONS + 1
    assert built.violations < 100


@pytest.mark.parametrize("make", [bad_event, customer_event])
async def test_others_get_their_turns_while_500_events_are_admitted(make: type[v1.Event]) -> None:
    events = [make(str(number)) for number in range(500)]
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    admit_partly(_CHUNK, events, await examine(events))
    task.cancel()
    assert turns >= 9


async def test_rejected_events_weigh_what_their_errors_and_results_take() -> None:
    events = [very_bad_event(str(number)) for number in range(100)]
    batch = admit_partly(_CHUNK, events, await examine(events))
    assert batch.records == []
    assert batch.size_bytes > sum(len(rejection.error) for rejection in batch.rejections)
    assert batch.size_bytes > 100 * 256
    accepted = customer_events(100)
    assert admit_partly(_CHUNK, accepted, await examine(accepted)).size_bytes > 100 * 256
