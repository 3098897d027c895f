"""Numbers, sizes and times in few characters, for any value that a message can hold."""

from __future__ import annotations

from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

NOTHING: Final = "-"
_MAX_FULL_COUNT: Final = 10_000_000
_SMALL_RATE: Final = 10
_BYTE_STEP: Final = 1024
_LARGE: Final = 100
_LENGTHS: Final = ((86_400, "d", 24, "h"), (3_600, "h", 60, "min"), (60, "min", 60, "s"))


def count_text(count: float) -> str:
    """A whole number: in full, or rounded if it is large."""
    if abs(count) < _MAX_FULL_COUNT:
        return f"{count:,.0f}"
    return _scaled(count, step=1000, units=("", "k", "M", "G", "T", "P", "E"))


def rate_text(per_second: float) -> str:
    """A number a second."""
    if 0 < per_second < _SMALL_RATE:
        return f"{per_second:.1f}/s"
    return f"{count_text(per_second)}/s"


def bytes_text(size: float) -> str:
    """A size in bytes, or multiples of 1,024."""
    return _scaled(size, step=_BYTE_STEP, units=("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))


def latency_text(seconds: float) -> str:
    """The time that a call took."""
    if seconds < 1:
        milliseconds = seconds * 1000
        digits = 2 if milliseconds < 1 else 1 if milliseconds < _SMALL_RATE else 0
        return f"{milliseconds:.{digits}f} ms"
    return f"{seconds:.1f} s" if seconds < _LARGE else length_text(seconds)


def length_text(seconds: float) -> str:
    """A length of time in its two largest units; less than nothing is nothing."""
    whole = max(int(seconds), 0)
    for size, unit, parts, smaller in _LENGTHS:
        if whole >= size:
            rest = whole % size * parts // size
            return f"{whole // size:,} {unit} {rest} {smaller}" if rest else f"{whole // size:,} {unit}"
    return f"{whole} s"


def rough_length_text(seconds: float) -> str:
    """A length of time in its largest unit."""
    return " ".join(length_text(seconds).split()[:2])


def duration_seconds(duration: Duration) -> float:
    """The seconds of a duration; protobuf's own functions refuse long ones."""
    return duration.seconds + duration.nanos / 1e9


def seconds_between(earlier: Timestamp, later: Timestamp) -> float:
    """The seconds from one time to another."""
    return later.seconds - earlier.seconds + (later.nanos - earlier.nanos) / 1e9


def _scaled(number: float, *, step: int, units: tuple[str, ...]) -> str:
    index = 0
    while abs(number) >= step and index < len(units) - 1:
        number /= step
        index += 1
    digits = 0 if index == 0 or abs(number) >= _LARGE else 1
    return f"{number:,.{digits}f} {units[index]}".rstrip()
