"""Sets up the log lines of a process, also for libraries, warnings and failures that nobody has handled."""

from __future__ import annotations

import logging
import sys
import threading
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, TextIO

from engagement_server.telemetry.config import JSON, LogLineConfig
from engagement_server.telemetry.flood import WINDOW_SECONDS, Flood
from engagement_server.telemetry.lines import JsonFormatter, TextFormatter

if TYPE_CHECKING:
    import asyncio
    from types import TracebackType

_OWN: Final = "engagement_server"
_log = logging.getLogger(__name__)


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines, and holds back floods of them."""

    def __init__(self, config: LogLineConfig, *, worker: int | None, stream: TextIO | None = None) -> None:
        """Writes to standard error if there is no `stream`. At debug level, nothing is held back."""
        super().__init__(stream)
        is_json = config.log_format == JSON
        self.setFormatter(JsonFormatter(worker=worker) if is_json else TextFormatter(worker=worker))
        self._flood = Flood()
        self._has_limit = config.level > logging.DEBUG
        self._window_end = 0.0
        self._is_waiting = False

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a line, or counts it."""
        if not self._has_limit:
            super().emit(record)
            return
        if not 0 <= self._window_end - record.created <= WINDOW_SECONDS:
            self._begin_second(record.created)
        if self._flood.admits(record):
            super().emit(record)
        elif not self._is_waiting:
            self._is_waiting = True
            waiting = threading.Timer(WINDOW_SECONDS, self._end_wait)
            waiting.daemon = True
            waiting.start()

    def close(self) -> None:
        """Writes what was held back."""
        self.acquire()
        try:
            self._begin_second(0.0)
        finally:
            self.release()
        super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # as its base calls it
        """A line that cannot be written is lost: there is nowhere to say so."""

    def _end_wait(self) -> None:
        """Writes the sums of a second after which nothing more was logged."""
        self.acquire()
        try:
            self._is_waiting = False
            self._begin_second(0.0)
        finally:
            self.release()

    def _begin_second(self, now: float) -> None:
        self._window_end = now + WINDOW_SECONDS
        for record in self._flood.sums():
            Context().run(super().emit, record)  # not with the ids of the call that comes next


def write_lines(config: LogLineConfig, *, worker: int | None = None) -> None:
    """Lets everything that this process logs become lines on standard error; `worker` is its number."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(LineHandler(config, worker=worker))
    # Libraries may log at debug level what they send and receive.
    root.setLevel(max(config.level, logging.INFO))
    logging.getLogger(_OWN).setLevel(config.level)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_thread_failure
    sys.unraisablehook = _log_unraisable


def report_of_loop(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An event loop's exception handler; that of asyncio quotes the exception, and so perhaps a value."""
    error = context.get("exception")
    _log.error("the event loop reports: %s", context.get("message"), exc_info=error)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        _log.critical("the process ends with an exception that nobody has handled", exc_info=error)


def _log_thread_failure(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is not None and not isinstance(failure.exc_value, SystemExit):
        name = failure.thread.name if failure.thread is not None else "unknown"
        _log.error("the thread %s has ended with an exception", name, exc_info=failure.exc_value)


def _log_unraisable(failure: sys.UnraisableHookArgs) -> None:
    _log.error(
        "an exception was ignored: %s", failure.err_msg or "in a finalizer", exc_info=failure.exc_value
    )
