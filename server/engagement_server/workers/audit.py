"""The audit log of workers: their lines go to the parent, which writes those of all."""

from __future__ import annotations

import asyncio
import itertools
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from engagement_server.access.audit import audit_unavailable
from engagement_server.access.audit_lines import SUMMED, Line
from engagement_server.access.audit_sums import Sums
from engagement_server.errors import StoreUnavailableError
from engagement_server.metrics import catalogue
from engagement_server.supervision import run_in_background
from engagement_server.workers.channel import Kind

if TYPE_CHECKING:
    from engagement_server.access.audit import Auditor, AuditSettings
    from engagement_server.metrics.measures import Measures
    from engagement_server.workers.channel import Channel, Message

SEND_SECONDS: Final = 0.25
"""A worker that is killed loses the lines that it has noted since: at most for this long."""
MAX_LINES: Final = 10_000
"""Lines that wait for the parent; those beyond are lost."""
MAX_UNREAD_BYTES: Final = 4 * 1024 * 1024
"""In the channel; while there are more, lines wait."""
_FAILED: Final = b"failed"

_encoder = msgspec.msgpack.Encoder()
_line_decoder = msgspec.msgpack.Decoder(Line)
_lines_decoder = msgspec.msgpack.Decoder(list[Line])


class RemoteAudit:
    """Implements `Auditor` in a worker."""

    problem = ""
    """The parent tells."""

    def __init__(self, channel: Channel, settings: AuditSettings, *, measures: Measures) -> None:
        self.settings = settings
        self._channel = channel
        self._lines: list[Line] = []
        self._sums = Sums(self._add)
        self._lost = measures.count(catalogue.AUDIT_LOST)
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[None]] = {}

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
        if line.kind not in self.settings.kinds:
            return
        number = next(self._numbers)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._channel.send(Kind.AUDIT_RECORD, _encoder.encode(line), number=number)
            await waiting
        finally:
            del self._waiting[number]

    def take(self, message: Message) -> None:
        """Takes an answer of the parent."""
        waiting = self._waiting.get(message.number)
        if waiting is None or waiting.done():  # its caller was cancelled
            return
        if message.data:
            waiting.set_exception(audit_unavailable())
        else:
            waiting.set_result(None)

    async def send_periodically(self) -> None:
        """Sends what was noted, again and again."""
        while True:
            await asyncio.sleep(SEND_SECONDS)
            self.send()

    def send(self, *, is_last: bool = False) -> None:
        """Sends what was noted, while the parent reads."""
        self._sums.flush(is_last=is_last)
        if self._lines and self._channel.unread_bytes < MAX_UNREAD_BYTES:
            lines, self._lines = self._lines, []
            self._channel.send(Kind.AUDIT_NOTED, _encoder.encode(lines))

    def _add(self, line: Line) -> None:
        if len(self._lines) < MAX_LINES:
            self._lines.append(line)
        else:
            self._lost.value += line.count


class AuditReceiver:
    """Takes the lines of one worker, in the parent."""

    def __init__(self, auditor: Auditor, channel: Channel) -> None:
        self._auditor = auditor
        self._channel = channel
        self._recording: set[asyncio.Task[None]] = set()

    def take(self, message: Message) -> None:
        """Takes a message of the worker."""
        if message.kind == Kind.AUDIT_NOTED:
            for line in _lines_decoder.decode(message.data):
                self._auditor.note(line)
        elif message.kind == Kind.AUDIT_RECORD:
            recording = run_in_background("record-audit", partial(self._record, message))
            self._recording.add(recording)
            recording.add_done_callback(self._recording.discard)

    async def close(self) -> None:
        """Returns once all is written that was to be recorded."""
        if self._recording:
            await asyncio.wait(self._recording)

    async def _record(self, message: Message) -> None:
        answer = _FAILED
        try:
            await self._auditor.record(_line_decoder.decode(message.data))
            answer = b""
        except StoreUnavailableError:
            pass  # the worker tells its caller
        finally:
            self._channel.send(Kind.AUDIT_RECORD, answer, number=message.number)
