"""A clock for the processes of a server that tests set to any time, while they run as well."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

_SITE = Path(__file__).parent / "clock_shift"


class ShiftedClock:
    """Differs from the machine's clock by what a test sets; right at first."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.shift(timedelta())

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process that has this clock."""
        return {"TEST_CLOCK_SHIFT_FILE": str(self._file), "PYTHONPATH": shifting_path()}

    def shift(self, by: timedelta) -> None:
        """Sets the clock to the present time plus this, from now on."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(str(int(by.total_seconds())))
        fresh.replace(self._file)


def shifting_path() -> str:
    """The path on which an interpreter finds what shifts its clock."""
    return f"{_SITE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
