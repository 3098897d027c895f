"""UUIDv7 (RFC 9562): ids that increase with time, so that ids made together are stored together."""

from __future__ import annotations

import os
import secrets
import threading
import time

_COUNTER_BITS = 42
_lock = threading.Lock()
_last_ms = 0
_counter = 0


def uuid7() -> str:
    """A new UUIDv7 as text, greater than every one that this process made before.

    48 bits of epoch milliseconds precede a 42-bit counter, which starts at a random number every
    millisecond, and 32 random bits.
    """
    global _last_ms, _counter  # noqa: PLW0603  # the order holds for the whole process
    with _lock:
        now_ms = time.time_ns() // 1_000_000
        if now_ms > _last_ms:
            _last_ms = now_ms
            _counter = secrets.randbits(_COUNTER_BITS - 1)
        else:
            # This also covers a clock that goes back. The counter starts in its lower half, so it cannot
            # overflow within the life of a process.
            _counter += 1
        milliseconds, counter = _last_ms, _counter
    high, low = divmod(counter, 1 << 30)
    number = (
        milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low << 32 | int.from_bytes(os.urandom(4))
    )
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
