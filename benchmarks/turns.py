"""Lets two servers do the same work in turns, so that what else the machine does hits both alike."""

from __future__ import annotations

import time
from typing import NamedTuple

from benchmarks.workloads import Contestant, Workload


class Pair(NamedTuple):
    """What the same work took two servers."""

    base: float
    now: float

    @property
    def ratio(self) -> float:
        """Below 1 if the second one takes less."""
        return self.now / self.base


class Turns(NamedTuple):
    """What a unit of the work took both, in microseconds."""

    cpu: Pair
    """Processor time of the servers."""
    wall: Pair
    """Time that passed, for servers and client together."""


async def run_in_turns(
    contestants: tuple[Contestant, Contestant], work: Workload, *, base_first: bool
) -> Turns | None:
    """What a unit of the work takes both; None if one of them lacks the call."""
    before = [each.cpu_seconds for each in contestants]
    passed = [0.0, 0.0]
    for turn, piece in enumerate(work.pieces):
        for number in (0, 1) if (turn % 2 == 0) == base_first else (1, 0):
            began = time.perf_counter()
            if not await contestants[number].run(piece):
                return None
            passed[number] += time.perf_counter() - began
    used = [each.cpu_seconds - start for each, start in zip(contestants, before, strict=True)]
    return Turns(*(Pair(*(seconds / work.units * 1_000_000 for seconds in both)) for both in (used, passed)))
