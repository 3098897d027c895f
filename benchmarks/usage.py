"""What a process has used so far, read from /proc: Linux only."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Final

IS_SUPPORTED: Final = Path("/proc/self/task").is_dir()
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


def cpu_seconds_by_thread(pid: int) -> Counter[str]:
    """CPU seconds of the living threads of a process, by id and name."""
    seconds: Counter[str] = Counter()
    for task in Path(f"/proc/{pid}/task").iterdir():
        name, _, fields = (task / "stat").read_text().partition("(")[2].rpartition(")")
        user, system = map(int, fields.split()[11:13])
        label = "event loop" if int(task.name) == pid else f"{name} {task.name}"
        seconds[label] = (user + system) / _TICKS_PER_SECOND  # type: ignore[assignment]
    return seconds


def memory_megabytes(pid: int, field: str) -> float:
    """A size from the status of a process: VmRSS is the resident memory now, VmHWM its peak."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.removesuffix("kB")) * 1024 / 1_000_000
    raise KeyError(field)


def folder_bytes(folder: Path) -> int:
    """Bytes of the files directly in a folder."""
    return sum(path.stat().st_size for path in folder.iterdir())
