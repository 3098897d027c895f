"""Uploads wait for room, and leave nothing if their streams end before they get it."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from engagement import v1
from engagement_server.errors import DrainingError
from engagement_server.governor.turns import Caller
from engagement_server.log.committer import Committer
from engagement_server.operations import AbandonUpload, CommitChunk, OpenUpload
from engagement_server.store.database import read_cursors
from engagement_server.streams.uploads import Uploads
from tests.support.events import batch_of, customer_events
from tests.support.gated_log import GatedLog
from tests.support.waiting import deadline, eventually

CALLER = Caller("peer", "acme")


class Bench:
    """Uploads over a log that a test holds back."""

    def __init__(self, data_dir: Path) -> None:
        self.log = GatedLog(data_dir)
        self.committer = Committer(self.log, max_upload_bytes=10_000)
        with closing(self.log.database.open_reader()) as reader:
            self._uploads = Uploads(
                log=self.log,
                committer=self.committer,
                cursors=read_cursors(reader),
                heartbeat_seconds=60,
                max_age_seconds=60,
            )
        self.sent: list[v1.UploadEventsResponse] = []

    async def fill(self) -> None:
        """Takes all room for uploads, as a bulk upload does."""
        await self.committer.enqueue_in_turn(OpenUpload("acme", "bulk", "owner"), caller=CALLER)
        await self.settle()
        for sequence in range(1, 20):
            batch = batch_of(customer_events(2))
            self.committer.enqueue(CommitChunk("acme", "bulk", "owner", sequence, batch), caller=CALLER)

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    def open(self, upload_id: str) -> asyncio.Task[None]:
        """Opens a stream whose client sends nothing more."""

        async def requests() -> AsyncIterator[v1.UploadEventsRequest]:
            return
            yield

        async def send(message: v1.UploadEventsResponse) -> None:
            self.sent.append(message)

        opening = v1.UploadEventsRequest.Open(account_id="acme", upload_id=upload_id)
        return asyncio.create_task(self._uploads.serve(opening, requests(), send, caller=CALLER))

    async def operations_on(self, *upload_ids: str) -> list[str]:
        """The kinds of operations on some uploads, once all that waits is committed."""
        self.log.gate.set()
        async with deadline("all that waits is committed"):
            await eventually(lambda: not self.committer.is_busy, "nothing waits")
        return [
            type(each).__name__
            for commit in self.log.commits
            for each in commit.operations
            if isinstance(each, OpenUpload | AbandonUpload) and each.upload_id in upload_ids
        ]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.log.gate.set()
    await bench.committer.close()
    await bench.log.close()


class Owner(str):
    """A text that can be looked for once it should be gone."""


async def test_an_upload_that_goes_away_leaves_nothing_of_what_waits_for_room(bench: Bench) -> None:
    await bench.fill()
    owners: list[weakref.ref[Owner]] = []
    enqueued: list[int] = []

    async def send(sequence: int) -> None:
        owner = Owner("owner")
        owners.append(weakref.ref(owner))
        await bench.committer.enqueue_in_turn(
            CommitChunk("acme", "bulk", owner, sequence, batch_of(customer_events(2))),
            caller=CALLER,
            on_enqueued=partial(enqueued.append, sequence),
        )

    kept = asyncio.create_task(send(20))
    gone = [asyncio.create_task(send(sequence)) for sequence in range(21, 25)]
    await bench.settle()
    while gone:
        gone[-1].cancel()
        await asyncio.wait([gone.pop()])
    gc.collect()
    assert [owner() for owner in owners] == ["owner", None, None, None, None]
    assert enqueued == []
    bench.log.gate.set()
    async with deadline("the chunk is enqueued"):
        await kept
    assert enqueued == [20]


async def test_an_upload_that_goes_away_as_it_is_enqueued_knows_it(bench: Bench) -> None:
    await bench.fill()

    def go_away() -> None:
        leaving.cancel()

    leaving = asyncio.create_task(
        bench.committer.enqueue_in_turn(
            OpenUpload("acme", "upload", "owner"), caller=CALLER, on_enqueued=go_away
        )
    )
    await bench.settle()
    assert not leaving.done()
    assert await bench.operations_on("upload") == ["OpenUpload"]
    assert leaving.cancelled()


async def test_an_opening_waits_until_there_is_room(bench: Bench) -> None:
    await bench.fill()
    stream = bench.open("upload")
    await bench.settle()
    assert not stream.done()
    bench.log.gate.set()
    async with deadline("the stream ended"):
        await stream
    assert await bench.operations_on("upload") == ["OpenUpload", "AbandonUpload"]
    assert [message.WhichOneof("message") for message in bench.sent] == ["opened"]


async def test_streams_that_end_before_there_is_room_add_no_operation(bench: Bench) -> None:
    await bench.fill()
    streams = {f"upload-{number}": bench.open(f"upload-{number}") for number in range(100)}
    await bench.settle()
    for stream in streams.values():
        stream.cancel()
    await asyncio.wait(streams.values())
    assert await bench.operations_on(*streams) == []


async def test_a_stream_that_ends_before_its_opening_is_committed_leaves_no_upload(bench: Bench) -> None:
    stream = bench.open("upload")
    await bench.settle()
    stream.cancel()
    await asyncio.wait([stream])
    assert await bench.operations_on("upload") == ["OpenUpload", "AbandonUpload"]


async def test_an_opening_that_comes_while_the_server_stops_adds_no_operation(bench: Bench) -> None:
    bench.log.gate.set()
    await bench.committer.close()
    with pytest.raises(DrainingError):
        await bench.open("upload")
    assert await bench.operations_on("upload") == []
