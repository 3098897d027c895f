"""Memory and CPU time that a process has used so far, read from /proc: Linux only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

IS_SUPPORTED: Final = Path("/proc/self/task").is_dir()
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class CpuTime:
    """CPU seconds of a process, and of those of its threads that live."""

    total_seconds: float
    seconds_by_thread: dict[int, float]

    @classmethod
    def of(cls, pid: int) -> CpuTime:
        """Reads it, as nothing where there is no /proc; the main thread has the id of the process."""
        if not IS_SUPPORTED:
            return cls(0.0, {})
        process = Path(f"/proc/{pid}")
        return cls(
            _cpu_seconds(process / "stat"),
            {int(task.name): _cpu_seconds(task / "stat") for task in (process / "task").iterdir()},
        )

    def since(self, earlier: CpuTime) -> CpuTime:
        """What was used between two readings."""
        return CpuTime(
            self.total_seconds - earlier.total_seconds,
            {
                thread: seconds - earlier.seconds_by_thread.get(thread, 0.0)
                for thread, seconds in self.seconds_by_thread.items()
            },
        )

    def plus(self, other: CpuTime) -> CpuTime:
        """The sum of two stretches of time."""
        threads = self.seconds_by_thread | other.seconds_by_thread
        return CpuTime(
            self.total_seconds + other.total_seconds,
            {
                thread: self.seconds_by_thread.get(thread, 0.0) + other.seconds_by_thread.get(thread, 0.0)
                for thread in threads
            },
        )


def memory_megabytes(pid: int, field: str) -> float:
    """A size from the status of a process: VmRSS is the resident memory now, VmHWM its peak."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.removesuffix("kB")) * 1024 / 1_000_000
    raise KeyError(field)


def reset_peak(pid: int) -> None:
    """Begins a new peak (VmHWM) of a process of the same user."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def children(pid: int) -> list[int]:
    """The processes that a process has started, in their order."""
    return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def tree_cpu_seconds(pid: int) -> float:
    """CPU seconds of a process and all that it has started, those that have ended included."""
    fields = _stat_fields(Path(f"/proc/{pid}/stat"))
    own_seconds = sum(map(int, fields[11:15])) / _TICKS_PER_SECOND
    return own_seconds + sum(map(tree_cpu_seconds, children(pid)))


def database_bytes(folder: Path) -> int:
    """Bytes of the database in a folder, without its write-ahead log and what a running server reserves."""
    return sum(path.stat().st_size for path in folder.glob("*.db"))


def _cpu_seconds(stat: Path) -> float:
    return sum(map(int, _stat_fields(stat)[11:13])) / _TICKS_PER_SECOND


def _stat_fields(stat: Path) -> list[str]:
    # The name before them, in parentheses, may hold anything.
    _, _, fields = stat.read_text().rpartition(")")
    return fields.split()
