"""One worker as the process that writes sees it, from its start to its end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from engagement_server.faults import ConfigurationError
from engagement_server.workers.channel import Channel, Kind
from engagement_server.workers.settings import WorkerSettings, encode_settings

if TYPE_CHECKING:
    from engagement_server.config import Config
    from engagement_server.workers.host import LogHost

_MODULE = "engagement_server.workers.worker"
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# How long a process may take to be gone once it has let go of its channels.
_EXIT_SECONDS = 10.0

_log = logging.getLogger(__name__)


class WorkerProcess:
    """A process that takes calls; whatever ends, it or this one, ends the channels between them."""

    def __init__(self, number: int, process: subprocess.Popen[bytes], channels: Sequence[Channel]) -> None:
        self._number = number
        self._process = process
        self._control, *self._log_channels = channels
        self._listening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failure = ""

    @classmethod
    async def start(cls, number: int, config: Config, hosts: Mapping[int, LogHost]) -> Self:
        """Starts a worker that has the logs of the hosts. Raises OSError."""
        ours, theirs = zip(*(socket.socketpair() for _ in range(1 + len(hosts))), strict=True)
        try:
            process = _spawn([end.fileno() for end in theirs])
            _, *log_ends = (end.fileno() for end in theirs)
        finally:
            for end in theirs:
                end.close()
        try:
            worker = cls(number, process, [await Channel.open(end) for end in ours])
        except BaseException:
            process.kill()
            process.wait()
            raise
        settings = WorkerSettings(number, config, dict(zip(hosts, log_ends, strict=True)))
        worker._begin(settings, list(hosts.values()))
        return worker

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    async def until_listening(self) -> None:
        """Returns once it takes calls. Raises ConfigurationError where it ends before."""
        awaited: list[asyncio.Future[Any]] = [self._listening, self.end]  # Any: only which of them counts
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if not self._listening.done():
            raise ConfigurationError(
                self._failure or f"worker {self._number} ended with status {self.end.result()} as it started"
            )

    def stop(self) -> None:
        """Asks it to end its calls and itself."""
        self._control.send(Kind.STOP)

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()

    def _begin(self, settings: WorkerSettings, hosts: Sequence[LogHost]) -> None:
        self._control.send(Kind.SETTINGS, encode_settings(settings))
        self._serving = [
            asyncio.create_task(self._serve(host, channel), name="log-host-worker")
            for host, channel in zip(hosts, self._log_channels, strict=True)
        ]
        self.end = asyncio.create_task(self._watch(), name="worker")
        """Done with its exit status once it is gone, and all that it had sent is in the order of commits."""

    async def _serve(self, host: LogHost, channel: Channel) -> None:
        try:
            await host.serve(channel, give_up=self.kill)
        except Exception:
            _log.exception("worker %d cannot be served", self._number)
            self.kill()

    async def _watch(self) -> int:
        while (frame := await self._control.receive()) is not None:
            if frame.kind == Kind.LISTENING and not self._listening.done():
                self._listening.set_result(None)
            elif frame.kind == Kind.FAILED:
                self._failure = frame.data.decode()
        await asyncio.wait(self._serving)
        await self._control.close()
        return await asyncio.to_thread(self._wait)

    def _wait(self) -> int:
        try:
            return self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _spawn(ends: Sequence[int]) -> subprocess.Popen[bytes]:
    """A process with these file descriptors, the first of which it is told of."""
    # It inherits the mask, so that signals to the whole process group, such as those of Ctrl-C and of service
    # managers, leave it alone: this process says when it is to stop.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        return subprocess.Popen(  # noqa: S603  # nothing of it comes from outside
            [sys.executable, "-P", "-m", _MODULE, str(ends[0])],
            pass_fds=ends,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
