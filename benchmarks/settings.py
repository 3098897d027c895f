"""The settings of one run: its parts, its size and its folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from engagement.limits import MAX_CHUNK_EVENTS

MIN_EVENTS = 2 * MAX_CHUNK_EVENTS
_WINDOW_EVENTS = 100_000


class Part(StrEnum):
    """The parts of a run; the last three share one store."""

    UPLOAD = "upload"
    UNARY = "unary"
    READS = "reads"
    SUBSCRIBE = "subscribe"
    FOLLOWING = "following"
    PROFILE = "profile"
    WORKERS = "workers"
    MIXED = "mixed"
    GROWTH = "growth"
    LATENCY = "latency"
    RESOURCES = "resources"


@dataclass(frozen=True, slots=True)
class Settings:
    """The size of a run, its parts, and the temporary folder that it writes to."""

    events: int
    parts: Collection[Part]
    folder: Path

    @property
    def window_events(self) -> int:
        """Events that one rate is measured over, in whole chunks; at least two windows fit into the run."""
        return min(_WINDOW_EVENTS, self.events // 2 // MAX_CHUNK_EVENTS * MAX_CHUNK_EVENTS)


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--json` and `--data`, which all measurements of the server have."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(".benchmarks"),
        metavar="DIR",
        help="where to create the temporary folder of the stores, on a real disk (default: %(default)s)",
    )


def announce(progress: str) -> None:
    """Tells people who wait where the run is; the report itself goes to the standard output."""
    print(progress, file=sys.stderr, flush=True)
