"""Values that match the names of a list, and values that a closed list refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc
import pytest

from engagement import EngagementClient, InvalidArgumentError, v1
from engagement.limits import MAX_ENTITY_NAME_CHARACTERS, MAX_ENTITY_NAMES
from tests.support.calls import ACCEPTED, DUPLICATE, REJECTED, one, some, stored_ids
from tests.support.events import customer_event, personal_event
from tests.support.raw_upload import RawUpload, chunk
from tests.support.refused_call import assert_receivable, expect_refused

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

STATUS = v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS
TYPE = v1.EntityKind.ENTITY_KIND_CUSTOMER_TYPE
FIELDS = {STATUS: "customer_status", TYPE: "customer_type"}
UNKNOWN = v1.ErrorReason.ERROR_REASON_ENTITY_UNKNOWN
WIDE = "\U0001f600"


async def matches(client: EngagementClient) -> list[tuple[str, str, str]]:
    """Id, matched status and matched type of all events."""
    return [
        (found.event.event_id, found.matched_customer_status, found.matched_customer_type)
        async for found in client.list_events()
    ]


# Matching.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Gold", "gOLD"),
        ("Straße", "STRASSE"),
        ("STRASSE", "straße"),
        ("ǅungla", "ǆUNGLA"),
        ("ὈΔΥΣΣΕΎΣ", "ὀδυσσεύς"),
        ("\u0149", "\u02bcn"),
        (" gold ", " GOLD "),
        ("a\tb\n", "A\tB\n"),
        ("Zu\u0308rich", "ZÜRICH"),
        ("Zürich", "zu\u0308rich"),
        ("\u1112\u1161\u11ab국", "한국"),
        ("Vie\u0323\u0302t", "việt"),
        ("\u212bngstrom", "a\u030aNGSTROM"),
        ("\u1fb3", "\u0391\u0399"),
        ("ΟΔΟΣ", "οδος"),
        ("დოლარი", "ᲓᲝᲚᲐᲠᲘ"),
    ],
)
@pytest.mark.parametrize("kind", [STATUS, TYPE])
async def test_a_value_matches_in_any_spelling_and_stays_as_it_was_sent(
    client: EngagementClient, kind: v1.EntityKind, name: str, value: str
) -> None:
    await client.put_entities(kind, [name], closed=True)
    await client.record_event(customer_event(**{FIELDS[kind]: value}))
    found = await client.get_event(event_id="event")
    assert getattr(found, f"matched_{FIELDS[kind]}") == name
    assert getattr(found.event.customer_info, FIELDS[kind]) == value


@pytest.mark.parametrize("value", ["gold ", " gold", "gol", "golden", "", "go\u0301ld", "g\u200bold"])
async def test_only_the_whole_value_matches(client: EngagementClient, value: str) -> None:
    await client.put_entities(STATUS, ["gold"])
    await client.record_event(customer_event(customer_status=value))
    assert await matches(client) == [("event", "", "")]
    await client.put_entities(STATUS, closed=True)
    with pytest.raises(InvalidArgumentError, match="ENTITY_UNKNOWN"):
        await client.record_event(customer_event("other", customer_status=value))


async def test_a_match_is_decided_at_acceptance(client: EngagementClient) -> None:
    await client.record_event(customer_event("before", customer_status="gold"))
    await client.put_entities(STATUS, ["Gold"])
    await client.record_event(customer_event("after", customer_status="gold"))
    await client.put_entities(STATUS, ["GOLD"])
    await client.record_event(customer_event("respelled", customer_status="gold"))
    await client.delete_entity(STATUS, "gold")
    await client.record_event(customer_event("gone", customer_status="gold"))
    assert await matches(client) == [
        ("before", "", ""),
        ("after", "Gold", ""),
        ("respelled", "GOLD", ""),
        ("gone", "", ""),
    ]


# Closed lists.


async def test_an_unknown_value_refuses_the_call_with_the_path_and_the_allowed_names(
    client: EngagementClient, ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    await client.put_entities(STATUS, ["gold", 'the "best"'], closed=True)
    refused = await expect_refused(ingest.RecordEvent(one(customer_event(customer_status="tin"))))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "ENTITY_UNKNOWN")
    (violation,) = refused.violations
    assert violation[:2] == ("event.customer_info.customer_status", "server.entity.unknown")
    assert '"gold", "the \\"best\\""' in violation[2]
    assert refused.metadata["field"] == "event.customer_info.customer_status"
    assert refused.metadata["allowed"] == '"gold", "the \\"best\\""'
    assert "tin" not in refused.message
    assert await stored_ids(events) == []


@pytest.mark.parametrize("validate_only", [False, True])
async def test_an_atomic_batch_names_the_event_and_stores_nothing(
    client: EngagementClient,
    ingest: IngestServiceAsyncStub,
    events: EventServiceAsyncStub,
    *,
    validate_only: bool,
) -> None:
    await client.put_entities(TYPE, ["vip"], closed=True)
    batch = [
        customer_event("a", customer_type="VIP"),
        personal_event("b"),
        customer_event("c"),
        customer_event("d", customer_type="new"),
    ]
    refused = await expect_refused(ingest.RecordEvents(some(*batch, validate_only=validate_only)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "ENTITY_UNKNOWN")
    assert refused.fields == ["events[3].customer_info.customer_type"]
    assert await stored_ids(events) == []


@pytest.mark.parametrize("validate_only", [False, True])
async def test_a_partial_batch_takes_the_others(
    client: EngagementClient,
    ingest: IngestServiceAsyncStub,
    events: EventServiceAsyncStub,
    *,
    validate_only: bool,
) -> None:
    await client.put_entities(STATUS, ["gold"], closed=True)
    batch = [customer_event("a", customer_status="tin"), customer_event("b", customer_status="GOLD")]
    request = some(*batch, allow_partial=True, validate_only=validate_only)
    response = await ingest.RecordEvents(request)
    assert [result.outcome for result in response.results] == [REJECTED, ACCEPTED]
    error = response.results[0].error
    assert error.reason == UNKNOWN
    assert [(each.field, each.rule) for each in error.violations] == [
        ("customer_info.customer_status", "server.entity.unknown")
    ]
    assert '"gold"' in error.message
    assert error.violations_total == 1
    assert (response.tally.accepted, response.tally.rejected) == (1, 1)
    assert await stored_ids(events) == ([] if validate_only else ["b"])


async def test_an_upload_goes_on_after_an_unknown_value(
    client: EngagementClient, ingest: IngestServiceAsyncStub
) -> None:
    await client.put_entities(STATUS, ["gold"], closed=True)
    upload = RawUpload(ingest)
    await upload.open()
    await upload.send(
        chunk(1, customer_event("a", customer_status="tin"), customer_event("b", customer_status="gold"))
    )
    (ack,) = await upload.receive_acks(1)
    assert (ack.tally.accepted, ack.tally.rejected) == (1, 1)
    (rejected,) = ack.results
    assert (rejected.chunk_sequence, rejected.result.index) == (1, 0)
    assert (rejected.result.outcome, rejected.result.error.reason) == (REJECTED, UNKNOWN)
    upload.call.cancel()
    (kept,) = [each async for each in client.upload_rejections("upload")]
    assert (kept.chunk_sequence, kept.result, kept.event_number) == (1, rejected.result, 1)
    assert await matches(client) == [("b", "gold", "")]


async def test_a_repeat_is_a_duplicate_after_the_list_was_closed(
    client: EngagementClient, ingest: IngestServiceAsyncStub
) -> None:
    event = customer_event(customer_status="tin")
    first = await client.record_event(event)
    await client.put_entities(STATUS, ["gold"], closed=True)
    for repeat in (await client.record_event(event), await client.record_event(event, validate_only=True)):
        assert (repeat.outcome, repeat.cursor) == (DUPLICATE, first.cursor)
    response = await ingest.RecordEvents(some(event, customer_event("new", customer_status="Gold")))
    assert [result.outcome for result in response.results] == [DUPLICATE, ACCEPTED]


async def test_a_closed_list_checks_only_values_that_are_there(client: EngagementClient) -> None:
    await client.put_entities(STATUS, closed=True)
    for event in (personal_event("a"), customer_event("b", customer_type="any")):
        assert (await client.record_event(event)).outcome == ACCEPTED
    with pytest.raises(InvalidArgumentError) as caught:
        await client.record_event(customer_event("c", customer_status=""))
    assert caught.value.metadata["allowed"] == "nothing"


async def test_a_refused_event_is_accepted_once_its_name_is_put(client: EngagementClient) -> None:
    await client.put_entities(STATUS, ["gold"], closed=True)
    event = customer_event(customer_status="Tin")
    with pytest.raises(InvalidArgumentError):
        await client.record_event(event)
    await client.put_entities(STATUS, ["tin"])
    assert (await client.record_event(event)).outcome == ACCEPTED
    assert await matches(client) == [("event", "tin", "")]


def wide_name(number: int) -> str:
    return f"{number:03}".ljust(MAX_ENTITY_NAME_CHARACTERS, WIDE)


@pytest.mark.parametrize(
    "name", [wide_name, "name number {}".format, "\\\x01\u2028{}".format], ids=["wide", "usual", "odd"]
)
async def test_the_allowed_names_are_shown_as_far_as_there_is_room(
    client: EngagementClient, ingest: IngestServiceAsyncStub, name: Callable[[int], str]
) -> None:
    await client.put_entities(STATUS, [name(number) for number in range(MAX_ENTITY_NAMES)], closed=True)
    bad = customer_event(customer_status="tin")
    refused = await expect_refused(ingest.RecordEvents(some(*[bad] * 500)))
    assert_receivable(refused)
    assert refused.violations[0][2].endswith("(ListEntities has them)")
    assert len(refused.metadata["allowed"]) > len(refused.violations[0][2]) or name is wide_name
    response = await ingest.RecordEvents(some(*[bad] * 500, allow_partial=True))
    assert response.tally.rejected == 500
    error = response.results[0].error
    assert error.metadata["allowed"] in error.metadata["description"]
    error.ClearField("metadata")  # is not stored
    # Even with the longest id, four stored results fit in a page.
    assert error.ByteSize() < 1000 - 128


async def test_a_full_list_of_usual_names_is_shown_as_a_whole(client: EngagementClient) -> None:
    names = [f"status {number}" for number in range(MAX_ENTITY_NAMES)]
    await client.put_entities(STATUS, names, closed=True)
    with pytest.raises(InvalidArgumentError) as caught:
        await client.record_event(customer_event())
    assert caught.value.metadata["allowed"] == ", ".join(f'"{name}"' for name in names)


async def test_an_error_without_room_for_names_says_where_to_find_them(
    client: EngagementClient,
) -> None:
    await client.put_entities(STATUS, [wide_name(1)], closed=True)
    with pytest.raises(InvalidArgumentError) as caught:
        await client.record_event(customer_event())
    assert caught.value.violations[0].description.endswith("too long to show (ListEntities has them)")
