"""What a stopping server refuses, and what it does not wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from engagement import v1
from engagement_server.cursor import Cursors
from engagement_server.errors import DrainingError, RequestError
from engagement_server.governor.turns import Caller
from engagement_server.log.committer import Committer
from engagement_server.log.local import LocalLog
from engagement_server.log.writer_thread import prepare_store
from engagement_server.store.database import DatabaseFile
from engagement_server.store.reader import Reader
from engagement_server.store.readers import Readers
from engagement_server.streams.uploads import Uploads
from tests.support.waiting import deadline


class Store(NamedTuple):
    database: DatabaseFile
    log: LocalLog


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    database = DatabaseFile(tmp_path)
    await prepare_store(database)
    log = LocalLog(database)
    yield Store(database, log)
    await log.close()
    database.close()


async def test_an_upload_that_comes_while_the_server_stops_is_refused(store: Store) -> None:
    committer = Committer(store.log)
    uploads = Uploads(
        log=store.log,
        committer=committer,
        cursors=Cursors(epoch=1, key=b""),
        heartbeat_seconds=60,
        max_age_seconds=60,
    )
    uploads.drain()
    received: list[v1.UploadEventsResponse] = []

    async def send(message: v1.UploadEventsResponse) -> None:
        received.append(message)

    async def incoming() -> AsyncIterator[v1.UploadEventsRequest]:
        await asyncio.Event().wait()
        yield v1.UploadEventsRequest()

    opening = v1.UploadEventsRequest.Open(account_id="acme", upload_id="upload")
    async with deadline("the upload was refused"):
        with pytest.raises(DrainingError):
            await uploads.serve(opening, incoming(), send, caller=Caller("peer", "acme"))
    assert received == []
    await committer.close()


async def test_reads_that_run_and_wait_do_not_hold_up_a_stop(store: Store) -> None:
    readers = Readers(store.database, threads=1)
    has_begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def read_for_ever(reader: Reader) -> None:
        while True:
            reader.entities("acme", 1)
            loop.call_soon_threadsafe(has_begun.set)

    reads = [asyncio.create_task(readers.run(read_for_ever)) for _ in range(3)]
    async with deadline("the reads began"):
        await has_begun.wait()
    async with deadline("the readers closed"):
        await asyncio.to_thread(readers.close)
        running, *waiting = await asyncio.gather(*reads, return_exceptions=True)
    assert isinstance(running, RequestError)
    assert [type(each) for each in waiting] == [asyncio.CancelledError] * 2
