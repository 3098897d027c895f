"""Compares the server of this tree with that of another commit: `python -m benchmarks.compare REF`.

Both run with the Python packages that are installed now, and get the same messages by the wire.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import grpc
import uvloop

from benchmarks.events import EventSource
from benchmarks.processes import engagement_server
from benchmarks.report import number, table
from benchmarks.settings import announce
from benchmarks.usage import folder_bytes
from benchmarks.workloads import Contestant, Workload, make_workloads

_TREE: Final = Path(__file__).resolve().parents[1]
_ROUNDS: Final = 5
_CPU, _DISK = "µs of CPU", "bytes"
_DISK_ROW: Final = "disk, an accepted event"
# As of another machine; a server on the same one would not share its connection pool in any case.
_OWN_CONNECTION: Final = (("grpc.use_local_subchannel_pool", 1),)


class _Pair(NamedTuple):
    """What the same work took both versions."""

    base: float
    now: float

    @property
    def ratio(self) -> float:
        """Below 1 if this tree takes less."""
        return self.now / self.base


def main() -> None:
    """Compares, and prints a table."""
    options = _parse_options()
    options.data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.data) as folder, _tree_of(options.ref, Path(folder)) as base:
        rounds = uvloop.run(_compare(base, Path(folder), options.rounds))
    for line in _render(rounds):
        print(line)
    if options.json is not None:
        options.json.write_text(json.dumps(_to_json(options.ref, rounds), indent=2) + "\n")


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description="Compares what the server takes with what it took at another commit.",
    )
    parser.add_argument("ref", metavar="REF", help="the other commit, as git names it")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="of all work (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(".benchmarks"),
        metavar="DIR",
        help="where to create the temporary folder, on a real disk (default: %(default)s)",
    )
    return parser.parse_args()


@contextlib.contextmanager
def _tree_of(ref: str, folder: Path) -> Iterator[Path]:
    """The files of a commit, as long as the context is open."""
    tree = (folder / "base").resolve()
    git = ("git", "-C", str(_TREE), "worktree")
    subprocess.run((*git, "add", "--quiet", "--detach", str(tree), ref), check=True)
    try:
        yield tree
    finally:
        subprocess.run((*git, "remove", "--force", str(tree)), check=True)


async def _compare(base: Path, folder: Path, rounds: int) -> Mapping[str, Sequence[_Pair]]:
    """By name of the work, what it took in each round."""
    pairs: defaultdict[str, list[_Pair]] = defaultdict(list)
    source = EventSource()
    for round_number in range(rounds):
        announce(f"round {round_number + 1} of {rounds}")
        stores = (folder / f"base-{round_number}", folder / f"now-{round_number}")
        works = make_workloads(source)
        with (
            engagement_server(stores[0], tree=base) as first,
            engagement_server(stores[1], tree=_TREE) as second,
        ):
            async with (
                grpc.aio.insecure_channel(first.address, options=_OWN_CONNECTION) as first_channel,
                grpc.aio.insecure_channel(second.address, options=_OWN_CONNECTION) as second_channel,
            ):
                contestants = (Contestant(first, first_channel), Contestant(second, second_channel))
                for index, work in enumerate(works):
                    pair = await _run_in_turns(contestants, work, base_first=(round_number + index) % 2 == 0)
                    if pair is not None:
                        pairs[work.name].append(pair)
        # Only a stopped server has all of its write-ahead log in the database.
        accepted = sum(work.accepted for work in works)
        pairs[_DISK_ROW].append(_Pair(*(folder_bytes(store) / accepted for store in stores)))
    return pairs


async def _run_in_turns(
    contestants: tuple[Contestant, Contestant], work: Workload, *, base_first: bool
) -> _Pair | None:
    """What the work takes both; None if one of them lacks the call."""
    base, now = contestants
    if base_first:
        base_us, now_us = await base.cpu_us(work), await now.cpu_us(work)
    else:
        now_us, base_us = await now.cpu_us(work), await base.cpu_us(work)
    return None if base_us is None or now_us is None else _Pair(base_us, now_us)


def _render(rounds: Mapping[str, Sequence[_Pair]]) -> Iterator[str]:
    header = ("what", "then", "now", "unit", "now / then", "lowest", "highest")
    rows = []
    for name, pairs in rounds.items():
        ratios = [pair.ratio for pair in pairs]
        medians = (median(pair.base for pair in pairs), median(pair.now for pair in pairs))
        spread = (median(ratios), min(ratios), max(ratios))
        rows.append((name, *map(number, medians), _unit(name), *(f"{ratio:.3f}" for ratio in spread)))
    return table(header, rows, right={1, 2, 4, 5, 6})


def _unit(name: str) -> str:
    return _DISK if name == _DISK_ROW else _CPU


def _to_json(ref: str, rounds: Mapping[str, Sequence[_Pair]]) -> dict[str, object]:
    figures = [
        {
            "name": name,
            "unit": _unit(name),
            "then": [pair.base for pair in pairs],
            "now": [pair.now for pair in pairs],
            "ratio": median(pair.ratio for pair in pairs),
        }
        for name, pairs in rounds.items()
    ]
    return {"then": ref, "figures": figures}


if __name__ == "__main__":
    main()
