"""When a client retries on its own, and how long it waits."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import grpc

from engagement.errors import (
    DeadlineError,
    EngagementError,
    QuotaExceededError,
    UnavailableError,
    is_expired_token,
)

# An empty name matches every method. Uploads and subscriptions resume on their own and are excluded: the
# library would copy each message of an upload into a retry buffer, and hide that a subscription waits.
SERVICE_CONFIG: Final = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "waitForReady": False,
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            },
            {
                "name": [
                    {"service": "engagement.v1.IngestService", "method": "UploadEvents"},
                    {"service": "engagement.v1.EventService", "method": "SubscribeEvents"},
                ]
            },
        ]
    }
)

OnReconnect = Callable[[EngagementError], None]
OnConnected = Callable[[], None]

_FIRST_DELAY_SECONDS = 0.1
_LONGEST_DELAY_SECONDS = 5.0
# Without a reason from the service, these come from a broken connection or a proxy.
_TRANSIENT_WITHOUT_REASON = frozenset(
    {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED}
)


def is_transient(error: EngagementError) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, UnavailableError | DeadlineError):
        return True
    if isinstance(error, QuotaExceededError):
        return error.retry_delay_seconds is not None
    return not error.reason and error.code in _TRANSIENT_WITHOUT_REASON


@contextmanager
def keeping_cancellation() -> Iterator[None]:
    """Raises CancelledError in place of an error of the block during which the task was cancelled.

    A cancellation that arrives as a call ends comes out of grpc.aio as the error of the call, and out of a
    task group as the errors of its tasks. Code that tries again after such errors would never end.
    """
    task = asyncio.current_task()
    earlier = task.cancelling() if task else 0
    try:
        yield
    except Exception as error:
        if task is not None and task.cancelling() > earlier:
            raise asyncio.CancelledError from error
        raise


class Outage:
    """The time without progress, and the growing delays between attempts."""

    def __init__(self, *, max_seconds: float, is_token_renewable: bool = False) -> None:
        """With `is_token_renewable` an expired token is an outage, too, once without progress."""
        self._max_seconds = max_seconds
        self._is_token_renewable = is_token_renewable
        self._has_renewed_token = False
        self._began_at: float | None = None
        self._failures = 0

    def end(self) -> None:
        """Notes progress: the next failure starts a new outage."""
        self._began_at = None
        self._failures = 0
        self._has_renewed_token = False

    def delay_after(self, error: EngagementError) -> float:
        """Seconds to wait before the next attempt. Raises the error if that cannot help or is too late."""
        if is_expired_token(error) and self._is_token_renewable and not self._has_renewed_token:
            self._has_renewed_token = True
        elif not is_transient(error):
            raise error
        now = time.monotonic()
        if self._began_at is None:
            self._began_at = now
        longest = min(_LONGEST_DELAY_SECONDS, _FIRST_DELAY_SECONDS * 2 ** min(self._failures, 16))
        self._failures += 1
        jittered = random.uniform(longest / 2, longest)  # noqa: S311 - spreads clients, hides nothing
        delay = max(jittered, error.retry_delay_seconds or 0.0)
        if now + delay > self._began_at + self._max_seconds:
            raise error
        return delay
