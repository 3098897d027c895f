"""Waits that end: each has a deadline, and its failure says what did not happen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

DEADLINE_SECONDS = 60.0
"""Bounds a hang, never speed: a busy machine takes seconds for what a quiet one does in milliseconds."""
_SHORTEST_PAUSE_SECONDS = 0.005
_LONGEST_PAUSE_SECONDS = 0.1
_LONGEST_SHARE = 1 / 40
"""Of the time waited so far, that a pause may add; polling must not slow down the work that it waits for."""


@asynccontextmanager
async def deadline(what: str, *, seconds: float = DEADLINE_SECONDS) -> AsyncIterator[None]:
    """Cancels the block at its deadline; TimeoutError then names what it waited for."""
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError as error:
        if limit.expired():
            raise TimeoutError(f"not within {seconds:g} seconds: {what}") from error
        raise


async def eventually(
    condition: Callable[[], Awaitable[bool] | bool], what: str, *, seconds: float = DEADLINE_SECONDS
) -> None:
    """Waits for a condition that sets no event in this process."""
    began = time.monotonic()
    async with deadline(what, seconds=seconds):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await asyncio.sleep(_pause_seconds(began))


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = DEADLINE_SECONDS) -> None:
    """Waits for a condition without an event loop."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() > began + seconds:
            raise TimeoutError(f"not within {seconds:g} seconds: {what}")
        time.sleep(_pause_seconds(began))


def _pause_seconds(began: float) -> float:
    share = (time.monotonic() - began) * _LONGEST_SHARE
    return min(max(share, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
