"""The memory of the server: what an operator allows, how it is divided, and what a process really takes."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from enum import IntEnum
from fractions import Fraction
from pathlib import Path
from typing import Final, NamedTuple

MIB: Final = 1 << 20
MIN_PROCESS_BYTES: Final = 192 * MIB
"""What a process needs: interpreter and libraries, page caches, and some work."""
_BASE_BYTES: Final = 128 * MIB
"""Interpreter, libraries and page caches."""
_SOFT, _HARD = 0.85, 0.95
_COLLECT_SECONDS: Final = 1.0
"""A collection stops the process for some hundredths of a second."""
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE: Final = re.compile(
    r"(?P<number>[0-9]{1,15}(?:\.[0-9]{1,9}(?=[KMGT]))?)(?P<unit>[KMGT]?)(?:i?B)?", re.IGNORECASE
)
_CGROUP_LIMITS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Of a container."""
_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN_CGROUP: Final = Path("/proc/self/cgroup")


def parse_size(text: str) -> int | None:
    """Bytes of a size such as 512M, 1.5G or 4GiB; None if it is none."""
    match = _SIZE.fullmatch(text.strip())
    return None if match is None else int(Fraction(match["number"]) * _UNITS[match["unit"].upper()])


def default_limit_bytes() -> int:
    """Three quarters of the memory of the container, of the service or of the machine."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in (*map(Path, _CGROUP_LIMITS), *_service_limits()):
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            limits.append(int(path.read_text(encoding="ascii")))
    return min(limits) * 3 // 4


def _service_limits() -> list[Path]:
    """Files with the limits of the groups that this process is in, as a service manager sets them."""
    try:
        lines = _OWN_CGROUP.read_text().splitlines()
    except OSError:
        return []
    own = [Path(line.removeprefix("0::/")) for line in lines if line.startswith("0::/")]
    return [_CGROUPS / each / "memory.max" for path in own for each in (path, *path.parents)]


class MemoryPlan(NamedTuple):
    """The bounds of each kind of work in one process.

    Each holds alone. All of them reached at once would take almost three times the limit, which a server
    full of uploads and of subscriptions could do: `MemoryMeter` is the backstop.
    """

    limit_bytes: int
    """Of the process as a whole."""
    waiting_calls_bytes: int
    """Of calls that wait for a commit, in each partition."""
    waiting_uploads_bytes: int
    """Of chunks that wait for a commit, in each partition."""
    answers_bytes: int
    """Of answers that clients have not taken."""
    max_slow_messages: int
    """Messages of up to 9 MiB that arrive slowly."""
    max_uploads: int
    """Open upload streams, in each partition."""
    max_subscriptions: int
    """Open subscriptions, in each partition."""


def plan(limit_bytes: int, *, processes: int = 1, partitions: int = 1) -> MemoryPlan:
    """The share of each of some processes in the memory of a server, and of its partitions in that."""
    own_bytes = limit_bytes // processes
    work_bytes = max(own_bytes - _BASE_BYTES, 0)
    return MemoryPlan(
        limit_bytes=own_bytes,
        waiting_calls_bytes=min(work_bytes // 8, 64 * MIB) // partitions,
        waiting_uploads_bytes=min(work_bytes // 8, 32 * MIB) // partitions,
        answers_bytes=min(work_bytes // 4, 1024 * MIB),
        max_slow_messages=max(work_bytes // (32 * MIB), 4),
        # A chunk in hand, and one on its way.
        max_uploads=max(work_bytes // (3 * MIB) // partitions, 1),
        # Measured: 50 KiB when idle; the windows of the transport, when its client does not read.
        max_subscriptions=max(work_bytes // (192 << 10) // partitions, 1),
    )


class Pressure(IntEnum):
    """How much of its memory a process takes."""

    NONE = 0
    SOFT = 1
    """So much that no new work begins."""
    HARD = 2
    """So much that work under way must end."""


_PRESSURE_TEXTS = {
    Pressure.NONE: "calls are taken again",
    Pressure.SOFT: "new calls are refused as OVERLOADED; --max-memory is the limit",
    Pressure.HARD: "streams are closed and slow calls reset; --max-memory is the limit",
}
_LOOK_SECONDS = 0.25

_log = logging.getLogger(__name__)


class MemoryMeter:
    """What this process takes, against its limit: the backstop behind all that is counted.

    Python gives memory back late and in part. So beyond the soft limit the allocator's free memory is given
    back first, and a process with nothing under way is never refused work for what it cannot give back.
    """

    def __init__(
        self,
        limit_bytes: int,
        *,
        is_idle: Callable[[], bool],
        resident_bytes: Callable[[], int | None] | None = None,
    ) -> None:
        """`is_idle` tells whether nothing is under way."""
        self._limit_bytes = limit_bytes
        self._is_idle = is_idle
        self._resident_bytes = resident_bytes or process_bytes
        self._collect_from = 0.0
        self.pressure = Pressure.NONE
        """As it was when it was last looked at."""

    def look(self) -> Pressure:
        """Looks at the process; on systems that cannot tell, there is never pressure."""
        if self._share() >= _SOFT:
            # What a refused call leaves is a cycle that holds its messages, and cycles are collected rarely.
            if time.monotonic() >= self._collect_from:
                gc.collect()
                self._collect_from = time.monotonic() + _COLLECT_SECONDS
            give_back()
        share = self._share()
        if share < _SOFT or self._is_idle():
            self.pressure = Pressure.NONE
        else:
            self.pressure = Pressure.HARD if share >= _HARD else Pressure.SOFT
        return self.pressure

    def _share(self) -> float:
        return (self._resident_bytes() or 0) / self._limit_bytes


async def watch_memory(
    meter: MemoryMeter,
    relieve: Callable[[Pressure], None],
    *,
    texts: Mapping[Pressure, str] = _PRESSURE_TEXTS,
) -> None:
    """Looks at the process again and again, and calls `relieve` to do something about the pressure.

    `texts` say in the log what each pressure means.
    """
    reported = Pressure.NONE
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        pressure = meter.look()
        relieve(pressure)
        if pressure != reported:
            reported = pressure
            level = logging.INFO if pressure is Pressure.NONE else logging.WARNING
            _log.log(level, "memory pressure is %s: %s", pressure.name.lower(), texts[pressure])


def process_bytes() -> int | None:
    """Resident bytes of this process; None if the system hides them."""
    try:
        statm = Path("/proc/self/statm").read_bytes()
    except OSError:
        return None
    return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def give_back() -> None:
    """Returns the allocator's free memory to the system, as far as the C library can."""
    with contextlib.suppress(AttributeError, OSError):  # other libraries than glibc
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))
