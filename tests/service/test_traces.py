"""Calls that keep nothing leave no row, and what they were told stays right once there is something."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import grpc
import pytest

from engagement import v1
from engagement_server.config import Config
from engagement_server.node import Server
from tests.support.calls import one, some
from tests.support.events import bad_event, customer_event, personal_event
from tests.support.raw_subscription import RawSubscription, ids, kinds, subscribing
from tests.support.raw_upload import RawUpload, chunk, finish, opening
from tests.support.refused_call import expect_refused
from tests.support.store_file import open_store
from tests.support.view_rows import Rows, view_rows
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

PERSONS = v1.EventFilter(attribute_sets=[v1.AttributeSet.ATTRIBUTE_SET_PERSONAL_INFO])


@pytest.fixture
def data(tmp_path: Path, server: Server) -> Path:
    """The folder of the server."""
    return tmp_path / "data"


def rows(data: Path) -> dict[str, Rows]:
    """All rows, without the time of the last commit, which is kept to a minute."""
    found = view_rows(data)
    del found["log_position"]
    return found


def pages(data: Path) -> int:
    """Pages of the file that rows take."""
    with contextlib.closing(open_store(data, flags=apsw.SQLITE_OPEN_READONLY)) as store:
        return int(store.pragma("page_count")) - int(store.pragma("freelist_count"))


def upload_ids(data: Path) -> list[str]:
    with contextlib.closing(open_store(data, flags=apsw.SQLITE_OPEN_READONLY)) as store:
        return [str(upload_id) for (upload_id,) in store.execute("SELECT upload_id FROM uploads")]


async def keep_nothing(channel: grpc.aio.Channel, account_id: str) -> None:
    """Makes every call that keeps nothing in an account that does not exist."""
    ingest, events = v1.IngestServiceStub(channel), v1.EventServiceStub(channel)
    privacy, entities = v1.PrivacyServiceStub(channel), v1.EntityServiceStub(channel)
    for latest in (True, False):
        request = subscribing(account_id=account_id, latest=latest, stop_at_tail=True)
        await RawSubscription(events, request).rest()
    conflict = [customer_event("a"), customer_event("a", balance="1")]
    await expect_refused(ingest.RecordEvent(one(bad_event("a"), account_id=account_id)))
    await expect_refused(ingest.RecordEvents(some(*conflict, account_id=account_id)))
    rejected = await ingest.RecordEvents(some(bad_event("a"), account_id=account_id, allow_partial=True))
    assert rejected.tally.rejected == 1
    await ingest.RecordEvents(some(*conflict[:1], account_id=account_id, validate_only=True))
    erasure = v1.EraseConsumerRequest(
        account_id=account_id, request_id="r", subjects=[v1.Subject(consumer_id="ada")]
    )
    erased = (await privacy.EraseConsumer(erasure)).erasure
    assert (erased.erased_events, erased.erasure_id, erased.HasField("complete_time")) == (0, "", False)
    person = await privacy.GetPerson(v1.GetPersonRequest(account_id=account_id, id="ada"))
    assert person == v1.GetPersonResponse()
    suppressed = v1.GetSuppressionRequest(account_id=account_id, subject=v1.Subject(consumer_id="ada"))
    assert await privacy.GetSuppression(suppressed) == v1.GetSuppressionResponse()
    lift = v1.LiftSuppressionRequest(account_id=account_id, subject=v1.Subject(consumer_id="ada"))
    assert not (await privacy.LiftSuppression(lift)).lifted
    kind = v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS
    delete = v1.DeleteEntityRequest(account_id=account_id, kind=kind, name="gold")
    assert (await expect_refused(entities.DeleteEntity(delete))).reason == "ENTITY_NOT_FOUND"
    await entities.PutEntities(v1.PutEntitiesRequest(account_id=account_id, kind=kind, closed=False))
    profile = v1.GetProfileRequest(account_id=account_id, consumer_id="ada")
    assert (await expect_refused(events.GetProfile(profile))).reason == "PROFILE_NOT_FOUND"
    await events.ListEvents(v1.ListEventsRequest(account_id=account_id))


async def test_what_keeps_nothing_leaves_no_row(channel: grpc.aio.Channel, data: Path) -> None:
    before = rows(data)
    await keep_nothing(channel, "nowhere")
    assert rows(data) == before


async def test_a_thousand_openings_of_uploads_leave_no_row_and_no_page(
    channel: grpc.aio.Channel, ingest: IngestServiceAsyncStub, data: Path
) -> None:
    before, pages_before = rows(data), pages(data)
    for first in range(0, 1000, 100):
        uploads = [RawUpload(ingest) for _ in range(100)]
        for number, upload in enumerate(uploads, first):
            await upload.send(opening(account_id=f"account-{number}", upload_id=f"upload-{number}"))
        for number, upload in enumerate(uploads):
            assert (await upload.receive()).HasField("opened")
            if number % 2:
                upload.call.cancel()
            else:
                await upload.call.done_writing()
                await upload.receive_rest()
    await eventually(lambda: not upload_ids(data), "the uploads are gone")
    after = rows(data)
    # One row counts all uploads, so that none gets the number of an earlier one.
    assert after.pop("sqlite_sequence").number == 1
    before.pop("sqlite_sequence")
    assert after == before
    assert pages(data) == pages_before


async def test_an_upload_that_another_stream_has_opened_stays_when_the_first_ends(
    ingest: IngestServiceAsyncStub,
) -> None:
    first, second = RawUpload(ingest), RawUpload(ingest)
    await first.open()
    await second.open()
    assert (await expect_refused(first.receive_rest())).reason == "UPLOAD_TAKEN_OVER"
    await second.send(chunk(1, customer_event("a")), finish(1))
    *_, finished = await second.receive_rest()
    assert finished.finished.upload.tally.accepted == 1


async def test_an_upload_of_rejected_events_only_is_read_and_resumed_without_an_account(
    ingest: IngestServiceAsyncStub, data: Path
) -> None:
    accounts = rows(data)["accounts"]
    upload = RawUpload(ingest)
    await upload.open()
    await upload.send(chunk(1, bad_event("a"), bad_event("b")))
    await upload.receive_acks(1)
    await upload.call.done_writing()
    await upload.receive_rest()
    found = await ingest.GetUpload(v1.GetUploadRequest(account_id="acme", upload_id="upload"))
    assert [each.result.event_id for each in found.rejections] == ["a", "b"]
    assert (await RawUpload(ingest).open()).committed_through == 1
    assert rows(data)["accounts"] == accounts


async def test_a_first_subscriber_gets_a_cursor_that_is_good_once_there_are_events(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub, data: Path
) -> None:
    await ingest.RecordEvent(one(customer_event("foreign"), account_id="other"))
    before = rows(data)
    first = RawSubscription(events, subscribing(latest=True))
    origin = (await first.read()).cursor
    assert (await first.read()).cursor == origin
    none = await RawSubscription(events, subscribing(after_cursor=origin, stop_at_tail=True)).rest()
    assert [message.cursor for message in none] == [origin] * 2
    followers = [
        RawSubscription(events, subscribing(after_cursor=origin, wanted=wanted)) for wanted in (None, PERSONS)
    ]
    for follower in followers:
        await follower.read_until("caught_up")
    assert rows(data) == before
    await ingest.RecordEvents(some(customer_event("a"), personal_event("b")))
    assert await first.read_ids(2) == await followers[0].read_ids(2) == ["a", "b"]
    assert await followers[1].read_ids(1) == ["b"]
    for subscription in (first, *followers):
        subscription.call.cancel()
    resumed = await RawSubscription(events, subscribing(after_cursor=origin, stop_at_tail=True)).rest()
    assert kinds(resumed) == ["started", "batch", "caught_up"]
    assert (resumed[0].started.lag_events, ids(resumed)) == (2, ["a", "b"])


async def test_a_cursor_of_an_account_without_events_is_bound_to_it(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    await ingest.RecordEvent(one(customer_event("a"), account_id="known"))
    for owner in ("unknown", "another"):
        (started, _) = await RawSubscription(events, subscribing(account_id=owner, stop_at_tail=True)).rest()
        for account_id in {"unknown", "another", "known"} - {owner}:
            foreign = subscribing(account_id=account_id, after_cursor=started.cursor)
            refused = await expect_refused(events.SubscribeEvents(foreign).read())
            assert refused.reason == "CURSOR_MISMATCH"
        request = v1.GetEventRequest(account_id=owner, cursor=started.cursor)
        assert (await expect_refused(events.GetEvent(request))).reason == "EVENT_NOT_FOUND"


async def test_the_cursor_of_a_first_subscriber_survives_restarts(tmp_path: Path) -> None:
    config = Config(listen="127.0.0.1:0", data=tmp_path / "data")
    server = await Server.start(config)
    async with grpc.aio.insecure_channel(server.address) as channel:
        request = subscribing(stop_at_tail=True, wanted=PERSONS)
        (started, _) = await RawSubscription(v1.EventServiceStub(channel), request).rest()
    await server.stop()
    server = await Server.start(config)
    async with grpc.aio.insecure_channel(server.address) as channel:
        request = subscribing(after_cursor=started.cursor, wanted=PERSONS)
        subscription = RawSubscription(v1.EventServiceStub(channel), request)
        await subscription.read_until("caught_up")
        await v1.IngestServiceStub(channel).RecordEvents(some(customer_event("a"), personal_event("b")))
        assert await subscription.read_ids(1) == ["b"]
        subscription.call.cancel()
    await server.stop()
