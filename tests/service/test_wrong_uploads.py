"""Uploads whose events are all rejected end early, and large chunks are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from engagement import limits, v1
from tests.support.calls import one, stored_ids
from tests.support.events import bad_event, customer_event, customer_events, noise
from tests.support.raw_upload import RawUpload, Request, Response, chunk, finish, kinds, opening
from tests.support.refused_call import RefusedCall, expect_refused

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub
    from engagement_server.node import Server

LIMIT = limits.MAX_REJECTIONS_WITHOUT_SUCCESS
KIB = 1024


def bad_events(count: int) -> list[v1.Event]:
    return [bad_event(f"bad-{number}") for number in range(count)]


def keep_going() -> Request:
    request = opening()
    request.open.keep_going = True
    return request


async def upload_state(ingest: IngestServiceAsyncStub) -> v1.Upload:
    return (await ingest.GetUpload(v1.GetUploadRequest(account_id="acme", upload_id="upload"))).upload


async def refusal(upload: RawUpload, received: list[Response]) -> RefusedCall:
    """The error that ends a stream, and the responses before it."""

    async def receive_all() -> None:
        while True:
            received.append(await upload.receive())

    return await expect_refused(receive_all())


async def expect_end(ingest: IngestServiceAsyncStub, *requests: Request) -> RefusedCall:
    """Sends the requests of one stream, which ends because all its events were rejected."""
    upload = RawUpload(ingest)
    await upload.send(*requests)
    received: list[Response] = []
    refused = await refusal(upload, received)
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UPLOAD_ALL_REJECTED")
    state = await upload_state(ingest)
    assert state.state == v1.Upload.STATE_OPEN
    # What is committed was acked before.
    acks = [response.ack for response in received if response.HasField("ack")]
    assert (acks[-1].committed_through, acks[-1].tally) == (state.committed_through, state.tally)
    assert refused.metadata == {
        "uploadId": "upload",
        "rejected": str(state.tally.rejected),
        "committedThrough": str(state.committed_through),
    }
    return refused


async def test_an_upload_that_is_wholly_wrong_ends_after_its_acks_and_says_what_to_do(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    upload = RawUpload(ingest)
    await upload.open()
    await upload.send(chunk(1, *bad_events(500)))
    (*_, ack) = await upload.receive_acks(1)
    assert ack.tally == v1.Tally(rejected=500)
    await upload.send(chunk(2, *bad_events(500)))
    received: list[Response] = []
    refused = await refusal(upload, received)
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UPLOAD_ALL_REJECTED")
    assert refused.metadata == {"uploadId": "upload", "rejected": "1000", "committedThrough": "2"}
    assert "under another upload_id" in refused.message
    assert "keep_going" in refused.message
    assert sum(len(response.ack.results) for response in received) == 500
    assert received[-1].ack.committed_through == 2
    assert (await upload_state(ingest)).state == v1.Upload.STATE_OPEN
    assert await stored_ids(events) == []


async def test_its_chunks_and_its_end_may_all_be_sent_at_once_and_it_stays_open(
    ingest: IngestServiceAsyncStub,
) -> None:
    chunks = [chunk(number, *bad_events(500)) for number in range(1, 20)]
    refused = await expect_end(ingest, opening(), *chunks, finish(19))
    assert int(refused.metadata["committedThrough"]) < 19
    chunks = [chunk(1, *bad_events(500)), chunk(2, *bad_events(499)), chunk(3, bad_event("last"))]
    for request in (opening(upload_id="short"), *chunks):
        assert request.ByteSize() < limits.MAX_CHUNK_BYTES
    short = RawUpload(ingest)
    await short.send(opening(upload_id="short"), *chunks, finish(3))
    refused = await refusal(short, [])
    assert refused.metadata == {"uploadId": "short", "rejected": "1000", "committedThrough": "3"}


async def test_a_good_event_that_was_sent_too_late_helps_the_next_stream_only(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    chunks = [chunk(1, *bad_events(500)), chunk(2, *bad_events(500)), chunk(3, customer_event("good"))]
    upload = RawUpload(ingest)
    await upload.send(opening(), *chunks, finish(3))
    received: list[Response] = []
    refused = await refusal(upload, received)
    assert (refused.reason, refused.metadata["rejected"]) == ("UPLOAD_ALL_REJECTED", "1000")
    state = await upload_state(ingest)
    assert (received[-1].ack.committed_through, state.state) == (
        state.committed_through,
        v1.Upload.STATE_OPEN,
    )
    again = RawUpload(ingest)
    await again.send(opening(), *chunks, finish(3))
    responses = await again.receive_rest()
    assert responses[-1].finished.upload.tally == v1.Tally(accepted=1, rejected=1000)
    assert await stored_ids(events) == ["good"]


async def test_fewer_rejected_events_than_the_limit_are_only_reported(ingest: IngestServiceAsyncStub) -> None:
    upload = RawUpload(ingest)
    await upload.send(opening(), chunk(1, *bad_events(500)), chunk(2, *bad_events(LIMIT - 501)), finish(2))
    responses = await upload.receive_rest()
    assert kinds(responses) == ["opened", "ack", "finished"]
    assert responses[-1].finished.upload.tally == v1.Tally(rejected=LIMIT - 1)


@pytest.mark.parametrize("outcome", ["accepted", "duplicate", "suppressed"])
async def test_one_event_that_is_not_rejected_lets_it_go_on(
    server: Server, channel: grpc.aio.Channel, ingest: IngestServiceAsyncStub, outcome: str
) -> None:
    if outcome == "duplicate":
        await ingest.RecordEvent(one(customer_event("good")))
    if outcome == "suppressed":
        erase = v1.EraseConsumerRequest(
            account_id="acme", request_id="r", subjects=[v1.Subject(consumer_id="bela")], suppress=True
        )
        await v1.PrivacyServiceStub(channel).EraseConsumer(erase)
    good = customer_event("good")
    if outcome == "suppressed":
        good.consumer_id = "bela"
    upload = RawUpload(ingest)
    await upload.send(
        opening(),
        chunk(1, good, *bad_events(499)),
        *(chunk(number, *bad_events(500)) for number in range(2, 7)),
        finish(6),
    )
    responses = await upload.receive_rest()
    assert responses[-1].finished.upload.tally == v1.Tally(rejected=2999, **{outcome: 1})


async def test_with_keep_going_it_goes_on_to_its_end(ingest: IngestServiceAsyncStub) -> None:
    upload = RawUpload(ingest)
    await upload.send(keep_going(), *(chunk(number, *bad_events(500)) for number in range(1, 7)), finish(6))
    responses = await upload.receive_rest()
    assert responses[-1].finished.upload.tally == v1.Tally(rejected=3000)


async def test_a_resumed_upload_ends_again_at_its_next_rejected_chunk_or_at_its_end(
    ingest: IngestServiceAsyncStub,
) -> None:
    refused = await expect_end(ingest, opening(), chunk(1, *bad_events(500)), chunk(2, *bad_events(500)))
    assert refused.metadata["committedThrough"] == "2"
    refused = await expect_end(ingest, opening(), chunk(3, bad_event("another")))
    assert refused.metadata == {"uploadId": "upload", "rejected": "1001", "committedThrough": "3"}
    again = RawUpload(ingest)
    assert (await again.open()).committed_through == 3
    await again.send(finish(3))
    assert (await refusal(again, [])).reason == "UPLOAD_ALL_REJECTED"
    last = RawUpload(ingest)
    await last.send(keep_going(), finish(3))
    assert kinds(await last.receive_rest()) == ["opened", "finished"]


async def test_a_resumed_upload_goes_on_once_an_event_is_accepted(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    await expect_end(ingest, opening(), chunk(1, *bad_events(500)), chunk(2, *bad_events(500)))
    again = RawUpload(ingest)
    await again.send(opening(), chunk(3, customer_event("good")), chunk(4, *bad_events(500)), finish(4))
    responses = await again.receive_rest()
    assert responses[-1].finished.upload.tally == v1.Tally(accepted=1, rejected=1500)
    assert await stored_ids(events) == ["good"]


# Bytes of a chunk.


def events_of(*sizes: int) -> list[v1.Event]:
    """Events that take about these numbers of bytes."""
    made = customer_events(len(sizes))
    for event, size in zip(made, sizes, strict=True):
        for part in range(0, size, 40_000):
            event.additional_attributes[f"{part}"] = noise(min(40_000, size - part))
    return made


async def test_a_chunk_of_several_events_may_take_as_many_bytes_as_are_told_and_no_more(
    ingest: IngestServiceAsyncStub,
) -> None:
    upload = RawUpload(ingest)
    limit = (await upload.open()).max_chunk_bytes
    sent = chunk(1, *events_of(150 * KIB, 104 * KIB))
    sent.chunk.events[0].source = "s"
    sent.chunk.events[1].additional_attributes["rest"] = "r" * (limit - sent.chunk.ByteSize() - 15)
    sent.chunk.events[0].source += "s" * (limit - sent.chunk.ByteSize())
    assert sent.chunk.ByteSize() == limit
    await upload.send(sent)
    assert (await upload.receive_acks(1))[-1].tally == v1.Tally(accepted=2)
    sent.chunk.sequence = 2
    sent.chunk.events[0].source += "s"
    await upload.send(sent)
    refused = await refusal(upload, [])
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CHUNK_TOO_LARGE")
    assert refused.metadata == {"count": str(limit + 1), "limit": str(limit), "unit": "bytes"}


async def test_a_chunk_of_one_event_may_be_as_large_as_an_event(ingest: IngestServiceAsyncStub) -> None:
    upload = RawUpload(ingest)
    await upload.open()
    await upload.send(chunk(1, *events_of(3 * KIB * KIB)))
    assert (await upload.receive_acks(1))[-1].tally == v1.Tally(accepted=1)


async def test_the_limits_are_told(channel: grpc.aio.Channel) -> None:
    info = await v1.ServerServiceStub(channel).GetServerInfo(v1.GetServerInfoRequest())
    assert info.limits.max_chunk_bytes == 256 * KIB
    assert info.limits.max_rejections_without_success == 1000


@pytest.mark.parametrize("sent", [(), (opening(), chunk(1, customer_event()), chunk(2, customer_event()))])
async def test_what_is_no_message_of_the_contract_ends_a_stream_after_the_acks_that_are_due(
    ingest: IngestServiceAsyncStub, sent: tuple[Request, ...]
) -> None:
    upload = RawUpload(ingest)
    await upload.send(*sent)
    await upload.send_bytes(b"\xff")
    received: list[Response] = []
    refused = await refusal(upload, received)
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert [violation[:2] for violation in refused.violations] == [("", "server.message.malformed")]
    assert not sent or received[-1].ack.committed_through == 2
