"""The end of an upload: what a finished one still takes, and ids that do not depend on how it was cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from engagement import v1
from tests.support.calls import stored_ids
from tests.support.events import customer_event
from tests.support.raw_upload import (
    RawUpload,
    Response,
    chunk,
    finish,
    opening,
)
from tests.support.refused_call import expect_refused

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

Closing = Response.Closing
_MAX_CHUNKS = 1_000_000


async def upload_state(ingest: IngestServiceAsyncStub) -> v1.Upload:
    return (await ingest.GetUpload(v1.GetUploadRequest(account_id="acme", upload_id="upload"))).upload


# Resuming.


async def test_a_finished_upload_says_the_same_again_and_takes_nothing_more(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    upload = RawUpload(ingest)
    await upload.send(opening(), chunk(1, customer_event("1")), finish(1), finish(1))
    finished = (await upload.receive_rest())[-1].finished
    assert finished.upload.state == v1.Upload.STATE_FINISHED
    for more in ([], [finish(1)], [chunk(1, customer_event("1")), finish(1)]):
        again = RawUpload(ingest)
        await again.send(opening(), *more)
        await again.call.done_writing()
        opened, last = await again.receive_rest()
        assert opened.opened.committed_through == 1
        assert last.finished == finished
    assert await upload_state(ingest) == finished.upload
    assert await stored_ids(events) == ["1"]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (chunk(2, customer_event("2")), "UPLOAD_FINISHED"),
        (chunk(1, customer_event("2")), "CHUNK_CHANGED"),
        (chunk(1), "CHUNK_CHANGED"),
        (finish(5), "FINISH_MISMATCH"),
    ],
)
@pytest.mark.parametrize("is_reopened", [False, True])
async def test_a_finished_upload_refuses_everything_else_and_stays_finished(
    ingest: IngestServiceAsyncStub,
    events: EventServiceAsyncStub,
    more: v1.UploadEventsRequest,
    reason: str,
    is_reopened: bool,
) -> None:
    upload = RawUpload(ingest)
    await upload.send(opening(), chunk(1, customer_event("1")), finish(1))
    if is_reopened:
        await upload.call.done_writing()
        await upload.receive_rest()
        upload = RawUpload(ingest)
        await upload.send(opening())
    while not (await upload.receive()).HasField("finished"):
        pass
    await upload.send(more)
    refused = await expect_refused(upload.receive_rest())
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, reason)
    assert (await upload_state(ingest)).state == v1.Upload.STATE_FINISHED
    assert await stored_ids(events) == ["1"]


async def test_events_without_ids_are_stored_once_however_they_are_cut_and_repeated(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    without = [v1.Event(consumer_id="c", customer_info=v1.CustomerInfo(balance=str(n % 2))) for n in range(4)]
    first = RawUpload(ingest)
    await first.send(opening(), chunk(1, *without[:3]), chunk(2, *without[3:]))
    await first.call.done_writing()
    await first.receive_rest()
    ids = await stored_ids(events)
    assert len(set(ids)) == 4, "an event that is repeated at another position is another event"
    again = RawUpload(ingest)
    await again.send(opening(), chunk(2, *without[3:]), finish(2))
    assert (await again.receive_rest())[-1].finished.upload.tally == v1.Tally(accepted=4)
    other = RawUpload(ingest)
    await other.send(opening(upload_id="other"), chunk(1, *without), finish(1))
    assert (await other.receive_rest())[-1].finished.upload.tally == v1.Tally(accepted=4)
    assert len(set(await stored_ids(events))) == 8


async def test_an_upload_without_chunks_may_be_finished(ingest: IngestServiceAsyncStub) -> None:
    upload = RawUpload(ingest)
    await upload.send(opening(), finish(0))
    assert (await upload.receive_rest())[-1].finished.upload.tally == v1.Tally()
