"""Decides what is traced, before anything is made for a trace."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from engagement_server.telemetry.context import SpanContext

MAX_FOLLOWED_PER_SECOND: Final = 10
"""Calls a second that are traced because their callers ask for it, in each process."""
MAX_CHUNKS_PER_SECOND: Final = 10
"""Chunks a second that are traced because their streams are, in each process."""


class Budget:
    """Something that may happen a number of times a second; what was left over a second ago is gone."""

    def __init__(self, per_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._left = per_second
        self._clock = clock
        self._since = clock()

    def take(self) -> bool:
        """Whether it may happen now."""
        now = self._clock()
        self._left = min(self._per_second, self._left + (now - self._since) * self._per_second)
        self._since = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Sampler:
    """Chooses calls and chunks at random, and follows the decisions of callers within a budget."""

    def __init__(self, ratio: float) -> None:
        """`ratio` of the calls are traced whose callers have not decided: from 0 to 1."""
        self._ratio = ratio
        self._calls = Budget(MAX_FOLLOWED_PER_SECOND)
        self._chunks = Budget(MAX_CHUNKS_PER_SECOND)

    def wants_call(self, caller: SpanContext | None) -> bool:
        """Whether to trace a call.

        A caller that does not trace its call is followed. One that does is followed within the budget, and
        beyond that its calls are chosen as others are, at random rather than by ids, which callers choose.
        """
        if caller is None:
            return self._is_chosen()
        return caller.is_sampled and (self._calls.take() or self._is_chosen())

    def wants_chunk(self, *, is_stream_traced: bool) -> bool:
        """Whether to trace a chunk of an upload, whose stream may send any number of them."""
        return (is_stream_traced and self._chunks.take()) or self._is_chosen()

    def _is_chosen(self) -> bool:
        return random.random() < self._ratio  # noqa: S311  # no secret
