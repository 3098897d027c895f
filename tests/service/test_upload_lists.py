"""Uploads can be asked for: lists, their sources and rejections, and the events that they brought."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import grpc
import pytest

from engagement import EngagementClient, Follower, Uploader, v1
from engagement.limits import MAX_EVENT_BYTES
from engagement_server.node import Server
from tests.support.event_samples import bad_event, good_event, good_events
from tests.support.raw_upload import RawUpload, Request, chunk, finish
from tests.support.refused_call import expect_refused
from tests.support.waiting import deadline, eventually

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub


async def upload(
    client: EngagementClient, upload_id: str, events: Sequence[v1.Event], *, source_name: str = ""
) -> None:
    uploader = Uploader(client, upload_id=upload_id, source_name=source_name, chunk_events=2)
    await uploader.upload(events)


async def ids(client: EngagementClient, *outcomes: v1.Outcome, source_name: str = "") -> list[str]:
    return [each.upload_id async for each in client.list_uploads(outcomes=outcomes, source_name=source_name)]


async def test_uploads_are_listed_newest_first_page_by_page(server: Server, client: EngagementClient) -> None:
    for number in range(5):
        await upload(client, f"u-{number}", [good_event(number)])
    expected = [f"u-{number}" for number in (4, 3, 2, 1, 0)]
    for page_size in (1, 2, 5, 1000):
        listed = client.list_uploads(page_size=page_size)
        assert [each.upload_id async for each in listed] == expected
    async with EngagementClient(server.address, account_id="other") as other:
        assert await ids(other) == []


async def test_a_list_has_what_a_single_upload_has(client: EngagementClient) -> None:
    await upload(client, "u", [good_event(1), bad_event(2)], source_name="monday.ndjson")
    (listed,) = [each async for each in client.list_uploads()]
    assert listed == await client.get_upload("u")
    assert (listed.source_name, listed.state) == ("monday.ndjson", v1.Upload.STATE_FINISHED)


async def test_a_list_is_filtered_by_source_outcome_and_time(client: EngagementClient) -> None:
    await upload(client, "good", good_events(2), source_name="a")
    await upload(client, "again", good_events(2), source_name="b")
    await upload(client, "bad", [bad_event(9)], source_name="a")
    assert await ids(client, source_name="a") == ["bad", "good"]
    assert await ids(client, source_name="A") == []
    assert await ids(client, v1.Outcome.OUTCOME_REJECTED) == ["bad"]
    assert await ids(client, v1.Outcome.OUTCOME_DUPLICATE, v1.Outcome.OUTCOME_REJECTED) == ["bad", "again"]
    assert await ids(client, v1.Outcome.OUTCOME_SUPPRESSED) == []
    changed = (await client.get_upload("again")).update_time.ToDatetime(UTC)
    since = [each.upload_id async for each in client.list_uploads(start_time=changed)]
    before = [each.upload_id async for each in client.list_uploads(end_time=changed)]
    assert since + before == ["bad", "again", "good"]
    assert "again" in since
    a_moment_later = changed + timedelta(microseconds=1)
    assert "again" not in [each.upload_id async for each in client.list_uploads(start_time=a_moment_later)]


async def test_a_page_looks_at_a_bounded_number_of_uploads(
    client: EngagementClient, ingest: IngestServiceAsyncStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    await upload(client, "bad", [bad_event(9)])
    for number in range(5):
        await upload(client, f"u-{number}", [good_event(number)])
    monkeypatch.setattr("engagement_server.store.upload_lists.MAX_EXAMINED_UPLOADS", 2)
    request = v1.ListUploadsRequest(account_id="acme", outcomes=[v1.Outcome.OUTCOME_REJECTED])
    page = await ingest.ListUploads(request)
    assert (list(page.uploads), page.next_page_token != "") == ([], True)
    assert await ids(client, v1.Outcome.OUTCOME_REJECTED) == ["bad"]


async def test_a_page_token_is_bound_to_its_list(
    client: EngagementClient, ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    for number in range(3):
        await upload(client, f"u-{number}", [good_event(number)])
    token = (await ingest.ListUploads(v1.ListUploadsRequest(account_id="acme", page_size=1))).next_page_token
    listed = await events.ListEvents(v1.ListEventsRequest(account_id="acme", page_size=1))
    for request in (
        v1.ListUploadsRequest(account_id="acme", source_name="a", page_token=token),
        v1.ListUploadsRequest(account_id="other", page_token=token),
        v1.ListUploadsRequest(account_id="acme", page_token=listed.next_page_token),
    ):
        refused = await expect_refused(ingest.ListUploads(request))
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_MISMATCH")
    rest = await ingest.ListUploads(v1.ListUploadsRequest(account_id="acme", page_token=token, page_size=5))
    assert [each.upload_id for each in rest.uploads] == ["u-1", "u-0"]


async def test_the_name_given_last_counts_and_unreadable_pieces_are_told_at_the_end(
    client: EngagementClient, ingest: IngestServiceAsyncStub
) -> None:
    for name in ("first", "second", ""):
        stream = RawUpload(ingest)
        await stream.send(Request(open=Request.Open(account_id="acme", upload_id="u", source_name=name)))
        await stream.receive()
    assert (await client.get_upload("u")).source_name == "second"
    await stream.send(chunk(1, good_event(1)), Request(finish=Request.Finish(last_sequence=1, unreadable=7)))
    assert (await stream.receive_rest())[-1].finished.upload.unreadable == 7
    again = RawUpload(ingest)
    await again.send(Request(open=Request.Open(account_id="acme", upload_id="u")), finish(1))
    await again.receive_rest()
    found = await client.get_upload("u")
    assert (found.unreadable, found.source_name) == (7, "second")


async def test_an_uploader_counts_what_never_reached_the_server(client: EngagementClient) -> None:
    huge = good_event(2, balance="x" * MAX_EVENT_BYTES)
    uploader = Uploader(client, upload_id="u", source_name="s", count_unreadable=lambda: 3)
    await uploader.upload([good_event(1), huge])
    found = await client.get_upload("u")
    assert (found.unreadable, found.tally) == (4, v1.Tally(accepted=1))


async def test_rejections_have_their_number_and_time(client: EngagementClient) -> None:
    events = [good_event(1), bad_event(2), good_event(3), good_event(1, balance="other"), bad_event(5)]
    start = datetime.now(UTC)
    await upload(client, "u", events)
    found = [each async for each in client.upload_rejections("u")]
    assert [(each.chunk_sequence, each.result.index, each.event_number) for each in found] == [
        (1, 1, 2),
        (2, 1, 4),
        (3, 0, 5),
    ]
    times = [each.reject_time.ToDatetime(UTC) for each in found]
    assert times == sorted(times)
    assert start - timedelta(milliseconds=1) <= times[0] <= times[-1] <= datetime.now(UTC)


async def test_rejected_events_of_a_person_are_found_until_they_are_erased(
    client: EngagementClient, ingest: IngestServiceAsyncStub
) -> None:
    bad = [bad_event(number) for number in range(9)]
    for each, consumer, customer in zip(bad, "aabbccabc", "123123123", strict=True):
        each.consumer_id, each.customer_info.customer_id = consumer, customer
    await upload(client, "first", [good_event(1), *bad[:6]])
    await upload(client, "second", bad[6:])

    async def found(subject_id: str, upload_id: str) -> list[int]:
        listed = client.upload_rejections(upload_id, subject_id=subject_id)
        return [each.event_number async for each in listed]

    async def uploads(subject_id: str) -> list[str]:
        return [each.upload_id async for each in client.list_uploads(subject_id=subject_id)]

    assert [await found(each, "first") for each in ("a", "1", "c", "3", "d")] == [
        [2, 3], [2, 5], [6, 7], [4, 7], [],
    ]  # fmt: skip
    assert [await uploads(each) for each in ("a", "3", "d", "A")] == [
        ["second", "first"], ["second", "first"], [], [],
    ]  # fmt: skip
    request = v1.GetUploadRequest(account_id="acme", upload_id="first", subject_id="1", page_size=1)
    page = await ingest.GetUpload(request)
    assert [each.result.event_id for each in page.rejections] == [bad[0].event_id]
    request.page_token, request.subject_id = page.next_page_token, "2"
    assert (await expect_refused(ingest.GetUpload(request))).reason == "PAGE_TOKEN_MISMATCH"
    assert (await client.erase_consumer(customer_id="1")).cleared_rejections == 3
    assert (await found("1", "first"), await found("a", "first"), await uploads("1")) == ([], [3], [])
    assert await uploads("a") == ["first"]


async def test_an_event_names_the_upload_that_brought_it(client: EngagementClient) -> None:
    await client.record_event(good_event(0))
    await upload(client, "u", [good_event(0), good_event(1), bad_event(2), good_event(3)])
    await upload(client, "later", [good_event(3), good_event(4)])
    expected = {0: None, 1: ("u", 2), 3: ("u", 4), 4: ("later", 2)}
    for number, place in expected.items():
        assert place_of(await client.get_event(event_id=f"event-{number:06}")) == place
    listed = [each async for each in client.list_events()]
    assert [place_of(each) for each in listed] == list(expected.values())
    narrow = [each async for each in client.list_events(v1.EventFilter(text="400.99"))]
    assert narrow == listed
    by_cursor = await client.get_event(cursor=listed[1].cursor)
    assert by_cursor == listed[1]
    async with client.follow(earliest=True) as follower, deadline("the stored events came"):
        assert [await anext(follower) for _ in expected] == listed


async def test_a_mask_may_choose_the_upload(client: EngagementClient) -> None:
    await upload(client, "u", [good_event(1)])
    for path, expected in {
        "upload": v1.UploadPlace(upload_id="u", event_number=1),
        "upload.upload_id": v1.UploadPlace(upload_id="u"),
        "upload.event_number": v1.UploadPlace(event_number=1),
    }.items():
        stored = await client.get_event(event_id="event-000001", read_mask=[path])
        assert stored == v1.StoredEvent(upload=expected)
    assert not (await client.get_event(event_id="event-000001", read_mask=["event"])).HasField("upload")


async def test_a_live_follower_gets_the_place_of_new_events(client: EngagementClient) -> None:
    follower, all_events = (
        client.follow(v1.EventFilter(text="400.99"), latest=True),
        client.follow(latest=True),
    )
    async with follower, all_events:
        waiting = [asyncio.create_task(take(each, 4)) for each in (follower, all_events)]
        await eventually(lambda: follower.is_caught_up and all_events.is_caught_up, "both have caught up")
        await client.record_event(good_event(0))
        await upload(client, "u", [good_event(1), bad_event(2), good_event(3), good_event(4)])
        for each in waiting:
            async with deadline("the new events came"):
                assert [place_of(stored) for stored in await each] == [None, ("u", 1), ("u", 3), ("u", 4)]
    listed = [each async for each in client.list_events()]
    assert listed == await waiting[0]


async def take(follower: Follower, count: int) -> list[v1.StoredEvent]:
    return [await anext(follower) for _ in range(count)]


def place_of(stored: v1.StoredEvent) -> tuple[str, int] | None:
    return (stored.upload.upload_id, stored.upload.event_number) if stored.HasField("upload") else None
