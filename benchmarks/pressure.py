"""How a well-behaved caller fares beside rude neighbours: `python -m benchmarks.pressure`.

It reports; it does not fail.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.mixed import measure_mixed_on
from benchmarks.pressure_overload import MAX_LATER_RATIO, measure_accounts, measure_overload
from benchmarks.pressure_run import PressureRun
from benchmarks.pressure_scenarios import HEADER, NUMBERS, SCENARIOS, Row, Scenario, fill, run_scenario
from benchmarks.processes import engagement_server
from benchmarks.report import Figure, Target, render, table
from benchmarks.settings import add_output_options, announce
from engagement_server.governor.memory import parse_size

_AFTERWARDS: Final = "Afterwards"
_FIGURES: Final = {"overload": measure_overload, "accounts": measure_accounts}
_MIXED: Final = "mixed"
_LAST_SECONDS: Final = 3.0
_QUIET_SECONDS: Final = 10.0
_DEFAULT_SECONDS: Final = 5.0
_ONE_PROCESS, _EACH_PROCESS = "512M", 256
_MAX_ERRORS: Final = 5
_NONE: Final = Target(below=1)


def main() -> None:
    """Measures what the options ask for and prints a report."""
    options = _parse_options()
    options.data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.data) as folder:
        rows, figures = asyncio.run(_measure(options, Path(folder)))
    if rows:
        print("\n".join(table(HEADER, [row.cells for row in rows], right=NUMBERS)))
        for row in rows:
            for remark in row.remarks:
                print(f"- {remark}")
    for line in render(figures):
        print(line)
    if options.json is not None:
        report = {
            "rows": [row.to_json() for row in rows],
            "figures": [figure.to_json() for figure in figures],
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n")


async def _measure(options: argparse.Namespace, folder: Path) -> tuple[Sequence[Row], Sequence[Figure]]:
    server_options = ["--max-memory", options.max_memory]
    if options.workers:
        server_options += ["--workers", str(options.workers)]
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in options.only]
    parts = [measure for name, measure in _FIGURES.items() if name in options.only]
    rows: list[Row] = []
    figures: list[Figure] = []
    if scenarios or parts:
        log_file = folder / "pressure.log"
        with engagement_server(folder / "pressure", *server_options, log_file=log_file) as server:
            async with PressureRun.on(server) as run:
                rows = await _measure_rows(run, scenarios, options)
                for measure in parts:
                    figures += await measure(run)
                figures += await _measure_afterwards(run)
        figures += _alarms(log_file)
    if _MIXED in options.only:
        figures += await measure_mixed_on(folder / _MIXED, *server_options)
    return rows, figures


async def _measure_rows(
    run: PressureRun, scenarios: Sequence[Scenario], options: argparse.Namespace
) -> list[Row]:
    await fill(run, scenarios)
    max_megabytes = (parse_size(options.max_memory) or 0) / 1e6
    return [
        await run_scenario(run, scenario, seconds=options.seconds, max_megabytes=max_megabytes)
        for scenario in scenarios
    ]


async def _measure_afterwards(run: PressureRun) -> list[Figure]:
    """Whether work is taken as before, and everything that was acknowledged is there."""
    announce("a quiet while, and whether everything is there")
    await asyncio.sleep(_QUIET_SECONDS)
    last = await run.measure(_LAST_SECONDS)
    acknowledged, missing, repeated = await run.check()
    ratio = last.p50_ms / run.first.p50_ms
    return [
        Figure(_AFTERWARDS, "median of the caller / at first", ratio, "", MAX_LATER_RATIO),
        Figure(_AFTERWARDS, "refused calls", last.refused.total(), "calls", _NONE),
        Figure(_AFTERWARDS, "acknowledged in the run", acknowledged, "events"),
        Figure(_AFTERWARDS, "of these, missing", missing, "events", _NONE),
        Figure(_AFTERWARDS, "stored twice", repeated, "events", _NONE),
    ]


def _alarms(log_file: Path) -> list[Figure]:
    """What the server has logged: errors, and how often it was under pressure."""
    lines = log_file.read_text().splitlines()
    errors = [line for line in lines if " ERROR " in line]
    for error, count in Counter(line.partition(" ERROR ")[2] for line in errors).most_common(_MAX_ERRORS):
        announce(f"{count} times: {error}")
    pressed = sum("memory pressure is soft" in line or "memory pressure is hard" in line for line in lines)
    return [
        Figure(_AFTERWARDS, "errors in the log", len(errors), "", _NONE),
        Figure(_AFTERWARDS, "times that the log says memory pressure", pressed, ""),
    ]


def _parse_options() -> argparse.Namespace:
    names = [*(scenario.name for scenario in SCENARIOS), *_FIGURES, _MIXED]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pressure",
        description="Measures a well-behaved caller beside rude neighbours.",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=names,
        default=names,
        metavar="NAME",
        help=f"what to measure: {', '.join(names)} (default: all)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=_DEFAULT_SECONDS,
        help="beside each neighbour; half as long alone before it (default: %(default)s)",
    )
    parser.add_argument("--workers", type=int, default=0, help="workers of the server (default: none)")
    parser.add_argument(
        "--max-memory",
        metavar="SIZE",
        help=f"of the server (default: {_ONE_PROCESS}, or {_EACH_PROCESS}M for each process with workers)",
    )
    add_output_options(parser)
    options = parser.parse_args()
    if options.max_memory is None:
        options.max_memory = f"{_EACH_PROCESS * (options.workers + 1)}M" if options.workers else _ONE_PROCESS
    return options


if __name__ == "__main__":
    main()
