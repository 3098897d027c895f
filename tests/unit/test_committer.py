"""Grouping waiting operations into commits: each caller gets its own result, and the queue is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engagement_server.errors import (
    DrainingError,
    EventIdConflictError,
    OverloadedError,
    RequestError,
    StoreUnavailableError,
    UploadNotFoundError,
)
from engagement_server.log.committer import MAX_WAITING_BYTES, Committer
from engagement_server.log.local import LocalLog
from engagement_server.model import Outcome, UploadState
from engagement_server.operations import (
    Commit,
    FinishUpload,
    OpenUpload,
    Operation,
    RecordBatch,
    Recorded,
    Result,
)
from engagement_server.store.database import DatabaseFile
from tests.support.events import batch_of, customer_event, customer_events
from tests.support.waiting import deadline


class GatedLog(LocalLog):
    """A local log whose commits wait at a gate; remembers them."""

    def __init__(self, data_dir: Path) -> None:
        self._database = DatabaseFile(data_dir)
        super().__init__(self._database)
        self.gate = asyncio.Event()
        self.failures_due = 0
        self.commits: list[Commit] = []

    async def commit(self, commit: Commit) -> list[Result | RequestError]:
        await self.gate.wait()
        self.commits.append(commit)
        if self.failures_due:
            self.failures_due -= 1
            raise StoreUnavailableError("disk full")
        return await super().commit(commit)

    async def close(self) -> None:
        await super().close()
        self._database.close()


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[GatedLog]:
    gated = GatedLog(tmp_path)
    yield gated
    await gated.close()


@pytest.fixture
async def committer(log: GatedLog) -> AsyncIterator[Committer]:
    running = Committer(log)
    yield running
    log.gate.set()
    await running.close()


def record(*event_ids: str, balance: str = "1", is_atomic: bool = True) -> RecordBatch:
    events = [customer_event(event_id, balance=balance) for event_id in event_ids]
    return RecordBatch("acme", batch_of(events), is_atomic)


def submit(committer: Committer, operation: RecordBatch) -> asyncio.Task[Recorded]:
    return asyncio.create_task(committer.submit(operation, returns=Recorded))


async def let_them_wait(*tasks: asyncio.Task[Any]) -> None:  # Any: whatever they wait for
    """Runs tasks as far as they get."""
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


async def test_what_waits_is_committed_together_in_order(log: GatedLog, committer: Committer) -> None:
    tasks = [submit(committer, record(f"{number:02}")) for number in range(50)]
    await let_them_wait(*tasks)
    log.gate.set()
    recorded = await asyncio.gather(*tasks)
    assert [verdict.event_id for each in recorded for verdict in each.verdicts] == [
        f"{number:02}" for number in range(50)
    ]
    positions = [verdict.position for each in recorded for verdict in each.verdicts]
    assert positions == sorted(set(positions))
    assert len(log.commits) == 1


async def test_each_caller_gets_its_own_error(log: GatedLog, committer: Committer) -> None:
    good, conflicting = submit(committer, record("a")), submit(committer, record("a", balance="2"))
    unknown = asyncio.create_task(
        committer.submit(FinishUpload("acme", "nobody's", "me", 0), returns=UploadState)
    )
    log.gate.set()
    assert (await good).verdicts[0].outcome is Outcome.ACCEPTED
    with pytest.raises(EventIdConflictError):
        await conflicting
    with pytest.raises(UploadNotFoundError):
        await unknown
    assert len(log.commits) == 1


async def test_a_caller_that_goes_away_takes_nothing_back(log: GatedLog, committer: Committer) -> None:
    impatient, patient = submit(committer, record("a")), submit(committer, record("b"))
    await let_them_wait(impatient, patient)
    impatient.cancel()
    log.gate.set()
    await patient
    assert impatient.cancelled()
    again = await committer.submit(record("a"), returns=Recorded)
    assert again.verdicts[0].outcome is Outcome.DUPLICATE


async def test_a_failing_log_is_told_to_every_caller_of_the_commit_and_to_no_other(
    log: GatedLog, committer: Committer
) -> None:
    log.failures_due = 1
    tasks = [submit(committer, record(name)) for name in "abc"]
    await let_them_wait(*tasks)
    log.gate.set()
    for task in tasks:
        with pytest.raises(StoreUnavailableError):
            await task
    again = await committer.submit(record("a"), returns=Recorded)
    assert again.verdicts[0].outcome is Outcome.ACCEPTED


async def test_a_commit_is_bounded_however_much_waits(log: GatedLog, committer: Committer) -> None:
    tasks = [
        submit(committer, RecordBatch("acme", batch_of(customer_events(500, start=500 * number)), False))
        for number in range(20)
    ]
    await let_them_wait(*tasks)
    log.gate.set()
    await asyncio.gather(*tasks)
    sizes = [sum(map(events_of, commit.operations)) for commit in log.commits]
    assert (sum(sizes), max(sizes)) == (10_000, 4_000)


def events_of(operation: Operation) -> int:
    return len(operation.batch.records) if isinstance(operation, RecordBatch) else 0


async def test_more_waiting_work_than_allowed_is_refused_until_there_is_room(
    log: GatedLog, committer: Committer
) -> None:
    large = record(*(f"{number:03}" for number in range(100)), balance="x" * 50_000, is_atomic=False)
    tasks: list[asyncio.Task[Recorded]] = []
    while len(tasks) * large.batch.size_bytes <= MAX_WAITING_BYTES:
        tasks.append(submit(committer, large))
        await let_them_wait(*tasks)
    # The first is in flight, so one more fits.
    tasks.append(submit(committer, large))
    await let_them_wait(*tasks)
    room = asyncio.create_task(committer.wait_for_room())
    with pytest.raises(OverloadedError):
        await committer.submit(record("a"), returns=Recorded)
    await let_them_wait(room)
    log.gate.set()
    await room
    await asyncio.gather(*tasks)
    assert (await committer.submit(record("a"), returns=Recorded)).verdicts[0].outcome is Outcome.ACCEPTED


async def test_closing_commits_what_waits_and_refuses_what_comes(log: GatedLog, committer: Committer) -> None:
    waiting = submit(committer, record("a"))
    await let_them_wait(waiting)
    closing = asyncio.create_task(committer.close())
    await asyncio.sleep(0)
    with pytest.raises(DrainingError):
        await committer.submit(record("b"), returns=Recorded)
    log.gate.set()
    await closing
    assert (await waiting).verdicts[0].outcome is Outcome.ACCEPTED


async def settle() -> None:
    """Runs all tasks as far as they get."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_log_that_takes_several_commits_at_once_gets_them_when_much_waits(log: GatedLog) -> None:
    log.max_concurrent_commits = 2
    async with deadline("everything was committed"):
        committer = Committer(log)
        first = committer.enqueue(OpenUpload("acme", "first", "owner"))
        await settle()
        small = committer.enqueue(OpenUpload("acme", "second", "owner"))
        await settle()
        assert committer.is_busy
        large = committer.enqueue(
            RecordBatch("acme", batch_of([customer_event("large", balance="x" * 40_000)]), is_atomic=True)
        )
        await settle()
        last = committer.enqueue(OpenUpload("acme", "third", "owner"))
        closing = asyncio.create_task(committer.close())
        await settle()
        log.gate.set()
        await asyncio.gather(first, small, large, last, closing)
    assert [len(commit.operations) for commit in log.commits] == [1, 2, 1]
