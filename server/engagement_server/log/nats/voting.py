"""Publishes the votes of a view on the digests of what views have applied."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING

from engagement_server.errors import StoreUnavailableError
from engagement_server.log.nats.entries import encode_vote
from engagement_server.log.nats.stream import PUBLISH_SECONDS
from engagement_server.supervision import run_in_background

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from engagement_server.log.nats.publisher import Publisher
    from engagement_server.log_entries import DigestVote
    from engagement_server.store.log_digest import DigestState

_RETRY_SECONDS = 1.0


class Voting:
    """Votes in the background, because a vote is applied by whoever would wait for it.

    A quiet log gives no second occasion, so that it votes again on what becomes due meanwhile or could not be
    published.
    """

    def __init__(
        self,
        publisher: Publisher,
        *,
        compare: Callable[[], Awaitable[DigestState]],
        is_current: Callable[[], bool],
    ) -> None:
        self._publisher = publisher
        self._compare = compare
        self._is_current = is_current
        self._is_due_again = False
        """Whether more may be due than what is being published."""
        self._task: asyncio.Task[None] | None = None

    def begin(self, state: DigestState) -> None:
        """Votes if this view has something to say on this state."""
        votes = self._votes_of(state)
        if not votes:
            return
        if self._task is None or self._task.done():
            self._is_due_again = False
            self._task = run_in_background("log-vote", partial(self._run, votes))
        else:
            self._is_due_again = True

    async def close(self) -> None:
        """Ends; a vote that is not published yet is due again at the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):  # the log itself reports failures
                await self._task

    async def _run(self, votes: dict[str, DigestVote]) -> None:
        while True:
            deadline = asyncio.get_running_loop().time() + PUBLISH_SECONDS
            try:
                for message_id, vote in votes.items():
                    await self._publisher.put(message_id, encode_vote(vote), deadline=deadline)
            except StoreUnavailableError:
                self._is_due_again = True
                await asyncio.sleep(_RETRY_SECONDS)
            if not self._is_due_again:
                return
            self._is_due_again = False
            votes = self._votes_of(await self._compare())

    def _votes_of(self, state: DigestState) -> dict[str, DigestVote]:
        """The votes that this view has to give, by the ids of their messages."""
        votes = {f"digest.{vote.sequence}.{vote.voter}.{vote.digest.hex()}": vote for vote in state.due}
        # One node votes as long as all agree: the stream takes an id once. While a node catches up, it
        # passes boundaries on which others have voted long ago.
        if state.newest is not None and self._is_current():
            votes[f"digest.{state.newest.sequence}"] = state.newest
        return votes
