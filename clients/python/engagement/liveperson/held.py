"""Holds findings until what surrounds them is known, in memory as long as they are few."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import IO, Final, TypeAlias

from engagement.liveperson.findings import Finding

_BATCH_FINDINGS: Final = 200
_MEMORY_FINDINGS: Final = 5_000
_MEMORY_CHARACTERS: Final = 2 * 1024 * 1024


class Held:
    """Findings in their order; those that exceed some memory are in a temporary file without a name.

    It can be iterated over once, and is empty afterwards.
    """

    def __init__(self) -> None:
        self.first: Finding | None = None
        """The first one; None if there is none."""
        self._parts: list[Held | int] = []
        """Others that were taken over, and numbers of batches in the file."""
        self._recent: list[Finding] = []
        self._characters = 0
        self._file: IO[bytes] | None = None
        self._changes: list[Callable[[Iterable[Finding]], Iterable[Finding]]] = []

    def __bool__(self) -> bool:
        return self.first is not None

    def add(self, finding: Finding, *, characters: int) -> None:
        """Holds a finding that takes about so many characters. Raises OSError if the disk is full."""
        self.first = self.first or finding
        self._recent.append(finding)
        self._characters += characters
        if self._characters > _MEMORY_CHARACTERS or len(self._recent) >= _MEMORY_FINDINGS:
            self._spill()

    def take_over(self, other: Held) -> None:
        """Holds all findings of another one behind its own. Raises OSError if the disk is full."""
        self.first = self.first or other.first
        if self._recent:
            self._spill()
        self._parts.append(other)

    def change(self, change: Callable[[Iterable[Finding]], Iterable[Finding]]) -> None:
        """Changes all findings that it has now, once they come out."""
        self._changes.append(change)

    def __iter__(self) -> Iterator[Finding]:
        findings: Iterable[Finding] = self._release()
        for change in self._changes:
            findings = change(findings)
        yield from findings

    def _release(self) -> Iterator[Finding]:
        if self._file is not None:
            self._file.seek(0)
        for part in self._parts:
            if isinstance(part, Held):
                yield from part
                continue
            for _ in range(part):
                assert self._file is not None
                # Written below, and no other process can open it.
                yield from pickle.load(self._file)  # noqa: S301
        yield from self._recent
        if self._file is not None:
            self._file.close()
        self.first = None

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed once it is read
        # Together, because they share names and types.
        pickle.dump(self._recent, self._file, protocol=pickle.HIGHEST_PROTOCOL)
        if self._parts and isinstance(self._parts[-1], int):
            self._parts[-1] += 1
        else:
            self._parts.append(1)
        self._recent = []
        self._characters = 0


Findings: TypeAlias = "Sequence[Finding] | Held"
"""Some findings at a time, or all that were held."""


def in_batches(findings: Iterable[Finding]) -> Iterator[Sequence[Finding]]:
    """The findings, some at a time."""
    waiting = iter(findings)
    while batch := [*islice(waiting, _BATCH_FINDINGS)]:
        yield batch
