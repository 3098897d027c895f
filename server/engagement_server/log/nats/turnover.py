"""Lets the files of a quiet stream forget what was erased.

NATS gives a message's bytes back with the block of its file, once newer messages fill another: in a stream
that takes next to nothing, bytes outlive the age of their messages for as long as that takes. So, while
something that was erased may still be in a file, something without meaning fills a block now and then.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import time
from typing import TYPE_CHECKING

from engagement_server.clock import now_ms
from engagement_server.errors import StoreUnavailableError
from engagement_server.log.nats import framing
from engagement_server.log.nats.stream import PUBLISH_SECONDS

if TYPE_CHECKING:
    from engagement_server.log.nats.stream import NatsStream

_log = logging.getLogger(__name__)

# A block is full at 8 MiB.
_BLOCK_BYTES = 9 * 1024 * 1024
_FILLER_BYTES = 512 * 1024
_INTERVAL_SECONDS = 24 * 3600.0


class Turnover:
    """Knows how much the stream took, and when the last erasure ended."""

    def __init__(self, *, max_age_seconds: float, last_erasure_ms: int) -> None:
        self._max_age_seconds = max_age_seconds
        self._last_erasure_ms = last_erasure_ms
        """In epoch milliseconds; 0: never."""
        self._taken_bytes = 0
        self._due = time.monotonic() + _next_interval_seconds()

    def take(self, size_bytes: int) -> None:
        """The stream took so much more."""
        self._taken_bytes += size_bytes

    def note_erasure(self) -> None:
        """Something was erased now."""
        self._last_erasure_ms = now_ms()

    async def run(self, stream: NatsStream) -> None:
        """Fills a block at each interval where that is needed; never ends by itself.

        Raises LogUnreachableError.
        """
        while True:
            await asyncio.sleep(max(0.0, self._due - time.monotonic()))
            self._due = time.monotonic() + _next_interval_seconds()
            if self._is_needed():
                _log.info("filling a block of the log's files, so that they let go of what was erased")
                try:
                    await _fill(stream)
                except StoreUnavailableError as error:
                    _log.warning("the block is filled later: %s", error)
            self._taken_bytes = 0

    def _is_needed(self) -> bool:
        since_seconds = (now_ms() - self._last_erasure_ms) / 1000
        return (
            since_seconds < self._max_age_seconds + 2 * _INTERVAL_SECONDS and self._taken_bytes < _BLOCK_BYTES
        )


async def _fill(stream: NatsStream) -> None:
    name = secrets.token_hex(8)
    size_bytes = min(_FILLER_BYTES, stream.max_message_bytes) - len(framing.PART)
    for number in range(-(-_BLOCK_BYTES // size_bytes)):
        filler = framing.PART + os.urandom(size_bytes)
        await stream.publish(f"{name}.0.{number}", filler, timeout_seconds=PUBLISH_SECONDS)


def _next_interval_seconds() -> float:
    # Whoever is first does it for all nodes: they see that the stream took enough.
    return _INTERVAL_SECONDS * random.uniform(0.8, 1.0)  # noqa: S311  # no secret
