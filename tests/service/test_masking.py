"""Callers without `read.pii` get masked answers from every call, whatever others have read before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from engagement import v1
from engagement.masked import MASKED_TEXT
from engagement.uuid7 import uuid7
from tests.support.asking_server import Serving, alone, as_worker, replicated
from tests.support.calls import REJECTED, one, some
from tests.support.events import customer_event, personal_event
from tests.support.filled_events import CONSUMER_ID
from tests.support.personal_events import SECRET, personal_events, secret_fields, with_unknown_fields
from tests.support.raw_subscription import RawSubscription, ids, subscribing
from tests.support.raw_upload import chunk, finish, opening
from tests.support.refused_call import expect_refused
from tests.support.scoped_callers import ACCOUNT, EVERYTHING, MASKED, UNMASKED, Metadata, showing

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub
    from engagement.v1.privacy_service_pb2_grpc import PrivacyServiceAsyncStub
    from tests.support.nats_cluster import NatsCluster

EVENTS = {name: with_unknown_fields(event) for name, event in personal_events().items()}
PATHS = {name: secret_fields(event) for name, event in EVENTS.items()}
SOME = v1.EventFilter(consumer_ids=[CONSUMER_ID])
BOTH = pytest.mark.parametrize("order", [(MASKED, UNMASKED), (UNMASKED, MASKED)], ids=["masked", "unmasked"])
FILTERS = pytest.mark.parametrize("wanted", [None, SOME], ids=["all", "some"])


class Asking(NamedTuple):
    """A server that asks who calls."""

    ingest: IngestServiceAsyncStub
    events: EventServiceAsyncStub
    privacy: PrivacyServiceAsyncStub


@asynccontextmanager
async def connected(serving: Serving, folder: Path) -> AsyncIterator[Asking]:
    """Calls of a server that has both events."""
    async with serving(folder) as server, grpc.aio.insecure_channel(server.address) as channel:
        stubs = Asking(
            v1.IngestServiceStub(channel), v1.EventServiceStub(channel), v1.PrivacyServiceStub(channel)
        )
        await stubs.ingest.RecordEvents(some(*EVENTS.values()), metadata=EVERYTHING)
        yield stubs


@pytest.fixture
async def asking(tmp_path: Path, new_store: Path) -> AsyncIterator[Asking]:
    """A server of one process."""
    async with connected(alone(new_store), tmp_path / "data") as stubs:
        yield stubs


@pytest.fixture(params=["worker", "replicated"])
async def asking_among_others(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Asking]:
    """A server whose commits another process makes or orders."""
    serving: Serving = as_worker
    if request.param == "replicated":
        nats: NatsCluster = request.getfixturevalue("cluster")
        serving = replicated(nats.url, log_name=f"masking-{uuid7()}")
    async with connected(serving, tmp_path / "data") as stubs:
        yield stubs


def assert_masked(found: Sequence[v1.StoredEvent]) -> None:
    """Checks that they are the two events, and that each has all that is not masked."""
    assert [each.event.event_id for each in found] == [*EVENTS]
    for each in found:
        assert SECRET not in str(each)
        assert [*each.masked_fields] == PATHS[each.event.event_id]
    assert found[0].event.customer_info.balance == EVENTS["customer_info"].customer_info.balance


def assert_unmasked(found: Sequence[v1.StoredEvent]) -> None:
    """Checks that they are the two events as they were sent."""
    assert [each.event for each in found] == [*EVENTS.values()]
    assert not any(each.masked_fields for each in found)


def assert_seen_with(metadata: Metadata, found: Sequence[v1.StoredEvent]) -> None:
    """Checks what a caller may see of the two events."""
    (assert_masked if metadata == MASKED else assert_unmasked)(found)


def events_of(messages: Sequence[v1.SubscribeEventsResponse]) -> list[v1.StoredEvent]:
    """The events of all batches."""
    return [stored for message in messages for stored in message.batch.events]


@BOTH
async def test_one_event_is_masked_for_whom_it_must_be(asking: Asking, order: Sequence[Metadata]) -> None:
    for metadata in order:
        requests = [v1.GetEventRequest(account_id=ACCOUNT, event_id=name) for name in EVENTS]
        found = [(await asking.events.GetEvent(each, metadata=metadata)).event for each in requests]
        assert_seen_with(metadata, found)


@BOTH
@FILTERS
async def test_a_page_is_masked_for_whom_it_must_be(
    asking: Asking, order: Sequence[Metadata], wanted: v1.EventFilter | None
) -> None:
    request = v1.ListEventsRequest(account_id=ACCOUNT, filter=wanted)
    for metadata in order:
        assert_seen_with(metadata, (await asking.events.ListEvents(request, metadata=metadata)).events)


async def test_a_read_mask_keeps_the_paths_of_what_is_masked_in_the_answer(asking: Asking) -> None:
    mask = FieldMask(paths=["event.personal_info.name", "event.personal_info.gender"])
    request = v1.GetEventRequest(account_id=ACCOUNT, event_id="personal_info", read_mask=mask)
    found = (await asking.events.GetEvent(request, metadata=MASKED)).event
    gender = EVENTS["personal_info"].personal_info.gender
    assert found == v1.StoredEvent(
        event=v1.Event(personal_info=v1.PersonalInfo(name=MASKED_TEXT, gender=gender)),
        masked_fields=["personal_info.name"],
    )
    for paths in (["cursor"], ["event.event_id", "event.customer_info", "masked_fields"]):
        request.read_mask.paths[:] = paths
        both = [(await asking.events.GetEvent(request, metadata=each)).event for each in (MASKED, UNMASKED)]
        assert both[0] == both[1]
    listing = v1.ListEventsRequest(account_id=ACCOUNT, read_mask=FieldMask(paths=["event", "cursor"]))
    assert_masked((await asking.events.ListEvents(listing, metadata=MASKED)).events)


@BOTH
@FILTERS
async def test_two_followers_on_one_filter_never_share_what_is_masked(
    asking: Asking, order: Sequence[Metadata], wanted: v1.EventFilter | None
) -> None:
    await follow_both(asking, order, wanted)


@BOTH
async def test_two_followers_of_any_kind_of_server_never_share_what_is_masked(
    asking_among_others: Asking, order: Sequence[Metadata]
) -> None:
    await follow_both(asking_among_others, order, SOME)
    listing = v1.ListEventsRequest(account_id=ACCOUNT, page_size=2)
    for metadata in order:
        found = await asking_among_others.events.ListEvents(listing, metadata=metadata)
        assert_seen_with(metadata, found.events)


async def follow_both(asking: Asking, order: Sequence[Metadata], wanted: v1.EventFilter | None) -> None:
    """Follows with and without a mask, both from the beginning, and then live."""
    streams = {
        metadata: RawSubscription(asking.events, subscribing(wanted=wanted), metadata=metadata)
        for metadata in order
    }
    for metadata, stream in streams.items():  # catching up: one after another, from the store
        assert_seen_with(metadata, events_of(await stream.read_until("caught_up")))
    for number in range(3):  # live: both from one commit
        later = [v1.Event.FromString(event.SerializeToString()) for event in EVENTS.values()]
        for event in later:
            event.event_id += f" {number}"
        await asking.ingest.RecordEvents(some(*later), metadata=EVERYTHING)
        for metadata, stream in streams.items():
            messages = [await stream.read()]
            while len(ids(messages)) < len(later):
                messages.append(await stream.read())
            found = events_of(messages)
            assert ids(messages) == [event.event_id for event in later]
            for each in found:
                is_masked = metadata == MASKED
                assert (SECRET in str(each)) == (not is_masked)
                assert bool(each.masked_fields) == is_masked
    for stream in streams.values():
        stream.call.cancel()


@BOTH
@FILTERS
async def test_an_export_is_masked_for_whom_it_must_be(
    asking: Asking, order: Sequence[Metadata], wanted: v1.EventFilter | None
) -> None:
    for metadata in (*order, *order):
        request = subscribing(wanted=wanted, stop_at_tail=True)
        stream = RawSubscription(asking.events, request, metadata=metadata)
        assert_seen_with(metadata, events_of(await stream.rest()))


@BOTH
async def test_a_profile_is_masked_for_whom_it_must_be(asking: Asking, order: Sequence[Metadata]) -> None:
    for folding in (v1.Folding.FOLDING_MERGE, v1.Folding.FOLDING_REPLACE):
        request = v1.GetProfileRequest(account_id=ACCOUNT, consumer_id=CONSUMER_ID, folding=folding)
        for metadata in order:
            profile = (await asking.events.GetProfile(request, metadata=metadata)).profile
            assert {"customer_info.imei", "personal_info.name"} <= profile.sources.keys()
            if metadata == UNMASKED:
                assert not profile.masked_fields
                assert SECRET in profile.personal_info.name
                continue
            assert SECRET not in str(profile)
            attributes = [path for paths in PATHS.values() for path in paths if "." in path]
            assert [*profile.masked_fields] == attributes
            assert profile.personal_info.gender == EVENTS["personal_info"].personal_info.gender


async def test_no_value_is_too_large_for_a_masked_profile(asking: Asking) -> None:
    for name in ("email", "phone", "surname"):
        await asking.ingest.RecordEvent(
            one(personal_event(f"large {name}", **{name: "\N{GRINNING FACE}" * 50_000})), metadata=EVERYTHING
        )
    long = [v1.PersonalContact(email="\N{GRINNING FACE}" * 50_000) for _ in range(16)]
    await asking.ingest.RecordEvent(one(personal_event("many", other_contacts=long)), metadata=EVERYTHING)
    request = v1.GetProfileRequest(account_id=ACCOUNT, consumer_id="ada")
    profiles = [
        (await asking.events.GetProfile(request, metadata=each)).profile for each in (MASKED, UNMASKED)
    ]
    # What is left out tells how large it is.
    assert [[*each.omitted_fields] for each in profiles] == [[], ["personal_info.other_contacts"]]


async def test_other_calls_about_a_person_tell_ids_and_no_values(asking: Asking) -> None:
    erase = showing("erase")
    subject = v1.Subject(consumer_id=CONSUMER_ID)
    preview = v1.EraseConsumerRequest(
        account_id=ACCOUNT, subjects=[subject], request_id="r", validate_only=True
    )
    previewed = await asking.privacy.EraseConsumer(preview, metadata=erase)
    looking = v1.GetPersonRequest(account_id=ACCOUNT, id=CONSUMER_ID)
    person = await asking.privacy.GetPerson(looking, metadata=erase)
    assert [*previewed.erasure.sample_event_ids] == [*EVENTS]
    assert person.events == len(EVENTS)
    assert not any(SECRET in str(each) for each in (previewed, person))


async def test_an_upload_tells_no_value_of_its_rejected_events(asking: Asking) -> None:
    bad = customer_event("bad", imei=f"{SECRET}\0")
    bad.additional_attributes[f"{SECRET}@example.com"] = "\0"
    call = asking.ingest.UploadEvents(metadata=showing("ingest"))
    for message in (opening(), chunk(1, bad, customer_event("good")), finish(1)):
        await call.write(message)
    await call.done_writing()
    assert [message async for message in call]
    request = v1.GetUploadRequest(account_id=ACCOUNT, upload_id=opening().open.upload_id)
    found = await asking.ingest.GetUpload(request, metadata=MASKED)
    assert [len(each.result.error.violations) for each in found.rejections] == [2]
    assert SECRET not in str(found)


@pytest.mark.parametrize("text", [SECRET, "nothing has it"])
async def test_a_search_for_words_is_refused_without_the_scope_whatever_it_would_find(
    asking: Asking, text: str
) -> None:
    wanted = v1.EventFilter(text=text)
    calls: list[Any] = [  # Any: calls of two kinds
        asking.events.ListEvents(v1.ListEventsRequest(account_id="none", filter=wanted), metadata=other)
        for other in [showing("read", account_id="none")]
    ]
    calls.append(RawSubscription(asking.events, subscribing(wanted=wanted), metadata=MASKED).read())
    calls.append(
        asking.events.ListEvents(v1.ListEventsRequest(account_id=ACCOUNT, filter=wanted), metadata=MASKED)
    )
    for call in calls:
        refused = await expect_refused(call)
        assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING")
        assert refused.metadata["scopes"] == "read.pii"
        assert "filter.text" in refused.message
    found = await asking.events.ListEvents(
        v1.ListEventsRequest(account_id=ACCOUNT, filter=wanted), metadata=UNMASKED
    )
    assert len(found.events) == 2 * (text == SECRET)


async def test_what_was_read_masked_is_not_taken_as_data(asking: Asking) -> None:
    request = v1.ListEventsRequest(account_id=ACCOUNT)
    read = (await asking.events.ListEvents(request, metadata=MASKED)).events
    copies = [each.event for each in read]
    for event in copies:
        event.event_id += " again"
    producer = showing("ingest")
    single = await expect_refused(asking.ingest.RecordEvent(one(copies[1]), metadata=producer))
    assert (single.reason, single.fields) == (
        "FIELD_INVALID",
        [f"event.{path}" for path in PATHS["personal_info"]],
    )
    assert {rule for _, rule, _ in single.violations} == {"server.event.masked"}
    batch = await expect_refused(asking.ingest.RecordEvents(some(*copies), metadata=producer))
    assert batch.reason == "FIELD_INVALID"
    partly = await asking.ingest.RecordEvents(
        some(*copies, customer_event("good"), allow_partial=True), metadata=producer
    )
    assert [each.outcome == REJECTED for each in partly.results] == [True, True, False]
    call = asking.ingest.UploadEvents(metadata=producer)
    for message in (opening(), chunk(1, *copies, customer_event("fine")), finish(1)):
        await call.write(message)
    await call.done_writing()
    tallies = [message.finished.upload.tally async for message in call if message.HasField("finished")]
    assert [(each.accepted, each.rejected) for each in tallies] == [(1, 2)]
