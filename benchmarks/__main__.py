"""Runs the measurements: `python -m benchmarks`. They report and do not fail."""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

import apsw
import uvloop

from benchmarks import usage
from benchmarks.following import measure_following
from benchmarks.growth import measure_growth
from benchmarks.mixed import measure_mixed
from benchmarks.profile import measure_profiles
from benchmarks.reads import measure_reads
from benchmarks.report import Figure, render
from benchmarks.settings import MIN_EVENTS, Part, Settings, add_output_options
from benchmarks.subscribe import measure_subscriptions
from benchmarks.unary import measure_unary
from benchmarks.upload import measure_upload
from benchmarks.workers import measure_workers

_DEFAULT_EVENTS: Final = 250_000
_ON_FULL_STORE: Final = {Part.GROWTH, Part.LATENCY, Part.RESOURCES}


def main() -> None:
    """Measures what the options ask for and prints a report."""
    options = _parse_options()
    options.data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.data) as folder:
        settings = Settings(options.events, frozenset(map(Part, options.only)), Path(folder))
        figures = uvloop.run(_measure(settings))
    machine = _describe_machine()
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    for line in render(figures):
        print(line)
    if options.json is not None:
        report = {
            "machine": machine,
            "events": options.events,
            "figures": [figure.to_json() for figure in figures],
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n")


async def _measure(settings: Settings) -> Sequence[Figure]:
    figures: list[Figure] = []
    if Part.UPLOAD in settings.parts:
        figures += await measure_upload(settings)
    if Part.UNARY in settings.parts:
        figures += await measure_unary(settings)
    if Part.READS in settings.parts:
        figures += await measure_reads(settings)
    if Part.SUBSCRIBE in settings.parts:
        figures += await measure_subscriptions(settings)
    if Part.FOLLOWING in settings.parts:
        figures += await measure_following(settings)
    if Part.PROFILE in settings.parts:
        figures += await measure_profiles(settings)
    if Part.WORKERS in settings.parts:
        figures += await measure_workers(settings)
    if Part.MIXED in settings.parts:
        figures += await measure_mixed(settings)
    if not _ON_FULL_STORE.isdisjoint(settings.parts):
        figures += await measure_growth(settings)
    return figures


def _parse_options() -> argparse.Namespace:
    parts = [part.value for part in Part if part is not Part.RESOURCES or usage.IS_SUPPORTED]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures the server on this machine and compares it with its targets.",
    )
    parser.add_argument(
        "--events",
        type=_number_of_events,
        default=_DEFAULT_EVENTS,
        help="size of the growing store (default: %(default)s)",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=parts,
        default=parts,
        metavar="PART",
        help=f"what to measure: {', '.join(parts)} (default: all)",
    )
    add_output_options(parser)
    return parser.parse_args()


def _number_of_events(text: str) -> int:
    number = int(text)
    if number < MIN_EVENTS:
        raise argparse.ArgumentTypeError(f"must be at least {MIN_EVENTS:,}")
    return number


def _describe_machine() -> dict[str, str]:
    return {
        "cores": str(os.cpu_count()),
        "Python": platform.python_version(),
        "SQLite": apsw.sqlite_lib_version(),
        "grpcio": version("grpcio"),
        "protobuf": version("protobuf"),
    }


if __name__ == "__main__":
    main()
