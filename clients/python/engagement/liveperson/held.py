"""Holds findings until what surrounds them is known, in memory as long as they are few."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from typing import IO, Final

from engagement.liveperson.findings import Finding

_MEMORY_FINDINGS: Final = 1000
_MEMORY_CHARACTERS: Final = 1024 * 1024


class Held:
    """Findings in their order; those that exceed some memory are in a temporary file without a name."""

    def __init__(self) -> None:
        self._findings: list[Finding] = []
        self._characters = 0
        self._file: IO[bytes] | None = None
        self._batches = 0

    def __bool__(self) -> bool:
        return bool(self._findings) or self._batches > 0

    def add(self, finding: Finding, *, characters: int) -> None:
        """Holds a finding that takes about so many characters. Raises OSError if the disk is full."""
        self._findings.append(finding)
        self._characters += characters
        if self._characters > _MEMORY_CHARACTERS or len(self._findings) >= _MEMORY_FINDINGS:
            self._spill()

    def release(self) -> Iterator[Finding]:
        """All findings, which are held no longer."""
        if self._file is not None:
            self._file.seek(0)
            for _ in range(self._batches):
                # Written above, and no other process can open it.
                yield from pickle.load(self._file)  # noqa: S301
            self._file.close()
        self._batches = 0
        yield from self._findings
        self._findings = []

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed once it is read
        # Together, because they share names and types.
        pickle.dump(self._findings, self._file, protocol=pickle.HIGHEST_PROTOCOL)
        self._batches += 1
        self._findings = []
        self._characters = 0
