"""The audit log of a server, in the process that writes it: takes lines, and brings them to disk.

Lines that must be on disk at once share a write with all that wait; others wait for a second at most. While
the folder cannot be written, lines wait within limits, and those beyond are counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from engagement_server.access.audit import AuditSettings, audit_unavailable
from engagement_server.access.audit_folder import AuditFolder
from engagement_server.access.audit_kinds import Kind
from engagement_server.access.audit_lines import SUMMED, Event, Line, encode_line, now_text
from engagement_server.access.audit_subjects import key_id, read_key
from engagement_server.access.audit_sums import Sums
from engagement_server.errors import ConfigurationError
from engagement_server.metrics import catalogue
from engagement_server.supervision import call_all, supervise

if TYPE_CHECKING:
    from pathlib import Path

    from engagement_server.access.audit_config import AuditConfig
    from engagement_server.metrics.measures import Measures

WRITE_SECONDS: Final = 0.5
"""How long lines wait, unless somebody waits for them."""
RECORD_SECONDS: Final = 10.0
"""How long somebody waits for a line; a disk that takes longer does not answer."""
MAX_WAITING_BYTES: Final = 8 * 1024 * 1024
"""Lines of a kind that wait."""
REPORT_SECONDS: Final = 60.0
"""Between two log lines about the same problem."""

_log = logging.getLogger(__name__)


class _Waiting(NamedTuple):
    """A line that is not on disk yet."""

    data: bytes
    written: asyncio.Future[None] | None
    """For whoever waits for it."""


class _Queue:
    """The lines of a kind that wait."""

    def __init__(self) -> None:
        self.lines: deque[_Waiting] = deque()
        self.size_bytes = 0
        self.lost = 0
        """Lines that there was no room for, since the last one that was written."""

    def add(self, waiting: _Waiting) -> bool:
        """Adds a line, if there is room."""
        if self.size_bytes + len(waiting.data) > MAX_WAITING_BYTES:
            return False
        self.lines.append(waiting)
        self.size_bytes += len(waiting.data)
        return True

    def take(self) -> list[_Waiting]:
        """Takes all of them."""
        taken = [*self.lines]
        self.lines.clear()
        self.size_bytes = 0
        return taken

    def put_back(self, lines: list[_Waiting]) -> None:
        """Puts lines back that were taken first."""
        self.lines.extendleft(reversed(lines))
        self.size_bytes += sum(len(each.data) for each in lines)


class AuditLog:
    """Implements `Auditor` over a folder."""

    def __init__(self, folder: AuditFolder, settings: AuditSettings, *, measures: Measures) -> None:
        """Takes over the folder."""
        self.settings = settings
        self._folder = folder
        self._queues = {kind: _Queue() for kind in settings.kinds}
        self._sums = Sums(self._add)
        self._lost = measures.count(catalogue.AUDIT_LOST)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="audit")
        self._failures: dict[str, str] = {}
        """Why lines cannot be written, by their kind."""
        self._writing_since: float | None = None
        self._reported = float("-inf")
        self._wake = asyncio.Event()
        self._is_closing = False
        self._must_reopen = False
        self._callbacks: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def open(cls, config: AuditConfig, *, data: Path, measures: Measures) -> Self:
        """Opens the audit log of a server with this data folder. Raises ConfigurationError."""
        if config.audit is None or config.audit_key is None:
            raise ConfigurationError("the audit log needs a folder and a key; give --audit and --audit-key")
        folder = config.audit.resolve()
        if config.audit_key.resolve().is_relative_to(folder):
            raise ConfigurationError(
                "--audit-key is in the folder of --audit, so that whoever reads the log could find out whom"
                " it names; keep it elsewhere"
            )
        if folder == data.resolve():
            raise ConfigurationError("--audit must be another folder than --data")
        settings = AuditSettings(config.kinds, read_key(config.audit_key))
        opened = AuditFolder(
            folder, config.kinds, max_file_bytes=config.max_file_bytes, max_files=config.audit_files
        )
        return cls(opened, settings, measures=measures)

    @property
    def problem(self) -> str:
        """See `Auditor.problem`."""
        since = self._writing_since
        if since is not None and time.monotonic() - since > RECORD_SECONDS:
            return f"{self._folder.path} does not answer"
        lost = sum(queue.lost for queue in self._queues.values())
        suffix = f"; {lost:,} lines are lost" if lost else ""
        return next((f"{self._folder.path}: {each}{suffix}" for each in self._failures.values()), "")

    def begin(self, *, version: str) -> None:
        """Writes from now on, beginning with a line about the start."""
        key = key_id(self.settings.key)
        self.note(Line(time=now_text(), kind=Kind.ACCESS, event=Event.START, version=version, key_id=key))
        self._task = asyncio.create_task(supervise("audit", self._run), name="audit")

    def before_writing(self, callback: Callable[[], None]) -> None:
        """Registers `callback`, which is called about once a second, and may note lines."""
        self._callbacks.append(callback)

    def reopen(self) -> None:
        """Opens the files again by their names."""
        self._must_reopen = True
        self._wake.set()

    def note(self, line: Line) -> None:
        """See `Auditor.note`."""
        if line.kind not in self.settings.kinds:
            return
        if line.event in SUMMED:
            self._sums.add(line)
        else:
            self._add(line)

    async def record(self, line: Line) -> None:
        """See `Auditor.record`."""
        queue = self._queues.get(line.kind)
        if queue is None:
            return
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._is_closing or not queue.add(_Waiting(encode_line(line), written)):
            raise audit_unavailable()
        self._wake.set()
        try:
            async with asyncio.timeout(RECORD_SECONDS):
                await written
        except TimeoutError as error:
            raise audit_unavailable() from error

    async def close(self) -> None:
        """Writes what waits."""
        if self._is_closing:
            return
        self._is_closing = True
        self._sums.flush(is_last=True)
        self._add(Line(time=now_text(), kind=Kind.ACCESS, event=Event.STOP))
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=RECORD_SECONDS)
            self._task.cancel()
        if left := sum(len(queue.lines) for queue in self._queues.values()):
            _log.error("%d lines of the audit log are lost: %s", left, self.problem)
        self._executor.submit(self._folder.close)
        self._executor.shutdown(wait=False)

    def _add(self, line: Line) -> None:
        queue = self._queues.get(line.kind)
        if queue is not None and not queue.add(_Waiting(encode_line(line), None)):
            queue.lost += line.count
            self._lost.value += line.count

    async def _run(self) -> None:
        while True:
            is_last = self._is_closing
            self._wake.clear()
            call_all("audit", self._callbacks)
            self._sums.flush()
            if self._must_reopen:
                self._must_reopen = False
                await self._in_thread(self._folder.reopen)
            for kind, queue in self._queues.items():
                if queue.lines:
                    await self._write(kind, queue)
            if is_last:
                return
            try:
                async with asyncio.timeout(WRITE_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _write(self, kind: str, queue: _Queue) -> None:
        """Writes all lines of a kind that wait."""
        waiting = queue.take()
        if queue.lost:
            gap = Line(time=now_text(), kind=kind, event=Event.LOST, count=queue.lost)
            waiting.append(_Waiting(encode_line(gap), None))
        lines = [each.data for each in waiting]
        done, failure = 0, ""

        def append() -> None:
            nonlocal done, failure
            try:
                for written in self._folder.append(kind, lines):
                    done = written
            except OSError as error:
                failure = error.strerror or str(error)

        await self._in_thread(append)
        if not failure:
            self._failures.pop(kind, None)
            queue.lost = 0
        else:
            self._fail(kind, failure)
            if queue.lost:
                waiting.pop()
        queue.put_back(_settled(waiting, done))

    async def _in_thread(self, work: Callable[[], None]) -> None:
        self._writing_since = time.monotonic()
        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._writing_since = None

    def _fail(self, kind: str, failure: str) -> None:
        """Notes why lines cannot be written, and logs it once a minute."""
        self._failures[kind] = failure
        now = time.monotonic()
        if now - self._reported >= REPORT_SECONDS:
            self._reported = now
            _log.error(
                "the audit log cannot be written: %s; nothing can be erased until it can", self.problem
            )


def _settled(waiting: Sequence[_Waiting], done: int) -> list[_Waiting]:
    """Tells those who wait that the first lines are written, and the rest is not; returns what can wait."""
    rest = []
    for number, each in enumerate(waiting):
        if each.written is None:
            rest += [each] if number >= done else []
        elif not each.written.done():
            if number < done:
                each.written.set_result(None)
            else:
                each.written.set_exception(audit_unavailable())
    return rest
