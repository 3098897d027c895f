"""Upload streams message by message: acked chunks are stored, and every end says how to resume."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import grpc
import pytest

from engagement import v1
from tests.support.calls import DUPLICATE, REJECTED, one, stored, stored_ids
from tests.support.events import bad_event, customer_event, customer_events, very_bad_event
from tests.support.raw_upload import RawUpload, Request, Response, chunk, finish, kinds, opening
from tests.support.refused_call import expect_refused

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub


def get_upload(*, page_size: int = 0, page_token: str = "", upload_id: str = "upload") -> v1.GetUploadRequest:
    return v1.GetUploadRequest(
        account_id="acme", upload_id=upload_id, page_size=page_size, page_token=page_token
    )


def results_of(acks: Iterable[Response.Ack]) -> list[tuple[int, int, v1.Outcome]]:
    """Chunk, index and outcome of all results."""
    return [
        (each.chunk_sequence, each.result.index, each.result.outcome) for ack in acks for each in ack.results
    ]


# Chunks and acks.


async def test_an_upload_is_opened_with_the_limits_of_its_stream(ingest: IngestServiceAsyncStub) -> None:
    opened = await RawUpload(ingest).open()
    assert (opened.committed_through, opened.max_chunk_events, opened.max_unacked_chunks) == (0, 500, 8)
    assert opened.max_chunk_bytes == 256 * 1024
    assert opened.heartbeat_interval.ToSeconds() == 15


async def test_a_chunk_is_readable_when_it_is_acked(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    upload = RawUpload(ingest)
    await upload.open()
    for sequence in range(1, 6):
        await upload.send(chunk(sequence, customer_event(f"{sequence}")))
        (ack,) = await upload.receive_acks(sequence)
        assert (ack.committed_through, ack.tally, len(ack.results)) == (
            sequence,
            v1.Tally(accepted=sequence),
            0,
        )
        assert (await stored_ids(events))[-1] == str(sequence)


async def test_chunks_may_be_sent_before_the_upload_is_opened_and_acks_cover_several(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    upload = RawUpload(ingest)
    sent = customer_events(60)
    await upload.send(opening(), *(chunk(n + 1, *sent[3 * n : 3 * n + 3]) for n in range(20)), finish(20))
    responses = await upload.receive_rest()
    assert kinds(responses) == ["opened", "ack", "finished"]
    through = [each.ack.committed_through for each in responses[1:-1]]
    assert through == sorted(set(through))
    assert await stored_ids(events) == [event.event_id for event in sent]
    finished = responses[-1].finished.upload
    assert (finished.state, finished.committed_through) == (v1.Upload.STATE_FINISHED, 20)
    assert finished.tally == v1.Tally(accepted=60)


async def test_bad_events_are_told_in_the_ack_and_the_stream_goes_on(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    upload = RawUpload(ingest)
    await upload.open()
    await upload.send(
        chunk(1, customer_event("a"), bad_event("b"), customer_event("a"), customer_event("a", role="x"))
    )
    (ack,) = await upload.receive_acks(1)
    assert results_of([ack]) == [(1, 1, REJECTED), (1, 2, DUPLICATE), (1, 3, REJECTED)]
    assert ack.results[0].result.error.violations[0].field == "customer_info.last_payment_date.month"
    assert ack.results[1].result.cursor == (await stored(events))[0].cursor
    assert ack.results[2].result.error.reason == v1.ErrorReason.ERROR_REASON_EVENT_ID_CONFLICT
    await upload.send(chunk(2, customer_event("c")))
    (ack,) = await upload.receive_acks(2)
    assert ack.tally == v1.Tally(accepted=2, duplicate=1, rejected=2)
    assert not ack.results
    assert await stored_ids(events) == ["a", "c"]


async def test_a_chunk_that_is_sent_again_repeats_its_results_and_is_not_processed(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    upload = RawUpload(ingest)
    await upload.open()
    await upload.send(chunk(1, customer_event("a"), bad_event("b")), chunk(2, customer_event("c")))
    before = (await upload.receive_acks(2))[-1]
    await upload.send(chunk(1, customer_event("a"), bad_event("b")), chunk(3, customer_event("d")))
    acks = await upload.receive_acks(3)
    assert results_of(acks) == [(1, 1, REJECTED)]
    assert {ack.committed_through for ack in acks} <= {2, 3}
    assert acks[-1].tally.accepted == before.tally.accepted + 1
    assert await stored_ids(events) == ["a", "c", "d"]


async def test_an_empty_chunk_counts_too(ingest: IngestServiceAsyncStub) -> None:
    upload = RawUpload(ingest)
    await upload.open()
    await upload.send(chunk(1), finish(1))
    assert (await upload.receive_rest())[-1].finished.upload.committed_through == 1


async def test_results_too_large_for_one_ack_are_split_and_cover_no_chunk_too_early(
    ingest: IngestServiceAsyncStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engagement_server.streams.upload._MAX_ACK_BYTES", 5_000)
    upload = RawUpload(ingest)
    await upload.send(
        opening(),
        *(chunk(n, *(very_bad_event(f"{n} {i}") for i in range(5))) for n in range(1, 7)),
        finish(6),
    )
    responses = await upload.receive_rest()
    acks = [each.ack for each in responses if each.HasField("ack")]
    told: list[tuple[int, int]] = []
    for ack in acks:
        told += [(each.chunk_sequence, each.result.index) for each in ack.results]
        assert told[-1] >= (ack.committed_through, 4) or not ack.committed_through
        assert ack.tally.rejected == 5 * ack.committed_through
        assert ack.ByteSize() < 2 * 5_000
    assert told == [(n, i) for n in range(1, 7) for i in range(5)]
    assert len(acks) > 6


async def test_the_largest_results_of_a_chunk_can_be_received(ingest: IngestServiceAsyncStub) -> None:
    upload = RawUpload(ingest)
    await upload.open()
    events = customer_events(500)
    for event in events:
        event.event_id += "\U0001f600" * 40
        event.additional_attributes["\U0001f600" * 80] = "\0"
    await upload.send(chunk(1, *events))
    acks = await upload.receive_acks(1)
    assert len(results_of(acks)) == 500
    assert max(ack.ByteSize() for ack in acks) < 2 * 1024 * 1024


# Streams that are refused.


async def test_a_gap_ends_the_stream_and_earlier_chunks_stand(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub, caplog: pytest.LogCaptureFixture
) -> None:
    upload = RawUpload(ingest)
    await upload.send(opening(), *(chunk(n, customer_event(str(n))) for n in (1, 3, 4, 5)))
    refused = await expect_refused(upload.receive_rest())
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SEQUENCE_GAP")
    assert refused.metadata == {"uploadId": "upload", "sequence": "3", "expected": "2"}
    assert await stored_ids(events) == ["1"]
    again = RawUpload(ingest)
    assert (await again.open()).committed_through == 1
    await again.send(chunk(2, customer_event("2")), finish(1))
    refused = await expect_refused(again.receive_rest())
    assert refused.metadata == {"uploadId": "upload", "sequence": "1", "expected": "3"}
    assert await stored_ids(events) == ["1", "2"]
    assert caplog.records == []


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (Request(), "message"),
        (chunk(1, customer_event()), "open"),
        (finish(0), "open"),
        (opening(account_id="a/b"), "open.account_id"),
        (opening(upload_id=""), "open.upload_id"),
        (opening(upload_id="u" * 129), "open.upload_id"),
        (opening(upload_id="\0"), "open.upload_id"),
    ],
)
async def test_a_stream_starts_with_a_good_opening(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub, request_: Request, field: str
) -> None:
    upload = RawUpload(ingest)
    await upload.send(request_)
    refused = await expect_refused(upload.receive_rest())
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert refused.fields == [field]
    assert await stored(events) == []


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (opening(), "open"),
        (Request(), "message"),
        (chunk(0), "chunk.sequence"),
        (finish(-1), "finish.last_sequence"),
    ],
)
async def test_a_bad_message_ends_the_stream_behind_the_acks_that_are_due(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub, request_: Request, field: str
) -> None:
    upload = RawUpload(ingest)
    await upload.send(opening(), chunk(1, customer_event("a")), request_)
    assert (await upload.receive()).HasField("opened")
    (ack,) = await upload.receive_acks(1)
    assert ack.tally == v1.Tally(accepted=1)
    refused = await expect_refused(upload.receive_rest())
    assert (refused.reason, refused.fields) == ("FIELD_INVALID", [field])
    assert await stored_ids(events) == ["a"]


async def test_a_chunk_has_at_most_500_events_and_8_mib(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    too_large = customer_event("large", balance="x" * (8 * 1024 * 1024))
    for request, unit in ((chunk(2, *customer_events(501)), "events"), (chunk(2, too_large), "bytes")):
        upload = RawUpload(ingest)
        await upload.send(opening(), chunk(1, customer_event("a")), request)
        refused = await expect_refused(upload.receive_rest())
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CHUNK_TOO_LARGE")
        assert refused.metadata["unit"] == unit
    assert await stored_ids(events) == ["a"]
    upload = RawUpload(ingest)
    await upload.send(opening(), chunk(2, *customer_events(500)), finish(2))
    assert (await upload.receive_rest())[-1].finished.upload.tally.accepted == 501


async def test_bytes_that_are_no_message_end_the_stream_with_a_reason(
    channel: grpc.aio.Channel, ingest: IngestServiceAsyncStub
) -> None:
    method = "/engagement.v1.IngestService/UploadEvents"
    call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(method)()
    await call.write(opening().SerializeToString())
    await call.write(chunk(1, customer_event("a")).SerializeToString())
    await call.read()
    await call.read()
    await call.write(b"\xff\xff")
    refused = await expect_refused(call.read())
    assert (refused.reason, refused.fields) == ("FIELD_INVALID", [""])
    assert (await ingest.GetUpload(get_upload())).upload.state == v1.Upload.STATE_OPEN


# Reading uploads.


async def test_rejections_are_read_in_pages(ingest: IngestServiceAsyncStub) -> None:
    upload = RawUpload(ingest)
    await upload.send(
        opening(),
        chunk(1, customer_event("a"), bad_event("b"), customer_event("a"), bad_event("c")),
        chunk(2, customer_event("d")),
        chunk(3, bad_event("e"), bad_event("f"), bad_event("g")),
        finish(3),
    )
    await upload.receive_rest()
    read: list[tuple[int, int, str]] = []
    token = ""
    for _ in range(3):
        page = await ingest.GetUpload(get_upload(page_size=2, page_token=token))
        read += [(each.chunk_sequence, each.result.index, each.result.event_id) for each in page.rejections]
        assert page.upload.tally == v1.Tally(accepted=2, duplicate=1, rejected=5)
        assert (page.upload.state, page.upload.committed_through) == (v1.Upload.STATE_FINISHED, 3)
        assert page.upload.create_time.ToNanoseconds() <= page.upload.update_time.ToNanoseconds()
        token = page.next_page_token
    assert read == [(1, 1, "b"), (1, 3, "c"), (3, 0, "e"), (3, 1, "f"), (3, 2, "g")]
    assert token == ""
    whole = await ingest.GetUpload(get_upload(page_size=100_000))
    assert (len(whole.rejections), whole.next_page_token) == (5, "")
    assert whole.rejections[0].result.error.violations[0].rule == "int32.gte_lte"


async def test_a_page_token_belongs_to_one_upload(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    for upload_id in ("upload", "other"):
        upload = RawUpload(ingest)
        await upload.send(opening(upload_id=upload_id), chunk(1, bad_event("a"), bad_event("b")), finish(1))
        await upload.receive_rest()
    token = (await ingest.GetUpload(get_upload(page_size=1))).next_page_token
    for misuse in (get_upload(page_token=token, upload_id="other"), get_upload(page_token=token[:-1])):
        refused = await expect_refused(ingest.GetUpload(misuse))
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_MISMATCH")
    listing = v1.ListEventsRequest(account_id="acme", page_token=token)
    assert (await expect_refused(events.ListEvents(listing))).reason == "PAGE_TOKEN_MISMATCH"
    refused = await expect_refused(ingest.GetUpload(get_upload(page_size=-1)))
    assert refused.fields == ["page_size"]


async def test_an_unknown_upload_is_not_found(ingest: IngestServiceAsyncStub) -> None:
    await RawUpload(ingest).open()
    for request in (
        get_upload(upload_id="other"),
        v1.GetUploadRequest(account_id="other", upload_id="upload"),
    ):
        refused = await expect_refused(ingest.GetUpload(request))
        assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND")
        assert refused.metadata == {"uploadId": request.upload_id}


async def test_uploads_and_calls_share_the_ids_of_an_account(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    await ingest.RecordEvent(one(customer_event("a")))
    upload = RawUpload(ingest)
    await upload.send(opening(), chunk(1, customer_event("a"), customer_event("b")), finish(1))
    finished = (await upload.receive_rest())[-1].finished
    assert finished.upload.tally == v1.Tally(accepted=1, duplicate=1)
    assert (await ingest.RecordEvent(one(customer_event("b")))).result.outcome == DUPLICATE
    assert await stored_ids(events) == ["a", "b"]
