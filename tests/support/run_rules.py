"""The rules of a test run: tests that hang end, and if REQUIRE_ALL is set, a skipped test is a failed one.

pytest-timeout fails a test at its deadline; its tasks are shown then. A test that survives this, because it
swallows the failure or because nothing interrupts it, ends the process with the stacks of all threads.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import sys
import traceback
from collections.abc import Generator
from types import FrameType
from typing import Any, TypeVar

import pytest

_Report = TypeVar("_Report", pytest.TestReport, pytest.CollectReport)
_LAST_RESORT = 2
"""When the process ends, as a multiple of the deadline."""
_stderr = 2


def pytest_configure() -> None:
    """Keeps the real standard error: that of a test is captured, and lost with the process."""
    global _stderr  # noqa: PLW0603 - one for the process, as the timer of faulthandler
    _stderr = os.dup(2)


def pytest_timeout_set_timer(settings: Any) -> None:  # Any: pytest-timeout has no types
    """Sets the last timer beside that of pytest-timeout."""
    faulthandler.dump_traceback_later(settings.timeout * _LAST_RESORT, exit=True, file=_stderr)


def pytest_timeout_cancel_timer() -> None:
    """Ends the last timer with the test."""
    faulthandler.cancel_dump_traceback_later()


def pytest_enter_pdb() -> None:
    """Leaves all the time to a person who debugs."""
    faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Shows where each task waits when a test fails at its deadline."""
    try:
        return (yield)
    except pytest.fail.Exception as failure:
        if "Timeout" in str(failure):
            for task in gc.get_objects():
                if isinstance(task, asyncio.Task) and not task.done():
                    _print_stack(task)
        raise


def _print_stack(task: asyncio.Task[Any]) -> None:  # Any: whatever it would return
    print(f"{task.get_name()} waits:", file=sys.stderr)
    waiting: Any = task.get_coro()  # Any: coroutines, generators and futures, each with its own attributes
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "ag_frame", None)
        if isinstance(frame, FrameType):
            traceback.print_stack(frame, limit=1, file=sys.stderr)
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "ag_await", None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fails a test that skips itself; one that is expected to fail may."""
    return _require_run((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module that skips itself is an error."""
    return _require_run((yield))


def _require_run(report: _Report) -> _Report:
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("REQUIRE_ALL"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but REQUIRE_ALL is set: {report.longrepr}"
    return report
