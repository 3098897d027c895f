"""How streams are closed: at an age that varies, and with a delay before the client reconnects."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TypeAlias, TypeVar

from engagement import v1

GRACE_SECONDS = 2.0
"""How long a client may take to end a stream that is closing; then the stream is cut off."""
AGE_SPREAD = 0.1
"""How far the age of a stream may differ from the maximum: streams that began together would otherwise
reconnect together."""
_RECONNECT_DELAY_SECONDS = 1

Closing = TypeVar("Closing", v1.UploadEventsResponse.Closing, v1.SubscribeEventsResponse.Closing)


class Cause(IntEnum):
    """Why others than a stream itself end it: numbers of the reasons that every `Closing` has."""

    UNAUTHENTICATED = v1.UploadEventsResponse.Closing.REASON_UNAUTHENTICATED
    """Its caller has lost the rights that it began with."""
    OVERLOADED = v1.UploadEventsResponse.Closing.REASON_OVERLOADED


OnClose: TypeAlias = Callable[[Callable[[Cause], None]], None]
"""Takes what ends a stream for a cause, at any time from now on."""


def never_closed(_: Callable[[Cause], None]) -> None:
    """Of a stream that nobody else ends."""


def not_counted(_: int) -> None:
    """Of a stream whose events nobody counts."""


@contextmanager
def closed_at_age(max_age_seconds: float, close: Callable[[], None]) -> Iterator[None]:
    """Calls `close` if the context is still open at that age, give or take a tenth."""
    age_seconds = max_age_seconds * random.uniform(1 - AGE_SPREAD, 1 + AGE_SPREAD)  # noqa: S311
    timer = asyncio.get_running_loop().call_later(age_seconds, close)
    try:
        yield
    finally:
        timer.cancel()


def delayed(closing: Closing) -> Closing:
    """The message with the delay after which the client may reconnect."""
    closing.reconnect_delay.FromSeconds(_RECONNECT_DELAY_SECONDS)
    return closing
