"""Grouping waiting operations into commits: each caller gets its own result, and the queue is bounded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engagement_server.errors import (
    DrainingError,
    EventIdConflictError,
    OverloadedError,
    StoreUnavailableError,
    UploadNotFoundError,
)
from engagement_server.governor.turns import Caller
from engagement_server.log.committer import Committer
from engagement_server.model import Outcome, UploadState
from engagement_server.operations import (
    ChunkCommitted,
    CommitChunk,
    ExpireUploads,
    FinishUpload,
    OpenUpload,
    Operation,
    RecordBatch,
    Recorded,
)
from tests.support.events import batch_of, customer_event, customer_events
from tests.support.gated_log import GatedLog
from tests.support.waiting import deadline


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


def submit(
    committer: Committer, operation: RecordBatch, caller: Caller | None = None
) -> asyncio.Task[Recorded]:
    return asyncio.create_task(committer.submit(operation, returns=Recorded, caller=caller))


async def let_them_wait(*tasks: asyncio.Task[Any]) -> None:  # Any: whatever they wait for
    """Runs tasks as far as they get."""
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


async def settle() -> None:
    """Runs all tasks as far as they get."""
    for _ in range(5):
        await asyncio.sleep(0)


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
    assert sum(sizes) == 10_000
    # Events of this size take about ten microseconds, and the calls of a commit 8 milliseconds.
    assert 500 <= max(sizes) <= 1_000


def events_of(operation: Operation) -> int:
    return len(operation.batch.records) if isinstance(operation, RecordBatch) else 0


def chunk(sequence: int, *event_ids: str, balance: str = "1") -> CommitChunk:
    events = [customer_event(event_id, balance=balance) for event_id in event_ids]
    return CommitChunk("bulk", "upload", "owner", sequence, batch_of(events))


def large_record(*, start: int = 0) -> RecordBatch:
    """About a megabyte that a third of a millisecond would not commit."""
    return record(*(f"{start + number:05}" for number in range(4)), balance="x" * 50_000, is_atomic=False)


GREEDY, MODEST = Caller("greedy", "acme"), Caller("modest", "acme")


async def test_a_caller_that_takes_too_much_room_is_refused_and_no_other_is(
    log: GatedLog, committer: Committer
) -> None:
    tasks: list[asyncio.Task[Recorded]] = []
    await let_them_wait()
    while not any(task.done() for task in tasks):
        tasks.append(submit(committer, large_record(start=4 * len(tasks)), GREEDY))
        await settle()
    with pytest.raises(OverloadedError):
        await tasks[-1]
    modest = submit(committer, record("modest"), MODEST)
    await let_them_wait(modest)
    log.gate.set()
    assert (await modest).verdicts[0].outcome is Outcome.ACCEPTED
    await asyncio.gather(*tasks[:-1])
    assert (await committer.submit(record("a"), returns=Recorded)).verdicts[0].outcome is Outcome.ACCEPTED


async def test_uploads_wait_for_room_and_take_none_of_the_room_for_calls(
    log: GatedLog, committer: Committer
) -> None:
    upload = committer.enqueue(OpenUpload("bulk", "upload", "owner"))[0]
    large = chunk(1, *(f"{number:03}" for number in range(100)), balance="x" * 50_000)
    chunks = [
        asyncio.create_task(committer.enqueue_in_turn(replace(large, sequence=sequence), caller=GREEDY))
        for sequence in range(1, 5)
    ]
    await settle()
    assert [task.done() for task in chunks] == [True, False, False, False]
    call = submit(committer, record("a"), MODEST)
    await let_them_wait(call)
    log.gate.set()
    await asyncio.gather(upload, call)
    for task in chunks:
        assert isinstance(await (await task), ChunkCommitted)


async def test_calls_come_first_and_leave_a_part_of_each_commit_to_uploads(
    log: GatedLog, committer: Committer
) -> None:
    upload = committer.enqueue(OpenUpload("bulk", "upload", "owner"))[0]
    await settle()
    events = [f"c{number}" for number in range(500)]
    chunks = [committer.enqueue(chunk(sequence, *events))[0] for sequence in range(1, 21)]
    calls = [
        submit(committer, RecordBatch("acme", batch_of(customer_events(500, start=500 * number)), False))
        for number in range(20)
    ]
    await let_them_wait(*calls)
    log.gate.set()
    await asyncio.gather(upload, *chunks, *calls)
    kinds = [
        "".join("u" if isinstance(each, CommitChunk) else "c" for each in commit.operations)
        for commit in log.commits[1:]
    ]
    assert all(kind.startswith("c") and "u" in kind for kind in kinds[:3]), kinds
    assert "".join(kinds).count("u") == 20


async def test_connections_take_turns_however_many_accounts_one_names(
    log: GatedLog, committer: Committer
) -> None:
    blocking = submit(committer, record("first"))
    await let_them_wait(blocking)
    crowd = [
        submit(committer, record(f"crowd-{number}"), Caller("crowd", f"account-{number}"))
        for number in range(100)
    ]
    await let_them_wait(*crowd)
    modest = submit(committer, record("modest"), MODEST)
    await let_them_wait(modest)
    log.gate.set()
    await asyncio.gather(blocking, modest, *crowd)
    ids = [
        each.batch.records[0].event_id
        for commit in log.commits
        for each in commit.operations
        if isinstance(each, RecordBatch)
    ]
    assert ids.index("modest") == 2


async def test_removal_comes_last_but_is_not_starved(log: GatedLog, committer: Committer) -> None:
    blocking = submit(committer, record("first"))
    await let_them_wait(blocking)
    steps = [committer.enqueue(ExpireUploads(0))[0] for _ in range(3)]
    done: list[str] = []
    steps[-1].add_done_callback(lambda _: done.append("removal"))

    async def keep_calling() -> None:
        number = 0
        while not done:
            number += 1
            await committer.submit(record(f"call-{number}"), returns=Recorded, caller=MODEST)

    calling = [asyncio.create_task(keep_calling()) for _ in range(3)]
    log.gate.set()
    async with deadline("removal gets its time"):
        await asyncio.gather(blocking, *calling, *steps)
    beside_calls = [
        sum(isinstance(each, ExpireUploads) for each in commit.operations)
        for commit in log.commits
        if any(isinstance(each, RecordBatch) for each in commit.operations)
    ]
    assert max(beside_calls) <= 1


async def test_kinds_of_work_go_apart_where_another_process_merges_them(log: GatedLog) -> None:
    log.takes_lanes_apart = True
    async with deadline("everything was committed"):
        committer = Committer(log)
        upload = committer.enqueue(OpenUpload("bulk", "upload", "owner"))[0]
        call = submit(committer, record("a"))
        await let_them_wait(call)
        log.gate.set()
        await asyncio.gather(upload, call)
        await committer.close()
    assert [len(commit.operations) for commit in log.commits] == [1, 1]


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


async def test_a_log_that_takes_several_commits_at_once_gets_them_when_much_waits(log: GatedLog) -> None:
    log.max_concurrent_commits = 2
    async with deadline("everything was committed"):
        committer = Committer(log)
        first = committer.enqueue(OpenUpload("acme", "first", "owner"))[0]
        await settle()
        small = committer.enqueue(OpenUpload("acme", "second", "owner"))[0]
        await settle()
        assert committer.is_busy
        large = committer.enqueue(
            RecordBatch("acme", batch_of([customer_event("large", balance="x" * 40_000)]), is_atomic=True)
        )[0]
        await settle()
        last = committer.enqueue(OpenUpload("acme", "third", "owner"))[0]
        closing = asyncio.create_task(committer.close())
        await settle()
        log.gate.set()
        await asyncio.gather(first, small, large, last, closing)
    assert [len(commit.operations) for commit in log.commits] == [1, 2, 1]


@pytest.mark.parametrize(("is_current", "level"), [(True, logging.ERROR), (False, logging.WARNING)])
async def test_a_failure_is_an_error_unless_the_node_is_known_to_be_behind(
    log: GatedLog,
    committer: Committer,
    *,
    is_current: bool,
    level: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(GatedLog, "is_current", is_current)
    log.failures_due = 1
    log.gate.set()
    with pytest.raises(StoreUnavailableError):
        await submit(committer, record("a"))
    assert [(each.levelno, each.message) for each in caplog.records] == [
        (level, "a commit of 1 operations failed: the store is not available (disk full)")
    ]
