"""Rolls the file block of a quiet stream, so that NATS deletes bytes of erased data on time.

NATS frees the bytes of an expired message with its block of a file, once newer messages fill another block.
In a stream with little traffic, they may outlive the message for long. So, while a file may still hold erased
data, filler entries without meaning fill a block once per interval.
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
from engagement_server.log.nats.entries import PART
from engagement_server.log.nats.stream import PUBLISH_SECONDS

if TYPE_CHECKING:
    from engagement_server.log.nats.stream import NatsStream

_log = logging.getLogger(__name__)

# A block is full at 8 MiB.
_BLOCK_BYTES = 9 * 1024 * 1024
_FILLER_BYTES = 512 * 1024
_INTERVAL_SECONDS = 24 * 3600.0


class BlockRoller:
    """Tracks the traffic of the stream and the last erasure, and rolls blocks when that is needed."""

    def __init__(self, *, max_age_seconds: float, last_erasure_ms: int) -> None:
        """Takes the maximum age of messages, and the last erasure in epoch milliseconds; 0: none."""
        self._max_age_seconds = max_age_seconds
        self._last_erasure_ms = last_erasure_ms
        self._received_bytes = 0
        self._due = time.monotonic() + _next_interval_seconds()

    def note_received(self, size_bytes: int) -> None:
        """Counts bytes that the stream has stored."""
        self._received_bytes += size_bytes

    def note_erasure(self) -> None:
        """Notes that an erasure was completed now."""
        self._last_erasure_ms = now_ms()

    async def run(self, stream: NatsStream) -> None:
        """Fills a block per interval when that is needed; never returns. Raises LogUnreachableError."""
        while True:
            await asyncio.sleep(max(0.0, self._due - time.monotonic()))
            self._due = time.monotonic() + _next_interval_seconds()
            if self._is_needed():
                _log.info("filling a block of the log's files, so that bytes of erased data are deleted")
                try:
                    await _fill_block(stream)
                except StoreUnavailableError as error:
                    _log.warning("cannot fill the block, will retry later: %s", error.fault)
            self._received_bytes = 0

    def _is_needed(self) -> bool:
        since_seconds = (now_ms() - self._last_erasure_ms) / 1000
        may_hold_erased = since_seconds < self._max_age_seconds + 2 * _INTERVAL_SECONDS
        return may_hold_erased and self._received_bytes < _BLOCK_BYTES


async def _fill_block(stream: NatsStream) -> None:
    name = secrets.token_hex(8)
    size_bytes = min(_FILLER_BYTES, stream.max_message_bytes) - len(PART)
    for number in range(-(-_BLOCK_BYTES // size_bytes)):
        filler = PART + os.urandom(size_bytes)
        await stream.publish(f"{name}.0.{number}", filler, timeout_seconds=PUBLISH_SECONDS)


def _next_interval_seconds() -> float:
    # The first node does it for all: the others see that the stream got enough bytes.
    return _INTERVAL_SECONDS * random.uniform(0.8, 1.0)  # noqa: S311  # no secret
