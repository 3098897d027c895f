"""Whatever was accepted comes back whole to a client with the limits that gRPC libraries have by default."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement import limits, v1
from engagement_server.api.grpc.endpoint import MAX_METADATA_BYTES
from engagement_server.config import Config
from engagement_server.node import Server
from tests.support.calls import ACCEPTED, DUPLICATE, REJECTED, one, some
from tests.support.events import customer_event, customer_events, personal_event, text_fields
from tests.support.nats_cluster import NatsCluster
from tests.support.server_process import ServerProcess

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

DEFAULT_MESSAGE_BYTES = 4 * 1024 * 1024
FULL_ENTITY_NAME = "\U0001f600" * limits.MAX_ENTITY_NAME_CHARACTERS


def filled_up(event: v1.Event, *, size_bytes: int) -> v1.Event:
    """The event with texts that bring it to this size, unless it is larger already."""
    additional = event.additional_attributes
    while size_bytes - event.ByteSize() > limits.MAX_TEXT_CHARACTERS + 100:
        additional[f"padding {len(additional)}"] = "x" * limits.MAX_TEXT_CHARACTERS
    length = size_bytes - event.ByteSize()
    while length > 0 and event.ByteSize() != size_bytes:
        additional["last"] = "x" * min(length, limits.MAX_TEXT_CHARACTERS)
        length -= 1
    return event


@dataclass(frozen=True, slots=True)
class Shape:
    """Describes an event, because the event itself would be long to print."""

    character: str
    """What ids and texts consist of: one to four bytes."""
    texts: dict[str, int]
    """Fields of the event and of its attribute set, and their characters."""
    contacts: int
    additional_attributes: int
    size_bytes: int

    def event(self, number: int) -> v1.Event:
        prefix = f"{number} "
        event = v1.Event(
            event_id=prefix + self.character * (limits.MAX_EVENT_ID_CHARACTERS - len(prefix)),
            consumer_id=self._text("consumer_id"),
            conversation_id=self._text("conversation_id"),
        )
        if self.contacts:
            event.personal_info.name = self._text("name")
            contacts = [v1.PersonalContact(email="x" * 10_000, phone="")] * self.contacts
            event.personal_info.other_contacts.extend(contacts)
        else:
            event.customer_info.customer_status = FULL_ENTITY_NAME
            for field in ("balance", "role", "user_name"):
                setattr(event.customer_info, field, self._text(field))
        for index in range(self.additional_attributes):
            event.additional_attributes[f"path[{index}]"] = self.character * 100
        return filled_up(event, size_bytes=self.size_bytes)

    def _text(self, field: str) -> str:
        return self.character * self.texts.get(field, 0)


fields = st.sampled_from(["consumer_id", "conversation_id", "name", "balance", "role", "user_name"])
shapes = st.builds(
    Shape,
    character=st.sampled_from(["a", "é", "東", "\U0001f600"]),
    texts=st.dictionaries(fields, st.sampled_from([1, 20_000, limits.MAX_TEXT_CHARACTERS])),
    contacts=st.sampled_from([0, 0, 1, limits.MAX_OTHER_CONTACTS]),
    additional_attributes=st.sampled_from([0, 1, limits.MAX_ADDITIONAL_ATTRIBUTES // 2]),
    size_bytes=st.sampled_from([0, 200_000, DEFAULT_MESSAGE_BYTES // 2, limits.MAX_EVENT_BYTES]),
)


async def all_pages(events: EventServiceAsyncStub, account_id: str) -> AsyncIterator[v1.StoredEvent]:
    token = ""
    while True:
        page = await events.ListEvents(
            v1.ListEventsRequest(account_id=account_id, page_size=1000, page_token=token)
        )
        for stored in page.events:
            yield stored
        token = page.next_page_token
        if not token:
            return


def upload_of(account_id: str, *chunks: list[v1.Event]) -> AsyncIterator[v1.UploadEventsRequest]:
    async def requests() -> AsyncIterator[v1.UploadEventsRequest]:
        opening = v1.UploadEventsRequest.Open(account_id=account_id, upload_id="sizes", keep_going=True)
        yield v1.UploadEventsRequest(open=opening)
        for sequence, chunk in enumerate(chunks, start=1):
            yield v1.UploadEventsRequest(chunk={"sequence": sequence, "events": chunk})
        yield v1.UploadEventsRequest(finish={"last_sequence": len(chunks)})

    return requests()


@settings(max_examples=8)
@given(drawn=st.lists(shapes, min_size=1, max_size=3))
def test_an_accepted_event_comes_back_whole(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Shape]
) -> None:
    recorded = [shape.event(number) for number, shape in enumerate(drawn)]
    asyncio.run(_start_record_and_read(tmp_path_factory.mktemp("sizes"), recorded))


@pytest.mark.parametrize("settings", ["workers", "replicated log"])
def test_the_largest_events_come_back_whole_from_other_processes_and_nodes(
    tmp_path: Path, cluster: NatsCluster, settings: str
) -> None:
    environment = {"ENGAGEMENT_WORKERS": "2"}
    if settings == "replicated log":
        environment = {
            "ENGAGEMENT_LOG": cluster.url,
            "ENGAGEMENT_LOG_NAME": "sizes",
            "ENGAGEMENT_LOG_REPLICAS": "1",
        }
    largest = Shape("東", {}, contacts=0, additional_attributes=500, size_bytes=limits.MAX_EVENT_BYTES)
    contacts = replace(largest, contacts=limits.MAX_OTHER_CONTACTS)
    with ServerProcess(tmp_path / "data", environment=environment).start() as server:
        server.wait_until_serving()
        asyncio.run(_record_and_read(server.address, [largest.event(1), contacts.event(2)]))


async def _start_record_and_read(folder: Path, recorded: list[v1.Event]) -> None:
    server = await Server.start(Config(listen="127.0.0.1:0", data=folder))
    try:
        await _record_and_read(server.address, recorded)
    finally:
        await server.stop()


async def _record_and_read(address: str, recorded: list[v1.Event]) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        ingest, events = v1.IngestServiceStub(channel), v1.EventServiceStub(channel)
        put = v1.PutEntitiesRequest(
            account_id="acme",
            kind=v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS,
            names=[FULL_ENTITY_NAME],
        )
        await v1.EntityServiceStub(channel).PutEntities(put)
        whole = []
        for event in recorded:
            accepted = (await ingest.RecordEvent(one(event))).result
            assert accepted.outcome == ACCEPTED
            found = await events.GetEvent(v1.GetEventRequest(account_id="acme", event_id=event.event_id))
            assert found.event.cursor == accepted.cursor
            whole.append(found.event)
            sent, stored = v1.Event(), v1.Event()
            sent.CopyFrom(event)
            stored.CopyFrom(found.event.event)
            getattr(stored, stored.WhichOneof("attributes") or "").ClearField("server_time_stamp")
            assert stored == sent
        assert [stored async for stored in all_pages(events, "acme")] == whole
        everything = v1.SubscribeEventsRequest(account_id="acme", earliest=True, stop_at_tail=True)
        streamed = [
            stored async for frame in events.SubscribeEvents(everything) for stored in frame.batch.events
        ]
        assert streamed == whole
        answers = [
            answer
            async for answer in ingest.UploadEvents(upload_of("acme", *([event] for event in recorded)))
        ]
        results = [each.result.outcome for answer in answers for each in answer.ack.results]
        assert results == [DUPLICATE] * len(recorded)
        for subject in {event.consumer_id for event in recorded} - {""}:
            await events.GetProfile(v1.GetProfileRequest(account_id="acme", consumer_id=subject))


async def test_a_page_counts_what_the_server_adds_to_its_events(channel: grpc.aio.Channel) -> None:
    lists, ingest, events = (
        v1.EntityServiceStub(channel),
        v1.IngestServiceStub(channel),
        v1.EventServiceStub(channel),
    )
    kinds = (v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS, v1.EntityKind.ENTITY_KIND_CUSTOMER_TYPE)
    for kind in kinds:
        await lists.PutEntities(v1.PutEntitiesRequest(account_id="acme", kind=kind, names=[FULL_ENTITY_NAME]))
    texts = {"customer_status": FULL_ENTITY_NAME, "customer_type": FULL_ENTITY_NAME, "role": "x" * 900}
    recorded = [customer_event(str(number), **texts) for number in range(1000)]
    for start in range(0, 1000, limits.MAX_BATCH_EVENTS):
        await ingest.RecordEvents(some(*recorded[start : start + limits.MAX_BATCH_EVENTS]))
    found = [stored.event.event_id async for stored in all_pages(events, "acme")]
    assert found == [event.event_id for event in recorded]


async def test_a_profile_leaves_out_its_largest_values_and_names_them(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    customer = text_fields(v1.CustomerInfo())
    for number, name in enumerate(customer):
        text = "\U0001f600" * (limits.MAX_TEXT_CHARACTERS - number)
        await ingest.RecordEvent(one(customer_event(name, **{name: text})))
    contacts = [{"email": "x" * limits.MAX_TEXT_CHARACTERS}] * 60
    await ingest.RecordEvent(one(personal_event("contacts", other_contacts=contacts, name="Ada")))
    for folding in (v1.Folding.FOLDING_MERGE, v1.Folding.FOLDING_REPLACE):
        request = v1.GetProfileRequest(account_id="acme", consumer_id="ada", folding=folding)
        profile = (await events.GetProfile(request)).profile
        assert profile.ByteSize() <= limits.MAX_EVENT_BYTES
        if folding == v1.Folding.FOLDING_REPLACE:
            assert not profile.omitted_fields
            continue
        assert profile.omitted_fields == ["personal_info.other_contacts"]
        assert (profile.personal_info.name, len(profile.personal_info.other_contacts)) == ("Ada", 0)
        source = profile.sources["personal_info.other_contacts"]
        found = await events.GetEvent(v1.GetEventRequest(account_id="acme", event_id=source.event_id))
        assert len(found.event.event.personal_info.other_contacts) == len(contacts)


@pytest.mark.parametrize(
    ("token_bytes", "is_accepted"),
    [(8_000, True), (8_400, True), (12_000, True), (16 * 1024, True), (MAX_METADATA_BYTES, False)],
)
async def test_metadata_is_accepted_or_refused_always_and_never_by_chance(
    ingest: IngestServiceAsyncStub, token_bytes: int, *, is_accepted: bool
) -> None:
    metadata = (("authorization", "t" * token_bytes),)
    seen = set()
    for number in range(40 if is_accepted else 8):
        try:
            await ingest.RecordEvent(one(customer_event(str(number))), metadata=metadata)
            seen.add(grpc.StatusCode.OK)
        except grpc.aio.AioRpcError as error:
            seen.add(error.code())
    assert seen == {grpc.StatusCode.OK if is_accepted else grpc.StatusCode.RESOURCE_EXHAUSTED}


async def test_results_with_the_longest_errors_fit(ingest: IngestServiceAsyncStub) -> None:
    """A path of a rejected event holds what its producer sent."""
    events = customer_events(limits.MAX_BATCH_EVENTS)
    for event in events:
        event.event_id = "\U0001f600" * (limits.MAX_EVENT_ID_CHARACTERS + 1)
        event.additional_attributes["\U0001f600" * 300] = "\0"
    response = await ingest.RecordEvents(some(*events, allow_partial=True))
    assert response.tally.rejected == len(events)
    chunks = [events[start : start + 100] for start in range(0, len(events), 100)]
    answers = [answer async for answer in ingest.UploadEvents(upload_of("acme", *chunks, *chunks, *chunks))]
    assert sum(len(answer.ack.results) for answer in answers) == 3 * len(events)
    page = await ingest.GetUpload(v1.GetUploadRequest(account_id="acme", upload_id="sizes", page_size=1000))
    assert len(page.rejections) == 1000
    assert all(each.result.outcome == REJECTED for each in page.rejections)
