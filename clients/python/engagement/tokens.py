"""Where the tokens of calls come from: a text, or a function that is asked again when its answer expires."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, TypeAlias

from engagement.errors import DeadlineError

TokenAnswer: TypeAlias = str | tuple[str, datetime | float]
"""A token, or one with the time of its expiry: a `datetime` with a zone, or seconds since 1970."""
TokenSource: TypeAlias = Callable[[], TokenAnswer | Awaitable[TokenAnswer]]
"""Answers with a token; called in the event loop, where it must not block unless it is asynchronous."""

_RENEWAL_SECONDS: Final = 30.0


class Tokens:
    """The tokens of one client. An answer is kept until shortly before its expiry, if it tells one."""

    def __init__(self, token: str | TokenSource | None) -> None:
        """`token` is a text that never changes, a function, or None for calls without a token."""
        self._source = token if callable(token) else None
        self._kept = None if callable(token) else token
        self._kept_until = float("inf")
        self._asking: asyncio.Task[str] | None = None

    @property
    def is_renewable(self) -> bool:
        """Whether there may be another token after one has expired."""
        return self._source is not None

    async def current(self, *, timeout_seconds: float) -> str | None:
        """The token for a call or a stream that begins now.

        Raises what the function raises, and DeadlineError if it takes too long.
        """
        if self._source is None or (self._kept is not None and time.time() < self._kept_until):
            return self._kept
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(self._source))
            self._asking.add_done_callback(self._end_asking)
        try:
            async with asyncio.timeout(timeout_seconds):
                # A caller who is cancelled must not take the answer from the others.
                return await asyncio.shield(self._asking)
        except TimeoutError:
            raise DeadlineError(f"no token within {timeout_seconds:g} seconds") from None

    def discard(self, token: str | None) -> bool:
        """Drops a token that has expired, unless a newer one is kept; whether there may be another."""
        if self._source is not None and token == self._kept:
            self._kept = None
        return self.is_renewable

    async def _ask(self, source: TokenSource) -> str:
        answer = source()
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, str):
            self._kept = None
            return answer
        token, expires_at = answer
        expiry = expires_at.timestamp() if isinstance(expires_at, datetime) else expires_at
        self._kept, self._kept_until = token, expiry - _RENEWAL_SECONDS
        return token

    def _end_asking(self, asked: asyncio.Task[str]) -> None:
        self._asking = None
        # Nobody may be left to hear of a failure.
        if not asked.cancelled():
            asked.exception()
