"""What fails in the background is reported, and goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engagement_server.errors import OverloadedError, SubscriberError
from engagement_server.log.committer import Committer
from engagement_server.log.local import LocalLog
from engagement_server.log.writer_thread import prepare_store
from engagement_server.operations import Applied, Commit, Operation, RecordBatch, Recorded
from engagement_server.store.database import DatabaseFile
from engagement_server.store.readers import Readers
from engagement_server.supervision import (
    MAX_FAILURES_IN_A_ROW,
    Supervisor,
    call_all,
    failures,
    run_in_background,
    supervise,
)
from tests.support.events import batch_of, customer_events

DEADLINE_SECONDS = 20


async def test_a_job_that_fails_is_reported_and_restarted(caplog: pytest.LogCaptureFixture) -> None:
    runs = 0

    async def job() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise RuntimeError(f"run {runs}")

    async with asyncio.timeout(DEADLINE_SECONDS):
        await supervise("counting", job, min_restart_seconds=0.001)
    assert runs == 3
    failures = [record for record in caplog.records if "the job counting failed" in record.message]
    assert [str(record.exc_info[1]) for record in failures if record.exc_info] == ["run 1", "run 2"]


async def test_a_job_that_is_cancelled_is_not_restarted() -> None:
    runs = 0
    started = asyncio.Event()

    async def job() -> None:
        nonlocal runs
        runs += 1
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(supervise("waiting", job, min_restart_seconds=0))
    async with asyncio.timeout(DEADLINE_SECONDS):
        await started.wait()
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    assert runs == 1


async def test_a_job_that_keeps_failing_has_stalled_until_it_runs_again() -> None:
    runs = 0
    stalls: asyncio.Queue[bool] = asyncio.Queue()

    async def job() -> None:
        nonlocal runs
        runs += 1
        if runs <= MAX_FAILURES_IN_A_ROW:
            raise RuntimeError("not yet")
        assert stalls.get_nowait()
        assert not await stalls.get()

    async with asyncio.timeout(DEADLINE_SECONDS):
        await supervise(
            "stalling",
            job,
            min_restart_seconds=0.0001,
            long_run_seconds=0.001,
            on_stall=stalls.put_nowait,
        )
    assert failures["stalling"] == MAX_FAILURES_IN_A_ROW
    assert stalls.empty()


async def test_a_job_that_fails_once_in_a_while_has_not_stalled() -> None:
    runs = 0
    stalls: list[bool] = []

    async def job() -> None:
        nonlocal runs
        runs += 1
        has_run_long = asyncio.Event()
        asyncio.get_running_loop().call_later(0.001, has_run_long.set)
        await has_run_long.wait()
        if runs <= 2 * MAX_FAILURES_IN_A_ROW:
            raise RuntimeError("once more")

    async with asyncio.timeout(DEADLINE_SECONDS):
        await supervise("rare", job, min_restart_seconds=0.0001, long_run_seconds=0, on_stall=stalls.append)
    assert stalls == []


async def test_services_suffer_while_a_job_of_theirs_has_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engagement_server.supervision.MIN_RESTART_SECONDS", 0.0001)
    supervisor = Supervisor()
    changed, goes_on = asyncio.Event(), asyncio.Event()
    supervisor.watch(changed.set)

    async def job() -> None:
        if not goes_on.is_set():
            raise RuntimeError("not yet")

    async with asyncio.timeout(DEADLINE_SECONDS):
        task = supervisor.start("job", job, service="some.Service")
        await changed.wait()
        assert supervisor.stalled_services == {"some.Service"}
        goes_on.set()
        await task
    assert supervisor.stalled_services == frozenset()


def test_services_suffer_from_jobs_of_other_processes_as_well() -> None:
    supervisor = Supervisor()
    changes: list[frozenset[str]] = []
    supervisor.watch(lambda: changes.append(supervisor.stalled_services))
    supervisor.note_elsewhere(["some.Service"])
    supervisor.note_elsewhere([])
    assert changes == [{"some.Service"}, set()]


async def test_work_that_no_caller_waits_for_is_reported_when_it_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        raise RuntimeError("its reason")

    before = failures["some-work"]
    async with asyncio.timeout(DEADLINE_SECONDS):
        await run_in_background("some-work", work)
    assert failures["some-work"] == before + 1
    assert "its reason" in caplog.text


async def test_work_that_is_cancelled_before_it_begins_is_not_called() -> None:
    called: list[str] = []

    async def work() -> None:
        called.append("begun")

    def make_work() -> Awaitable[None]:
        called.append("made")
        return work()

    task = run_in_background("some-work", make_work)
    task.cancel()
    await asyncio.wait([task])
    assert not called


def test_a_callback_that_fails_is_reported_and_the_others_are_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    called: list[int] = []
    error = RuntimeError("its reason")

    def fail(_: int) -> None:
        raise error

    assert call_all("some-log", [called.append, fail, called.append], 7) is error
    assert called == [7, 7]
    assert "its reason" in caplog.text
    assert call_all("some-log", [called.append], 8) is None


async def test_a_thread_that_cannot_be_started_refuses_the_read_and_not_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    database = DatabaseFile(tmp_path)
    await prepare_store(database)
    log = LocalLog(database)
    readers = Readers(database, threads=1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for _ in range(2):
            with pytest.raises(OverloadedError):
                await readers.run(lambda reader: reader.account_number("acme"))
    assert await readers.run(lambda reader: reader.account_number("acme")) is None
    readers.close()
    await log.close()
    database.close()


async def test_a_job_whose_thread_cannot_be_started_goes_on_once_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = asyncio.Event()
    start = threading.Thread.start

    def refuse_once(thread: threading.Thread) -> None:
        if not refused.is_set():
            refused.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    ran = threading.Event()

    async def job() -> None:
        with ThreadPoolExecutor(1) as executor:
            await asyncio.get_running_loop().run_in_executor(executor, ran.set)

    monkeypatch.setattr(threading.Thread, "start", refuse_once)
    before = failures["threaded"]
    async with asyncio.timeout(DEADLINE_SECONDS):
        await supervise("threaded", job, min_restart_seconds=0.001)
    assert ran.is_set()
    assert failures["threaded"] == before + 1


async def test_a_subscriber_that_fails_takes_no_commit_with_it_and_fails_the_log(tmp_path: Path) -> None:
    database = DatabaseFile(tmp_path)
    await prepare_store(database)
    log = LocalLog(database)
    seen: list[Applied] = []

    def fail(_: Applied) -> None:
        raise RuntimeError("its reason")

    for callback in (seen.append, fail, seen.append):
        log.subscribe(callback)
    batch = batch_of(customer_events(1))
    (recorded,) = await log.commit(Commit([RecordBatch("acme", batch, is_atomic=True)], 1))
    assert isinstance(recorded, Recorded)
    assert len(seen) == 2
    with pytest.raises(SubscriberError, match="its reason"):
        await log.failure
    await log.close()
    database.close()


async def test_a_callback_of_the_committer_that_fails_takes_no_commit_with_it(tmp_path: Path) -> None:
    database = DatabaseFile(tmp_path)
    await prepare_store(database)
    log = LocalLog(database)
    committer = Committer(log)
    called: list[int] = []

    def fail(operations: Sequence[Operation]) -> None:
        called.append(len(operations))
        raise RuntimeError("its reason")

    committer.subscribe(fail)
    for number in range(3):
        operation = RecordBatch("acme", batch_of(customer_events(1, start=number)), is_atomic=True)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await committer.submit(operation, returns=Recorded)
    assert called == [1, 1, 1]
    await committer.close()
    await log.close()
    database.close()
