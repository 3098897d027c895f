"""Watches what runs in the background: failures are logged and counted, and jobs are restarted.

It does not know what the jobs do.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias, TypeVar

from engagement_server.errors import RequestError

T = TypeVar("T")
Job: TypeAlias = Callable[[], Awaitable[None]]
StallCallback: TypeAlias = Callable[[bool], None]

MAX_FAILURES_IN_A_ROW = 5
"""A job that has failed this often in a row has stalled."""
LONG_RUN_SECONDS = 60.0
"""A job that has run for this long has recovered."""
MIN_RESTART_SECONDS = 1.0
"""The pause before the first restart; each further one is twice as long."""
_MAX_RESTART_SECONDS = 300.0

failures: Counter[str] = Counter()
"""How often each job, task and callback of this process has failed, by name."""

_log = logging.getLogger(__name__)


async def supervise(
    name: str,
    job: Job,
    *,
    min_restart_seconds: float | None = None,
    long_run_seconds: float = LONG_RUN_SECONDS,
    on_stall: StallCallback | None = None,
) -> None:
    """Runs a job until it returns. A job that fails is logged, and restarted after ever longer pauses.

    `on_stall` is called with True once the job has stalled, and with False once it has recovered or returned.
    """
    watch = _Watch(name, min_restart_seconds or MIN_RESTART_SECONDS, on_stall)
    while True:
        recovery = asyncio.get_running_loop().call_later(long_run_seconds, watch.recover)
        try:
            await job()
        except Exception as error:  # whatever it is, the job must go on
            pause_seconds = watch.fail(error)
        else:
            watch.recover()
            return
        finally:
            recovery.cancel()
        await asyncio.sleep(pause_seconds)


class _Watch:
    """The failures of one job."""

    def __init__(self, name: str, min_restart_seconds: float, on_stall: StallCallback | None) -> None:
        self._name = name
        self._min_restart_seconds = min_restart_seconds
        self._on_stall = on_stall
        self._in_a_row = 0

    def fail(self, error: Exception) -> float:
        """Logs and counts a failure; returns the pause before the restart."""
        failures[self._name] += 1
        pause_seconds = min(self._min_restart_seconds * 2.0**self._in_a_row, _MAX_RESTART_SECONDS)
        self._in_a_row = min(self._in_a_row + 1, 64)  # so that no power overflows
        if isinstance(error, RequestError):
            _log.error("the job %s is postponed for %.0f s: %s", self._name, pause_seconds, error.fault)
        else:
            _log.error(
                "the job %s failed, %d times so far; it restarts in %.0f s",
                *(self._name, failures[self._name], pause_seconds),
                exc_info=error,
            )
        if self._in_a_row == MAX_FAILURES_IN_A_ROW and self._on_stall is not None:
            self._on_stall(True)  # noqa: FBT003  # as documented
        return pause_seconds

    def recover(self) -> None:
        """Notes that the job runs."""
        if self._in_a_row >= MAX_FAILURES_IN_A_ROW and self._on_stall is not None:
            self._on_stall(False)  # noqa: FBT003  # as documented
        self._in_a_row = 0


class Supervisor:
    """The jobs of one server, and the services that suffer while some of them are stalled."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._stalled: dict[object, str] = {}
        """The service of each stalled job; partitions have jobs of the same names."""
        self._stalled_elsewhere: frozenset[str] = frozenset()
        self._callbacks: list[Callable[[], None]] = []

    @property
    def stalled_services(self) -> frozenset[str]:
        """The services whose jobs are stalled; "" stands for the whole server."""
        return self._stalled_elsewhere.union(self._stalled.values())

    @property
    def stalled_jobs(self) -> int:
        """How many jobs of this process are stalled that a service needs."""
        return len(self._stalled)

    def watch(self, callback: Callable[[], None]) -> None:
        """Registers `callback`, which is called when `stalled_services` may have changed."""
        self._callbacks.append(callback)

    def note_elsewhere(self, services: Iterable[str]) -> None:
        """Notes the services whose jobs are stalled in another process of the server."""
        self._stalled_elsewhere = frozenset(services)
        call_all("supervisor", self._callbacks)

    def start(self, name: str, job: Job, *, service: str | None = None) -> asyncio.Task[None]:
        """Runs a job in the background until it is cancelled; `service` suffers if it stalls."""
        key = object()

        def note(is_stalled: bool) -> None:  # noqa: FBT001  # as `supervise` calls it
            if service is None:
                return
            if is_stalled:
                self._stalled[key] = service
            else:
                self._stalled.pop(key, None)
            call_all(name, self._callbacks)

        task = asyncio.create_task(supervise(name, job, on_stall=note), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def run_in_background(name: str, job: Job) -> asyncio.Task[None]:
    """Runs a job that no caller waits for, once; a failure is logged and counted.

    Cancelled before it begins, the job is not called, so that no coroutine of it is left behind.
    """

    async def run() -> None:
        try:
            await job()
        except Exception:
            failures[name] += 1
            _log.exception("%s failed, %d times so far", name, failures[name])

    return asyncio.create_task(run(), name=name)


def call_all(name: str, callbacks: Iterable[Callable[..., None]], *arguments: object) -> Exception | None:
    """Calls each callback, whatever the others raise; logs and counts it, and returns the first exception."""
    first = None
    for callback in callbacks:
        try:
            callback(*arguments)
        except Exception as error:  # the others must not suffer
            failures[name] += 1
            _log.exception("a callback of %s failed, %d times so far", name, failures[name])
            first = first or error
    return first
