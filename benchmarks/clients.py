"""Compares the clients of all languages: `python -m benchmarks.clients`. It reports; it does not fail.

All upload to one server, in turns, with events of the same shape; each round begins with another of them.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf import proto

from benchmarks.events import EventSource
from benchmarks.load import ACCOUNT_ID, require_all_accepted
from benchmarks.processes import engagement_server
from benchmarks.report import Figure, Target, render
from benchmarks.settings import announce
from clients.run import CLIENTS, download, make, missing_tools

_UPLOADS = "Upload with each client"
_CALLS = "RecordEvent, called by ghz"
_REPOSITORY: Final = CLIENTS.parent
_TITLES: Final = {"go": "Go", "typescript": "TypeScript", "java": "Java", "rust": "Rust"}
_WARMUP_EVENTS = 20_000
_DEFAULT_EVENTS = 100_000
_DEFAULT_ROUNDS = 5
_MIN_RATIO_TO_PYTHON = Target(minimum=0.8)
_CALLERS = 32
_NUMBER_OF_CALLS = 20_000
_GHZ: Final = "github.com/bojand/ghz/cmd/ghz@v0.93.0"


@dataclass(frozen=True, slots=True)
class Contestant:
    """A program that uploads with one client."""

    title: str
    folder: Path | None
    """Its Makefile has a target `bench`; None is the Python client."""

    def events_per_second(self, arguments: Sequence[str]) -> float:
        """The rate of one run."""
        if self.folder is None:
            command = [sys.executable, "-m", "benchmarks.python_client", *arguments]
        else:
            command = ["make", "--silent", "-C", str(self.folder), "bench", f"ARGS={shlex.join(arguments)}"]
        done = subprocess.run(command, cwd=_REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
        report = json.loads(done.stdout.splitlines()[-1])
        require_all_accepted(report["accepted"], events=report["events"])
        return float(report["events"] / report["seconds"])


def main() -> None:
    """Measures what the options ask for and prints a report."""
    options = _parse_options()
    options.data.mkdir(parents=True, exist_ok=True)
    contestants = [Contestant("Python", None), *_build(options.only)]
    with tempfile.TemporaryDirectory(dir=options.data) as folder:
        figures = _measure_uploads(
            contestants, Path(folder).resolve(), events=options.events, rounds=options.rounds
        )
        figures += _measure_calls(Path(folder).resolve(), options.data)
    for line in render(figures):
        print(line)


def _parse_options() -> argparse.Namespace:
    names = list(_TITLES)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clients", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--events", type=int, default=_DEFAULT_EVENTS, help="events of one upload (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=_DEFAULT_ROUNDS, help="(default: %(default)s)")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=names,
        default=names,
        metavar="LANGUAGE",
        help=f"which to compare with Python: {', '.join(names)} (default: all)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(".benchmarks"),
        metavar="DIR",
        help="where to make the temporary folder of the store; choose a real disk (default: %(default)s)",
    )
    return parser.parse_args()


def _build(names: Sequence[str]) -> list[Contestant]:
    """The programs of the languages that can be built here."""
    contestants = []
    for name, title in _TITLES.items():
        if name not in names:
            continue
        folder = CLIENTS / name
        if problem := missing_tools(folder):
            announce(f"without {title}: {problem}")
            continue
        download(folder)
        make(folder, "bench-build")
        contestants.append(Contestant(title, folder))
    return contestants


def _measure_uploads(
    contestants: Sequence[Contestant], folder: Path, *, events: int, rounds: int
) -> list[Figure]:
    source = EventSource()
    rates: dict[str, list[float]] = {contestant.title: [] for contestant in contestants}
    with engagement_server(folder / "data") as server:
        for number in range(rounds):
            first = number % len(contestants)
            for contestant in [*contestants[first:], *contestants[:first]]:
                announce(f"round {number + 1} of {rounds}: {contestant.title}, {events:,} events")
                files = [
                    _write_events(folder / "warmup", source, _WARMUP_EVENTS),
                    _write_events(folder / "events", source, events),
                ]
                rates[contestant.title].append(
                    contestant.events_per_second([server.address, ACCOUNT_ID, *map(str, files)])
                )
    return _upload_figures(rates)


def _upload_figures(rates: Mapping[str, Sequence[float]]) -> list[Figure]:
    python = rates["Python"]
    figures = [
        Figure.of_median(_UPLOADS, name=title, samples=samples, unit="events/s")
        for title, samples in rates.items()
    ]
    for title, samples in rates.items():
        if title != "Python":
            ratios = [rate / reference for rate, reference in zip(samples, python, strict=True)]
            figures.append(
                Figure.of_median(
                    _UPLOADS, name=f"{title} / Python", samples=ratios, unit="", target=_MIN_RATIO_TO_PYTHON
                )
            )
    return figures


def _write_events(path: Path, source: EventSource, count: int) -> Path:
    data = io.BytesIO()
    for event in source.take(count):
        proto.serialize_length_prefixed(event, data)
    path.write_bytes(data.getvalue())
    return path


def _measure_calls(folder: Path, tools: Path) -> list[Figure]:
    """What a load generator in another language finds."""
    if problem := missing_tools(CLIENTS / "go"):
        announce(f"without ghz: {problem}")
        return []
    try:
        ghz = _install_ghz(tools)
    except subprocess.CalledProcessError as error:
        announce(f"without ghz: {error}")
        return []
    announce(f"ghz: {_NUMBER_OF_CALLS:,} calls, {_CALLERS} callers")
    image = folder / "contract.binpb"
    subprocess.run([sys.executable, "protos/contract.py", "image", image], cwd=_REPOSITORY, check=True)
    with engagement_server(folder / "calls") as server:
        report = _call(ghz, image, server.address)
    failed = sum(count for status, count in report["statusCodeDistribution"].items() if status != "OK")
    if failed:
        raise RuntimeError(f"{failed} calls failed")
    (slowest,) = (each["latency"] for each in report["latencyDistribution"] if each["percentage"] == 99)

    return [
        Figure(_CALLS, f"{_CALLERS} callers", report["rps"], "calls/s"),
        Figure(_CALLS, f"{_CALLERS} callers, 99th percentile", slowest / 1e6, "ms"),
    ]


def _install_ghz(tools: Path) -> Path:
    bin_folder = (tools / "bin").resolve()
    ghz = bin_folder / "ghz"
    if not ghz.exists():
        subprocess.run(["go", "install", _GHZ], env={**os.environ, "GOBIN": str(bin_folder)}, check=True)
    return ghz


def _call(ghz: Path, image: Path, address: str) -> Any:  # Any: what JSON holds
    request = {
        "account_id": ACCOUNT_ID,
        "event": {
            "event_id": "{{newUUID}}",
            "consumer_id": "visitor-{{.RequestNumber}}",
            "customer_info": {"customer_status": "active", "balance": "{{.RequestNumber}}.50"},
        },
    }
    command = [
        str(ghz),
        "--insecure",
        f"--protoset={image}",
        "--call=engagement.v1.IngestService/RecordEvent",
        f"--data={json.dumps(request)}",
        f"--concurrency={_CALLERS}",
        f"--total={_NUMBER_OF_CALLS}",
        "--connections=5",
        "--format=json",
        address,
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
