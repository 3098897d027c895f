"""One worker process from the parent's side, from its start to its exit."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from engagement_server.access.config import ACCESS_OFF
from engagement_server.errors import ConfigurationError
from engagement_server.workers.audit import AuditReceiver
from engagement_server.workers.channel import Channel, Kind
from engagement_server.workers.settings import (
    WorkerSettings,
    encode_certificate,
    encode_services,
    encode_settings,
)

if TYPE_CHECKING:
    from engagement_server.access.audit import Auditor
    from engagement_server.access.watch import AccessWatch
    from engagement_server.config import Config
    from engagement_server.telemetry.config import LogLineConfig
    from engagement_server.transport.served_certificate import Pem
    from engagement_server.workers.counts import SharedCounts
    from engagement_server.workers.quotas import SharedLedger
    from engagement_server.workers.remote_log_server import RemoteLogServer

_MODULE = "engagement_server.workers"
_MASKED_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
MAX_UNREAD_BYTES = 64 * 1024 * 1024
"""Of files of access: more than all of them. A worker that leaves more unread is replaced."""
# Time for a process to exit once it has closed its channels.
_EXIT_SECONDS = 10.0

_log = logging.getLogger(__name__)


class WorkerProcess:
    """A worker. When either process exits, the channels between them are closed."""

    def __init__(  # noqa: PLR0913  # `start` makes all of them
        self,
        number: int,
        process: subprocess.Popen[bytes],
        channels: Sequence[Channel],
        logs: Iterable[RemoteLogServer],
        counts: SharedCounts,
        *,
        quotas: SharedLedger,
        access: AccessWatch | None,
        audit: Auditor | None,
    ) -> None:
        self.pid = process.pid
        self._number = number
        self._process = process
        self._control, *log_channels = channels
        self._listening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failure = ""
        self._counts = counts
        self._quotas = quotas
        self._access = access
        self._audit = None if audit is None else AuditReceiver(audit, self._control)
        self._serving = [
            asyncio.create_task(self._serve(log, channel), name="worker-log")
            for log, channel in zip(logs, log_channels, strict=True)
        ]
        self.end = asyncio.create_task(self._watch(), name="worker")
        """Returns the exit status after the exit, once every operation it has sent is enqueued."""

    @classmethod
    async def start(  # noqa: PLR0913  # all but four are named at the call
        cls,
        number: int,
        config: Config,
        logs: Mapping[int, RemoteLogServer],
        counts: SharedCounts,
        *,
        quotas: SharedLedger,
        lines: LogLineConfig,
        access: AccessWatch | None,
        audit: Auditor | None,
        certificate: Pem | None,
    ) -> Self:
        """Starts a worker with these logs, by partition, which adds to the counts. Raises OSError."""
        ours, theirs = zip(*(socket.socketpair() for _ in range(1 + len(logs))), strict=True)
        try:
            process = _spawn([end.fileno() for end in theirs])
            _, *log_ends = (end.fileno() for end in theirs)
        finally:
            for end in theirs:
                end.close()
        try:
            channels = [await Channel.open(end) for end in ours]
        except BaseException:
            process.kill()
            process.wait()
            raise
        worker = cls(
            number, process, channels, logs.values(), counts, quotas=quotas, access=access, audit=audit
        )
        ends_of_logs = dict(zip(logs, log_ends, strict=True))
        access_config, contents = (ACCESS_OFF, {}) if access is None else (access.config, access.contents)
        settings = WorkerSettings(
            number,
            config,
            ends_of_logs,
            lines,
            access_config,
            contents,
            certificate,
            audit=None if audit is None else audit.settings,
        )
        worker._control.send(Kind.SETTINGS, encode_settings(settings))
        return worker

    async def until_listening(self) -> None:
        """Returns once it accepts calls. Raises ConfigurationError if it exits before."""
        awaited: list[asyncio.Future[Any]] = [self._listening, self.end]  # Any: only which of them is done
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if not self._listening.done():
            raise ConfigurationError(
                self._failure or f"worker {self._number} exited with status {self.end.result()} as it started"
            )

    def report_stalled(self, services: Iterable[str]) -> None:
        """Reports the services whose background jobs are stalled."""
        self._control.send(Kind.STALLED, encode_services(services))

    def hand_access(self, contents: bytes) -> None:
        """Hands encoded contents of files of access over."""
        if self._control.unread_bytes > MAX_UNREAD_BYTES:
            _log.error("worker %d takes no new grants and tokens, killing it", self._number)
            self.kill()
        else:
            self._control.send(Kind.ACCESS, contents)

    def report_stopping(self) -> None:
        """Lets it report that it will stop; it goes on."""
        self._control.send(Kind.LAME_DUCK)

    def send_certificate(self, pem: Pem) -> None:
        """Lets it give new connections this certificate."""
        self._control.send(Kind.CERTIFICATE, encode_certificate(pem))

    def stop(self) -> None:
        """Asks it to end its calls and exit."""
        self._control.send(Kind.STOP)

    def kill(self) -> None:
        """Kills the process."""
        self._process.kill()

    async def _serve(self, log: RemoteLogServer, channel: Channel) -> None:
        try:
            await log.serve(channel, kill=self.kill)
        except Exception:
            _log.exception("cannot serve worker %d, killing it", self._number)
            self.kill()

    async def _watch(self) -> int:
        while (message := await self._control.receive()) is not None:
            if message.kind == Kind.LISTENING and not self._listening.done():
                self._listening.set_result(None)
            elif message.kind == Kind.FAILED:
                self._failure = message.data.decode()
            elif message.kind in (Kind.COUNTED, Kind.ASKED):
                self._counts.take(self._control, message)
            elif message.kind == Kind.QUOTA:
                self._quotas.take(self._control, message)
            elif message.kind == Kind.ACCESS and self._access is not None:
                self._access.look_for_key()
            elif self._audit is not None:
                self._audit.take(message)
        self._quotas.drop(self._control)
        await asyncio.wait(self._serving)
        if self._audit is not None:
            await self._audit.close()
        await self._control.close()
        return await asyncio.to_thread(self._wait)

    def _wait(self) -> int:
        try:
            return self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _spawn(ends: Sequence[int]) -> subprocess.Popen[bytes]:
    """Spawns a process that inherits these file descriptors; the first is its argument."""
    # The process inherits the mask: signals to the whole process group, as Ctrl-C and service managers send
    # them, do not reach it; the parent tells it to stop, and what has changed in files.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _MASKED_SIGNALS)
    try:
        return subprocess.Popen(  # noqa: S603  # no argument comes from outside
            [sys.executable, "-P", "-m", _MODULE, str(ends[0])],
            pass_fds=ends,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
