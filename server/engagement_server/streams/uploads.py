"""The server's side of all upload streams: starts and ends them, and tells them who owns their uploads."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from engagement import v1
from engagement.rules import Violation
from engagement_server.errors import DrainingError, FieldInvalidError, OverloadedError
from engagement_server.governor.turns import Room
from engagement_server.metrics.rejections import Rejections
from engagement_server.producer import ANYBODY
from engagement_server.streams.closing import OnClose, closed_at_age, never_closed
from engagement_server.streams.upload import Send, UploadSession
from engagement_server.validation import require_valid

if TYPE_CHECKING:
    from engagement_server.cursor import Cursors
    from engagement_server.governor.turns import Caller
    from engagement_server.log.base import CommitLog
    from engagement_server.log.committer import Committer
    from engagement_server.operations import Applied
    from engagement_server.producer import Producer
    from engagement_server.streams.allowance import Allowance

Closing = v1.UploadEventsResponse.Closing


class Uploads:
    """All upload streams of this server.

    The log decides who owns an upload: the stream that opened it last, on whichever node. Streams that
    owned it before end with UploadTakenOverError once that opening is applied.
    """

    def __init__(  # noqa: PLR0913  # all are named at the call
        self,
        *,
        log: CommitLog,
        committer: Committer,
        cursors: Cursors,
        heartbeat_seconds: float,
        max_age_seconds: float,
        max_sessions: int = 1_000,
    ) -> None:
        self.committer = committer
        self._room = Room(max_sessions)
        self.admission = asyncio.Lock()
        """Held while a chunk is examined, so that calls wait for one of them and not for all."""
        self.cursors = cursors
        self.heartbeat_seconds = heartbeat_seconds
        self._max_age_seconds = max_age_seconds
        self._is_draining = False
        self._sessions: defaultdict[tuple[str, str], set[UploadSession]] = defaultdict(set)
        log.subscribe(self._on_applied)

    async def serve(  # noqa: PLR0913  # all but three are named at the call
        self,
        opening: v1.UploadEventsRequest.Open,
        incoming: AsyncIterator[v1.UploadEventsRequest],
        send: Send,
        *,
        caller: Caller,
        on_close: OnClose = never_closed,
        producer: Producer = ANYBODY,
        allowance: Allowance | None = None,
        rejections: Rejections | None = None,
    ) -> None:
        """Serves one stream to its end. Raises the RequestError that ends it.

        `on_close` registers how others end the stream; `allowance` is how much its caller may send, without
        one as much as it likes; `rejections` is the record that its rejected events
        go to.
        """
        if self._is_draining:
            raise DrainingError
        if not self._room.is_free_for(caller):
            raise OverloadedError
        key = opening.account_id, opening.upload_id
        session = UploadSession(
            self,
            opening,
            send=send,
            caller=caller,
            producer=producer,
            allowance=allowance,
            rejections=rejections or Rejections(),
        )
        self._sessions[key].add(session)
        on_close(session.close_for)
        try:
            with (
                self._room.taken(caller, 1),
                closed_at_age(self._max_age_seconds, partial(session.close, Closing.REASON_MAX_AGE)),
            ):
                await session.run(incoming)
        finally:
            session.abandon()
            self._sessions[key].remove(session)
            if not self._sessions[key]:
                del self._sessions[key]

    @property
    def open_streams(self) -> int:
        """How many there are."""
        return self._room.used_bytes

    def drain(self) -> None:
        """Asks the clients of all streams to reconnect, and refuses new ones."""
        self._is_draining = True
        for session in chain.from_iterable(self._sessions.values()):
            session.close(Closing.REASON_DRAINING)

    def _on_applied(self, applied: Applied) -> None:
        for opening in applied.openings:
            for session in self._sessions.get((opening.account_id, opening.upload_id), ()):
                session.change_owner(opening.owner)


def require_opening(message: v1.UploadEventsRequest) -> v1.UploadEventsRequest.Open:
    """The opening, if this first message of a stream is one. Raises FieldInvalidError."""
    require_valid(message)
    if not message.HasField("open"):
        raise FieldInvalidError(
            [Violation("open", "server.upload.open_first", "must be the first message of the stream")]
        )
    return message.open
