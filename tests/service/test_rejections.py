"""ListRejections says which producer broke which rule, and nothing about the people in the events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import grpc
import pytest

from engagement import EngagementClient, Uploader, v1
from engagement.errors import EngagementError
from engagement_server.api import rejections
from engagement_server.node import Server
from tests.support.events import bad_event, customer_event, customer_events, personal_event, very_bad_event
from tests.support.raw_upload import RawUpload, chunk, finish
from tests.support.refused_call import expect_refused
from tests.support.waiting import deadline, eventually

if TYPE_CHECKING:
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

_MONTH = ("customer_info.last_payment_date.month", "int32.gte_lte")
_INVALID = v1.ErrorReason.ERROR_REASON_FIELD_INVALID
_CONFLICT = v1.ErrorReason.ERROR_REASON_EVENT_ID_CONFLICT
_UNKNOWN = v1.ErrorReason.ERROR_REASON_ENTITY_UNKNOWN
_STATUS = v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS


def of(source: str, event: v1.Event) -> v1.Event:
    """The event, as this source sends it."""
    event.source = source
    return event


async def refuse(client: EngagementClient, *events: v1.Event, validate_only: bool = False) -> None:
    """Records events, one by one if it is one, and otherwise all or nothing; the server refuses."""
    if len(events) == 1:
        call: Awaitable[object] = client.record_event(events[0], validate_only=validate_only)
    else:
        call = client.record_events(events, validate_only=validate_only)
    with pytest.raises(EngagementError):
        await call


async def counts(client: EngagementClient) -> dict[tuple[str, str, str], int]:
    """Number of events by source, field and rule, or reason if there is no rule."""
    found = await client.list_rejections()
    assert not found.incomplete
    return {
        (each.source, each.field, each.rule or v1.ErrorReason.Name(each.reason)): each.events
        for each in found.counts
    }


async def test_single_calls_are_counted_by_source_field_and_rule(client: EngagementClient) -> None:
    before = datetime.now(UTC)
    for number in range(3):
        await refuse(client, of("crm", bad_event(f"{number}")))
    await refuse(client, of("web", v1.Event(event_id="none")))
    await client.record_event(of("crm", customer_event("good")))
    found = await client.list_rejections()
    assert [(each.source, each.field, each.rule, each.events) for each in found.counts] == [
        ("crm", *_MONTH, 3),
        ("web", "attributes", "required", 1),
    ]
    assert {each.reason for each in found.counts} == {_INVALID}
    assert (found.rejected_events, found.incomplete) == (4, False)
    (hours,) = {tuple(hour.start_time.ToDatetime(UTC) for hour in each.hours) for each in found.counts}
    assert (
        hours[0].replace(minute=0, second=0, microsecond=0)
        == hours[0]
        <= before
        < hours[-1] + timedelta(hours=1)
    )
    last, *_, first = found.recent
    assert (last.method, last.source, last.field, last.rule) == (
        "RecordEvent",
        "web",
        "attributes",
        "required",
    )
    assert (first.source, first.field, first.rule, first.value_shape) == ("crm", *_MONTH, "99")
    assert (first.reason, first.violations_total) == (_INVALID, 1)
    assert first.description == "must be greater than or equal to 1 and less than or equal to 12"
    times = [each.reject_time.ToDatetime(UTC) for each in found.recent]
    assert times == sorted(times, reverse=True)
    assert found.record_start_time.ToDatetime(UTC) <= times[-1]


async def test_a_batch_that_is_all_or_nothing_counts_the_events_that_refuse_it(
    client: EngagementClient,
) -> None:
    await refuse(client, customer_event("a"), of("crm", bad_event("b")), of("web", bad_event("c")))
    assert await counts(client) == {("crm", *_MONTH): 1, ("web", *_MONTH): 1}
    assert {each.method for each in (await client.list_rejections()).recent} == {"RecordEvents"}


async def test_a_batch_with_partial_acceptance_counts_those_that_are_rejected(
    client: EngagementClient,
) -> None:
    await client.record_event(of("old", customer_event("taken")))
    batch = [
        customer_event("good"),
        of("crm", bad_event("b")),
        of("web", customer_event("taken", role="other")),
    ]
    await client.record_events(batch, allow_partial=True)
    assert await counts(client) == {
        ("crm", *_MONTH): 1,
        ("web", "", "ERROR_REASON_EVENT_ID_CONFLICT"): 1,
    }


async def test_conflicts_and_unknown_entities_are_counted_for_their_sources(client: EngagementClient) -> None:
    await client.put_entities(_STATUS, ["vip"], closed=True)
    await client.record_event(of("old", customer_event("taken", role="a")))
    for events in ([], [of("good", customer_event("good", role="b"))]):
        await refuse(client, *events, of("crm", customer_event("taken", role="b")))
        await refuse(client, *events, of("web", customer_event("new", customer_status="Vip-7")))
    found = await client.list_rejections()
    assert {(each.source, each.field, each.rule, each.reason, each.events) for each in found.counts} == {
        ("crm", "", "", _CONFLICT, 2),
        ("web", "customer_info.customer_status", "server.entity.unknown", _UNKNOWN, 2),
    }
    unknown = found.recent[0]
    assert (unknown.value_shape, unknown.method) == ("Aaa-9", "RecordEvents")
    assert unknown.description == 'is not on the account\'s closed list; allowed: "vip"'


async def test_a_conflict_within_a_batch_counts_for_the_event_that_came_second(
    client: EngagementClient,
) -> None:
    long_id = "é" * 128
    first, second = of("old", customer_event(long_id, role="a")), of("crm", customer_event(long_id, role="b"))
    await refuse(client, first, second)
    assert await counts(client) == {("crm", "", "ERROR_REASON_EVENT_ID_CONFLICT"): 1}


async def test_uploads_are_counted(client: EngagementClient) -> None:
    await client.record_event(of("old", customer_event("taken")))
    events = [
        of("crm", bad_event("a")),
        customer_event("good"),
        of("web", customer_event("taken", role="b")),
        of("crm", very_bad_event()),
    ]
    await Uploader(client, upload_id="u", chunk_events=2).upload(events)
    assert await counts(client) == {
        ("crm", *_MONTH): 1,
        ("crm", "additional_attributes", "string.not_contains"): 1,
        ("web", "", "ERROR_REASON_EVENT_ID_CONFLICT"): 1,
    }
    assert {each.method for each in (await client.list_rejections()).recent} == {"UploadEvents"}


async def test_an_upload_whose_client_goes_away_is_counted_and_once_when_it_resumes(
    client: EngagementClient, ingest: IngestServiceAsyncStub
) -> None:
    upload = RawUpload(ingest)
    await upload.open()
    await upload.send(chunk(1, of("crm", bad_event("a")), customer_event("b")))
    upload.call.cancel()

    async def is_committed() -> bool:
        return bool((await client.get_upload("upload")).committed_through)

    async def is_sent_again() -> bool:
        again = RawUpload(ingest)
        await again.open()
        await again.send(chunk(1, of("crm", bad_event("a")), customer_event("b")), finish(1))
        async with deadline("the upload is finished"):
            await again.receive_rest()
        return await is_committed()

    await eventually(is_sent_again, "the chunk is committed")
    assert await counts(client) == {("crm", *_MONTH): 1}
    assert await is_sent_again()
    assert await counts(client) == {("crm", *_MONTH): 1}


async def test_checks_are_not_counted(client: EngagementClient) -> None:
    await refuse(client, bad_event("a"), validate_only=True)
    await refuse(client, bad_event("a"), bad_event("b"), validate_only=True)
    await client.record_events([bad_event("a")], allow_partial=True, validate_only=True)
    await client.record_event(customer_event("taken"))
    await refuse(client, customer_event("taken", role="b"), validate_only=True)
    assert (await client.list_rejections()).rejected_events == 0


async def test_events_of_suppressed_people_are_not_counted(client: EngagementClient) -> None:
    await client.erase_consumer(consumer_id="ada", suppress=True)
    await client.record_events([bad_event("a")], allow_partial=True)
    await Uploader(client, upload_id="u").upload([bad_event("b")])
    assert (await client.list_rejections()).rejected_events == 0


async def test_accounts_are_kept_apart_and_none_is_made(client: EngagementClient, server: Server) -> None:
    await refuse(client, bad_event("a"))
    async with EngagementClient(server.address, account_id="other") as other:
        assert await counts(other) == {}
        assert not (await other.list_rejections()).recent
        assert [account async for account in other.list_accounts()] == []
    assert len((await client.list_rejections()).recent) == 1


async def test_a_call_with_an_invalid_account_leaves_nothing(
    client: EngagementClient, ingest: IngestServiceAsyncStub
) -> None:
    request = v1.RecordEventRequest(account_id="not valid", event=bad_event("a"))
    assert (await expect_refused(ingest.RecordEvent(request))).reason == "FIELD_INVALID"
    assert (await expect_refused(ingest.RecordEvent(v1.RecordEventRequest(account_id="acme")))).reason
    assert (await client.list_rejections()).rejected_events == 0


async def test_counts_are_chosen_by_source_and_by_hour(client: EngagementClient) -> None:
    await refuse(client, of("crm", bad_event("a")))
    await refuse(client, bad_event("b"))
    crm = await client.list_rejections(source="crm")
    assert ([each.source for each in crm.counts], crm.rejected_events, len(crm.recent)) == (["crm"], 1, 1)
    none = await client.list_rejections(source="")
    assert ([each.source for each in none.counts], none.rejected_events, len(none.recent)) == ([""], 1, 1)
    assert (await client.list_rejections(source="c")).rejected_events == 0
    (hour,) = crm.counts[0].hours
    start = hour.start_time.ToDatetime(UTC)
    in_hour = timedelta(minutes=59, seconds=59)
    assert (await client.list_rejections(start_time=start + in_hour)).rejected_events == 2
    assert (await client.list_rejections(start_time=start + timedelta(hours=1))).rejected_events == 0
    assert (await client.list_rejections(end_time=start + timedelta(seconds=1))).rejected_events == 2
    earlier = await client.list_rejections(end_time=start)
    assert (earlier.rejected_events, len(earlier.recent), len(earlier.counts)) == (0, 0, 0)


async def test_a_request_that_breaks_a_rule_is_refused(ingest: IngestServiceAsyncStub) -> None:
    for wrong in (
        v1.ListRejectionsRequest(account_id="not valid"),
        v1.ListRejectionsRequest(account_id="acme", source="x" * 65),
        v1.ListRejectionsRequest(account_id="acme", start_time={"seconds": -1}),
        v1.ListRejectionsRequest(account_id="acme", end_time={"seconds": 1, "nanos": 1_000_000_000}),
    ):
        refused = await expect_refused(ingest.ListRejections(wrong))
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")


async def test_the_largest_counts_come_first_and_others_are_cut(
    client: EngagementClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source, number in {"a": 1, "b": 3, "c": 2}.items():
        for index in range(number):
            await refuse(client, of(source, bad_event(f"{source}{index}")))
    found = await client.list_rejections()
    assert [(each.source, each.events) for each in found.counts] == [("b", 3), ("c", 2), ("a", 1)]
    monkeypatch.setattr(rejections, "MAX_COUNTS", 2)
    found = await client.list_rejections()
    assert ([each.source for each in found.counts], found.incomplete) == (["b", "c"], True)


async def test_many_sources_are_counted_as_others(client: EngagementClient) -> None:
    batch = [of(f"source-{number}", bad_event(f"{number}")) for number in range(300)]
    await client.record_events(batch, allow_partial=True)
    found = await client.list_rejections()
    assert (found.rejected_events, found.incomplete) == (300, True)
    others = found.counts[0]
    assert (others.other, others.source, others.field, others.rule) == (True, "", *_MONTH)
    assert others.events + len(found.counts) - 1 == 300
    assert not any(each.other for each in found.counts[1:])
    assert not any(each.other for each in (await client.list_rejections(source="source-1")).counts)


async def test_an_account_that_may_have_had_no_room_is_told_so(
    client: EngagementClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engagement_server.metrics.rejections.MAX_ACCOUNTS", 1)
    await refuse(client, bad_event("a"))
    assert not (await client.list_rejections()).incomplete
    async with EngagementClient(server.address, account_id="late") as late:
        await refuse(late, bad_event("a"))
        found = await late.list_rejections()
        assert (found.rejected_events, found.incomplete) == (0, True)


async def test_no_value_of_a_rejected_event_is_in_the_answer(client: EngagementClient) -> None:
    secrets = [f"Sxq{number}Planted" for number in range(9)]
    wrong = personal_event(
        secrets[0], name=f"{secrets[1]}\0", email=f"{secrets[2]}\0", language=f"{secrets[3]}\0"
    )
    wrong.consumer_id, wrong.conversation_id = f"{secrets[4]}\0", f"{secrets[5]}\0"
    wrong.personal_info.other_contacts.add(phone=f"{secrets[6]}\0")
    wrong.additional_attributes[secrets[7]] = f"{secrets[8]}\0"
    await refuse(client, wrong)
    await client.record_events([wrong], allow_partial=True)
    await Uploader(client, upload_id="u").upload([wrong])
    taken = customer_event(secrets[0], role=secrets[1])
    await client.record_event(taken)
    await refuse(client, customer_event(secrets[0], role=secrets[2]))
    found = await client.list_rejections()
    assert found.rejected_events == 4
    assert {each.field for each in found.counts} >= {
        "consumer_id",
        "additional_attributes",
        "personal_info.name",
    }
    text = str(found)
    assert not [secret for secret in secrets if secret.lower() in text.lower()]
    # The first that breaks a rule may be described.
    assert {each.value_shape for each in found.recent if each.field} == {"Aaa9Aaaaaaa?"}


async def test_hostile_sources_are_cut_and_cleaned(client: EngagementClient) -> None:
    for source in ("\x1b[31m\0" + "x" * 1_000_000, "\u202e", "line\nbreak"):
        await client.record_events([of(source, bad_event(source[:3]))], allow_partial=True)
    sources = {each.source for each in (await client.list_rejections()).counts}
    assert sources == {"\ufffd[31m\ufffd" + "x" * 57 + "…", "\u202e", "line\ufffdbreak"}
    for source in sources:  # as they are shown, they can be asked for
        assert (await client.list_rejections(source=source)).rejected_events == 1


async def test_accepted_events_leave_nothing(client: EngagementClient) -> None:
    await client.record_events(customer_events(100), allow_partial=True)
    await client.record_events(customer_events(100), allow_partial=True)
    await Uploader(client, upload_id="u").upload(customer_events(100))
    await asyncio.gather(*(client.record_event(event) for event in customer_events(5)))
    found = await client.list_rejections()
    assert (found.rejected_events, len(found.counts), len(found.recent)) == (0, 0, 0)
