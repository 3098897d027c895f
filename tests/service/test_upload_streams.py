"""Upload streams that are lost and resumed, taken over, closed, finished, or under back-pressure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from engagement import v1
from engagement_server.config import Config
from engagement_server.governor.turns import Caller
from engagement_server.log.committer import Committer
from engagement_server.log.local import LocalLog
from engagement_server.model import UploadState
from engagement_server.node import Server
from engagement_server.operations import OpenUpload
from engagement_server.store.database import DatabaseFile, read_cursors
from engagement_server.streams.upload_answers import MAX_UNACKED_CHUNKS
from engagement_server.streams.uploads import Uploads
from tests.support.calls import stored_ids
from tests.support.events import customer_event
from tests.support.raw_upload import (
    RawUpload,
    Request,
    Response,
    chunk,
    finish,
    kinds,
    opening,
)
from tests.support.refused_call import expect_refused
from tests.support.waiting import deadline

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

Closing = Response.Closing
_MAX_CHUNKS = 1_000_000


@asynccontextmanager
async def serving(data_dir: Path, **settings: float) -> AsyncIterator[IngestServiceAsyncStub]:
    """The stub for recording of a server with other settings."""
    server = await Server.start(Config(listen="127.0.0.1:0", data=data_dir, **settings))  # type: ignore[arg-type]  # one is an int
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield v1.IngestServiceStub(channel)
    await server.stop()


async def upload_state(ingest: IngestServiceAsyncStub) -> v1.Upload:
    return (await ingest.GetUpload(v1.GetUploadRequest(account_id="acme", upload_id="upload"))).upload


# Resuming.


async def test_a_lost_stream_goes_on_behind_what_is_committed(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    lost = RawUpload(ingest)
    await lost.send(opening(), chunk(1, customer_event("1")), chunk(2, customer_event("2")))
    await lost.receive()
    await lost.receive_acks(2)
    lost.call.cancel()
    again = RawUpload(ingest)
    assert (await again.open()).committed_through == 2
    await again.send(chunk(3, customer_event("3")), finish(3))
    assert (await again.receive_rest())[-1].finished.upload.tally == v1.Tally(accepted=3)
    assert await stored_ids(events) == ["1", "2", "3"]


async def test_a_half_closed_stream_acks_what_it_has_and_the_upload_stays_open(
    ingest: IngestServiceAsyncStub,
) -> None:
    upload = RawUpload(ingest)
    await upload.send(opening(), *(chunk(n, customer_event(str(n))) for n in range(1, 6)))
    await upload.call.done_writing()
    responses = await upload.receive_rest()
    assert kinds(responses) == ["opened", "ack"]
    assert responses[-1].ack.committed_through == 5
    assert await upload.call.code() is grpc.StatusCode.OK
    state = await upload_state(ingest)
    assert (state.state, state.committed_through) == (v1.Upload.STATE_OPEN, 5)


async def test_a_stream_without_any_message_ends_ok(ingest: IngestServiceAsyncStub) -> None:
    upload = RawUpload(ingest)
    await upload.call.done_writing()
    assert await upload.receive_rest() == []
    assert await upload.call.code() is grpc.StatusCode.OK


async def test_an_older_stream_is_ended_even_while_it_is_silent(ingest: IngestServiceAsyncStub) -> None:
    older = RawUpload(ingest)
    await older.open()
    await RawUpload(ingest).open()
    refused = await expect_refused(older.receive_rest())
    assert (refused.code, refused.reason) == (grpc.StatusCode.ABORTED, "UPLOAD_TAKEN_OVER")


async def test_the_newer_of_two_streams_goes_on(
    ingest: IngestServiceAsyncStub, events: EventServiceAsyncStub
) -> None:
    older, newer = RawUpload(ingest), RawUpload(ingest)
    await older.open()
    await older.send(chunk(1, customer_event("1")))
    await older.receive_acks(1)
    assert (await newer.open()).committed_through == 1
    await older.send(chunk(2, customer_event("never")))
    refused = await expect_refused(older.receive_rest())
    assert (refused.code, refused.reason) == (grpc.StatusCode.ABORTED, "UPLOAD_TAKEN_OVER")
    assert refused.metadata == {"uploadId": "upload"}
    await newer.send(chunk(2, customer_event("2")), finish(2))
    assert (await newer.receive_rest())[-1].finished.upload.committed_through == 2
    assert await stored_ids(events) == ["1", "2"]


async def test_an_upload_of_the_same_name_in_another_account_is_another_one(
    ingest: IngestServiceAsyncStub,
) -> None:
    mine, theirs = RawUpload(ingest), RawUpload(ingest)
    await mine.open()
    await theirs.send(opening(account_id="other"))
    await theirs.receive()
    await mine.send(chunk(1, customer_event("1")), finish(1))
    assert (await mine.receive_rest())[-1].finished.upload.tally.accepted == 1
    theirs.call.cancel()


# Messages that the server sends unasked.


async def test_a_silent_server_still_acks_at_every_heartbeat(tmp_path: Path) -> None:
    async with serving(tmp_path, heartbeat_seconds=0.05) as ingest:
        upload = RawUpload(ingest)
        assert (await upload.open()).heartbeat_interval.ToMilliseconds() == 50
        for _ in range(3):
            assert (await upload.receive()).ack == Response.Ack(tally=v1.Tally())
        await upload.send(chunk(1, customer_event("1")))
        last = (await upload.receive_acks(1))[-1]
        assert (await upload.receive()).ack == last


async def test_a_stream_that_is_too_old_is_asked_to_open_again(tmp_path: Path) -> None:
    async with serving(tmp_path, max_stream_age_seconds=0.1) as ingest:
        upload = RawUpload(ingest)
        await upload.open()
        closing = (await upload.receive()).closing
        assert closing.reason == Closing.REASON_MAX_AGE
        assert closing.reconnect_delay.ToMilliseconds() > 0
        await upload.send(chunk(1, customer_event("on its way")))
        await upload.call.done_writing()
        assert [each.ack.committed_through for each in await upload.receive_rest()] == [1]
        assert await upload.call.code() is grpc.StatusCode.OK
        assert (await RawUpload(ingest).open()).committed_through == 1


async def test_a_stopping_server_acks_what_was_sent_and_the_next_one_goes_on(tmp_path: Path) -> None:
    server = await Server.start(Config(listen="127.0.0.1:0", data=tmp_path))
    async with grpc.aio.insecure_channel(server.address) as channel:
        ingest = v1.IngestServiceStub(channel)
        upload, idle = RawUpload(ingest), RawUpload(ingest)
        await upload.open()
        await idle.send(opening(upload_id="idle"))
        await idle.receive()
        stopping = asyncio.create_task(server.stop())
        assert (await upload.receive()).closing.reason == Closing.REASON_DRAINING
        assert (await idle.receive()).closing.reason == Closing.REASON_DRAINING
        await upload.send(chunk(1, customer_event("1")))
        for each in (upload, idle):
            await each.call.done_writing()
        assert [each.ack.committed_through for each in await upload.receive_rest()] == [1]
        assert await idle.receive_rest() == []
        await stopping
    async with serving(tmp_path) as ingest:
        again = RawUpload(ingest)
        assert (await again.open()).committed_through == 1
        await again.send(chunk(2, customer_event("2")), finish(2))
        assert (await again.receive_rest())[-1].finished.upload.tally == v1.Tally(accepted=2)


# Without a transport: the server's side alone, over a real log.


class Bare:
    """The parts that uploads need."""

    def __init__(self, database: DatabaseFile) -> None:
        self.log = LocalLog(database)
        self.committer = Committer(self.log)
        with closing(database.open_reader()) as reader:
            self._cursors = read_cursors(reader)

    def uploads(self, *, max_age_seconds: float) -> Uploads:
        return Uploads(
            log=self.log,
            committer=self.committer,
            cursors=self._cursors,
            heartbeat_seconds=60,
            max_age_seconds=max_age_seconds,
        )


@pytest.fixture
async def bare(tmp_path: Path) -> AsyncIterator[Bare]:
    database = DatabaseFile(tmp_path)
    parts = Bare(database)
    log, committer = parts.log, parts.committer
    yield parts
    await committer.close()
    await log.close()
    database.close()


class Producer:
    """A client that is always ahead of the server; counts the messages that the server took."""

    def __init__(self, requests: Iterable[Request]) -> None:
        self._requests = requests
        self.taken = 0

    async def messages(self) -> AsyncIterator[Request]:
        for request in self._requests:
            self.taken += 1
            yield request
            await asyncio.sleep(0)


async def test_no_more_chunks_are_taken_than_may_be_unacked(bare: Bare) -> None:
    uploads = bare.uploads(max_age_seconds=60)
    chunks = [chunk(n, customer_event(str(n))) for n in range(1, 101)]
    producer = Producer([*chunks, finish(100)])
    is_blocked, may_send = asyncio.Event(), asyncio.Event()
    sent: list[Response] = []

    async def send(response: Response) -> None:
        if response.HasField("ack"):
            is_blocked.set()
            await may_send.wait()
        sent.append(response)

    serving_stream = asyncio.create_task(
        uploads.serve(opening().open, producer.messages(), send, caller=Caller("peer", "acme"))
    )
    async with deadline("the upload went on"):
        await is_blocked.wait()
        for _ in range(20):  # after these commits the server would have taken more
            await bare.committer.submit(OpenUpload("acme", "other", "nobody"), returns=UploadState)
        assert producer.taken == MAX_UNACKED_CHUNKS
        may_send.set()
        await serving_stream
    assert sent[-1].finished.upload.committed_through == 100


async def test_a_client_that_ignores_closing_is_ended_ok_with_all_that_is_stored_acked(
    bare: Bare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engagement_server.streams.upload.GRACE_SECONDS", 0.1)
    uploads = bare.uploads(max_age_seconds=0.1)
    producer = Producer(chunk(n) for n in range(1, _MAX_CHUNKS))
    sent: list[Response] = []

    async def send(response: Response) -> None:
        sent.append(response)

    async with deadline("the stream was ended"):
        await uploads.serve(opening().open, producer.messages(), send, caller=Caller("peer", "acme"))
    assert [kind for kind in kinds(sent) if kind != "ack"] == ["opened", "closing"]
    state = await bare.committer.submit(OpenUpload("acme", "upload", "next"), returns=UploadState)
    assert sent[-1].ack.committed_through == state.committed_through


# With a transport.


async def test_a_client_that_reads_nothing_is_held_back_and_loses_nothing(server: Server) -> None:
    chunks, rejected = 30, 100
    requests = [
        chunk(n, customer_event(f"{n}"), *(long_winded_event(f"{n} {i}") for i in range(rejected)))
        for n in range(1, chunks + 1)
    ]
    small_window = [
        ("grpc.compression_enabled_algorithms_bitset", 1),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 65_536),
    ]
    async with grpc.aio.insecure_channel(server.address, options=small_window) as channel:
        ingest = v1.IngestServiceStub(channel)
        upload = RawUpload(ingest)
        await upload.open()
        sending = asyncio.create_task(upload.send(*requests, finish(chunks)))
        committed = await wait_until_it_stalls(ingest)
        assert committed <= 2 * MAX_UNACKED_CHUNKS
        responses = await upload.receive_rest()
        await sending
    assert responses[-1].finished.upload.tally == v1.Tally(accepted=chunks, rejected=chunks * rejected)
    assert sum(len(each.ack.results) for each in responses) == chunks * rejected


def long_winded_event(event_id: str) -> v1.Event:
    """A bad event with the longest possible result."""
    event = customer_event(event_id)
    event.additional_attributes.update({f"{number}" + "long key" * 30: "\0" for number in range(8)})
    return event


async def wait_until_it_stalls(ingest: IngestServiceAsyncStub) -> int:
    """How far the upload is committed once it has stopped moving."""
    committed, unmoved_polls = 0, 0
    async with deadline("the upload stopped moving"):
        while not committed or unmoved_polls < 200:
            now = (await upload_state(ingest)).committed_through
            unmoved_polls = unmoved_polls + 1 if now == committed else 0
            committed = now
    return committed
