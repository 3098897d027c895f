"""When a client tries again, and after how long."""

from __future__ import annotations

import asyncio
import json

import grpc
import pytest

from engagement.errors import (
    DeadlineError,
    EngagementError,
    InternalError,
    InvalidArgumentError,
    QuotaExceededError,
    TakenOverError,
    UnavailableError,
)
from engagement.retry import SERVICE_CONFIG, Outage, is_transient, keeping_cancellation

INTERNAL = grpc.StatusCode.INTERNAL
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UnavailableError("gone", code=grpc.StatusCode.UNAVAILABLE), True),
        (UnavailableError("silent"), True),
        (DeadlineError("late"), True),
        (QuotaExceededError("wait", code=EXHAUSTED, retry_delay_seconds=2.0), True),
        (QuotaExceededError("message too large", code=EXHAUSTED), False),
        (InternalError("stream reset", code=INTERNAL), True),
        (InternalError("a defect", code=INTERNAL, reason="INTERNAL"), False),
        (EngagementError("reset by a proxy", code=grpc.StatusCode.CANCELLED), True),
        (EngagementError("no such method", code=grpc.StatusCode.UNIMPLEMENTED), False),
        (InvalidArgumentError("bad", code=grpc.StatusCode.INVALID_ARGUMENT), False),
        (TakenOverError("newer stream", code=grpc.StatusCode.ABORTED), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error: EngagementError, expected: bool) -> None:
    assert is_transient(error) is expected


def test_calls_are_retried_and_streams_that_resume_are_not() -> None:
    everything, streams = json.loads(SERVICE_CONFIG)["methodConfig"]
    assert everything["name"] == [{}]
    assert everything["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert [each["method"] for each in streams["name"]] == ["UploadEvents", "SubscribeEvents"]
    assert "retryPolicy" not in streams


def test_waits_grow_to_a_limit() -> None:
    outage = Outage(max_seconds=1000)
    delays = [outage.delay_after(UnavailableError("gone")) for _ in range(40)]
    assert 0.05 <= delays[0] <= 0.1
    assert delays[3] > delays[0]
    assert 2.5 <= delays[-1] <= 5.0


def test_the_server_may_ask_for_a_longer_wait() -> None:
    outage = Outage(max_seconds=1000)
    assert outage.delay_after(UnavailableError("full", retry_delay_seconds=30.0)) == 30.0


def test_an_outage_that_lasts_too_long_raises_its_error() -> None:
    outage = Outage(max_seconds=0.0)
    error = UnavailableError("gone")
    with pytest.raises(UnavailableError) as caught:
        outage.delay_after(error)
    assert caught.value is error


def test_progress_ends_an_outage() -> None:
    outage = Outage(max_seconds=1000)
    for _ in range(20):
        outage.delay_after(UnavailableError("gone"))
    outage.end()
    assert outage.delay_after(UnavailableError("gone")) <= 0.1


class _CallEndedError(Exception):
    """The error of a call that ended as its task was cancelled."""


async def _end_as_cancelled() -> None:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        raise _CallEndedError from None


async def test_an_error_does_not_replace_the_cancellation_of_its_task() -> None:
    async def call() -> None:
        async with asyncio.timeout(0.001):
            with keeping_cancellation():
                await _end_as_cancelled()

    with pytest.raises(TimeoutError):
        await call()


async def test_an_error_remains_one_if_nothing_but_an_inner_timeout_cancelled() -> None:
    with pytest.raises(_CallEndedError), keeping_cancellation():
        async with asyncio.timeout(0.001):
            await _end_as_cancelled()


async def test_a_task_that_was_cancelled_earlier_still_gets_errors() -> None:
    async def clean_up() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            with keeping_cancellation():
                raise _CallEndedError

    task = asyncio.create_task(clean_up())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(_CallEndedError):
        await task
