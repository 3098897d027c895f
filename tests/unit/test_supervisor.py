"""A background job that fails is reported and restarted; one that returns is done."""

from __future__ import annotations

import asyncio

import pytest

from engagement_server.jobs.supervisor import supervise

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
