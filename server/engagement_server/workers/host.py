"""Serves a log to the workers of this server: their commits share the order and fsyncs of one committer."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from engagement_server.errors import DrainingError, RequestError
from engagement_server.log.encoding import decode_commit
from engagement_server.workers.channel import Kind
from engagement_server.workers.outcomes import encode_applied, encode_outcomes
from engagement_server.workers.remote_log import View, encode_view

if TYPE_CHECKING:
    from collections.abc import Callable

    from engagement_server.log.base import CommitLog
    from engagement_server.log.committer import Committer
    from engagement_server.operations import Applied, Result
    from engagement_server.workers.channel import Channel, Frame

MAX_UNREAD_BYTES = 64 * 1024 * 1024
"""What a worker may leave unread: many times the answers to all that it can ask for at once."""
_VIEW_SECONDS = 1.0

_log = logging.getLogger(__name__)


class LogHost:
    """The side of the process that writes; `log/remote.py` has the other one."""

    def __init__(self, log: CommitLog, committer: Committer) -> None:
        self._log = log
        self._committer = committer
        self._guests: dict[Channel, Callable[[], None]] = {}
        log.subscribe(self._pass_on)
        log.watch_freshness(lambda _: self._tell_view())
        self._task = asyncio.create_task(self._keep_telling(), name="log-host")

    async def serve(self, channel: Channel, *, give_up: Callable[[], None]) -> None:
        """Serves a worker until it closes its end; calls `give_up` on one that does not read."""
        chores: set[asyncio.Task[None]] = set()
        channel.send(Kind.VIEW, self._view())
        self._guests[channel] = give_up
        try:
            while (frame := await channel.receive()) is not None:
                if frame.kind == Kind.COMMIT:
                    await self._commit(channel, frame)
                    continue
                chore = asyncio.create_task(self._do(channel, frame), name="log-host-chore")
                chores.add(chore)
                chore.add_done_callback(chores.discard)
        finally:
            del self._guests[channel]
            for chore in chores:
                chore.cancel()
            if chores:
                await asyncio.wait(chores)
            await channel.close()

    def close(self) -> None:
        """Tells nothing more; the workers are gone."""
        self._task.cancel()

    async def _commit(self, channel: Channel, frame: Frame) -> None:
        """Has operations committed in the order of the frames; while there is no room, none is read."""
        await self._committer.wait_for_room()
        commit = decode_commit(frame.data)
        try:
            outcomes = [self._committer.enqueue(operation) for operation in commit.operations]
        except DrainingError as error:
            refused = encode_outcomes([error] * len(commit.operations))
            channel.send(Kind.ANSWER, refused, number=frame.number)
            return
        gathered = asyncio.gather(*outcomes, return_exceptions=True)
        gathered.add_done_callback(partial(_answer, channel, frame.number))

    async def _do(self, channel: Channel, frame: Frame) -> None:
        """Does what has no place in the order of commits."""
        outcomes: list[Result | RequestError] = []
        try:
            if frame.kind == Kind.CATCH_UP:
                outcomes.append(int(await self._log.catch_up()))
            else:
                await self._log.purge()
        except RequestError as error:
            outcomes.append(error)
        except Exception:
            _log.exception("what a worker asked for failed")
            channel.send(Kind.FAILED, number=frame.number)
            return
        channel.send(Kind.ANSWER, encode_outcomes(outcomes), number=frame.number)

    def _pass_on(self, applied: Applied) -> None:
        """Tells all workers what a commit changed, before the one that asked for it gets its results."""
        self._send_all(Kind.APPLIED, encode_applied(applied))

    def _view(self) -> bytes:
        return encode_view(View(self._log.view_time_ms, self._log.is_current))

    def _tell_view(self) -> None:
        self._send_all(Kind.VIEW, self._view())

    async def _keep_telling(self) -> None:
        while True:
            await asyncio.sleep(_VIEW_SECONDS)
            self._tell_view()

    def _send_all(self, kind: Kind, data: bytes) -> None:
        for channel, give_up in list(self._guests.items()):
            channel.send(kind, data)
            if channel.unread_bytes > MAX_UNREAD_BYTES:
                _log.error("a worker left %d bytes unread", channel.unread_bytes)
                channel.abort()
                give_up()


def _answer(channel: Channel, number: int, gathered: asyncio.Future[list[Result | BaseException]]) -> None:
    """Sends what became of a commit: a result or refusal an operation, or that it failed."""
    outcomes: list[Result | RequestError] = []
    for outcome in gathered.result():
        if isinstance(outcome, BaseException) and not isinstance(outcome, RequestError):
            channel.send(Kind.FAILED, number=number)  # the committer has told the log why
            return
        outcomes.append(outcome)
    channel.send(Kind.ANSWER, encode_outcomes(outcomes), number=number)
