"""When an erasure is complete, without a network."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from engagement import v1
from engagement_server.jobs.erasures import Erasures
from engagement_server.log.committer import Committer
from engagement_server.log.local import LocalLog
from engagement_server.model import Subject
from engagement_server.operations import BeginErasure, RecordBatch, Recorded
from engagement_server.store.database import DatabaseFile
from engagement_server.store.readers import Readers
from tests.support.events import batch_of, customer_events
from tests.support.waiting import deadline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_BEGIN = BeginErasure(
    account_id="acme",
    request_id="request",
    erasure_id="erasure",
    subjects=[Subject(v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, "ada")],
    suppress=False,
)


class Bench:
    """The parts of a server that an erasure needs, and the moments at which it settles."""

    def __init__(self, data_dir: Path) -> None:
        self._database = DatabaseFile(data_dir)
        self.log = LocalLog(self._database)
        self.readers = Readers(self._database, threads=1)
        self.committer = Committer(self.log)
        self.erasures = Erasures(committer=self.committer, readers=self.readers, log=self.log)
        self.goes_on = asyncio.Event()
        self.settling: asyncio.Queue[int] = asyncio.Queue()
        """How many events were left whenever the log began to settle."""
        self.log.watch_settling(self._settle)

    async def _settle(self) -> None:
        bounds = await self.readers.run(lambda reader: reader.bounds("acme"))
        assert bounds is not None
        rows = await self.readers.run(
            lambda reader: reader.scan(after=0, through=bounds.last_position, max_bytes=1_000_000)
        )
        self.settling.put_nowait(len(rows.rows))
        await self.goes_on.wait()

    async def close(self) -> None:
        await self.erasures.stop()
        await self.committer.close()
        self.readers.close()
        await self.log.close()
        self._database.close()


@asynccontextmanager
async def _opened(data_dir: Path) -> AsyncIterator[Bench]:
    bench = Bench(data_dir)
    try:
        async with deadline("the erasure went on"):
            yield bench
    finally:
        await bench.close()


async def test_an_erasure_is_complete_only_after_the_log_has_settled(tmp_path: Path) -> None:
    async with _opened(tmp_path) as bench:
        batch = batch_of(customer_events(50))
        await bench.committer.submit(RecordBatch("acme", batch, is_atomic=True), returns=Recorded)
        erasing = asyncio.create_task(bench.erasures.erase(_BEGIN))
        assert await bench.settling.get() == 0
        state = await bench.readers.run(lambda reader: reader.erasures.find("acme", "erasure"))
        assert (state.erased_events, state.complete_time_ms) == (50, None)
        bench.goes_on.set()
        assert (await erasing).complete_time_ms is not None


async def test_an_erasure_that_is_repeated_settles_this_node_before_it_is_answered(tmp_path: Path) -> None:
    async with _opened(tmp_path) as bench:
        bench.goes_on.set()
        batch = batch_of(customer_events(1))
        await bench.committer.submit(RecordBatch("acme", batch, is_atomic=True), returns=Recorded)
        completed = await bench.erasures.erase(_BEGIN)
        await bench.settling.get()
        bench.goes_on.clear()
        again = asyncio.create_task(bench.erasures.erase(_BEGIN))
        await bench.settling.get()
        assert not again.done()
        bench.goes_on.set()
        assert await again == completed
