"""Compares the server of this tree with that of another commit: `python -m benchmarks.compare REF`.

Both run with the Python packages that are installed now, and get the same messages by the wire.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Final, TypeAlias

import grpc
import uvloop

from benchmarks.events import EventSource
from benchmarks.processes import engagement_server
from benchmarks.report import number, table
from benchmarks.settings import add_output_options, announce
from benchmarks.turns import Pair, run_in_turns
from benchmarks.usage import database_bytes
from benchmarks.workloads import Contestant, Workload, make_workloads

_TREE: Final = Path(__file__).resolve().parents[1]
_ROUNDS: Final = 5
_DISK: Final = "disk"


_Pairs: TypeAlias = dict[str, list[Pair]]
"""By name of the work, what it took in each round."""


def main() -> None:
    """Compares, and prints a table."""
    options = _parse_options()
    options.data.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=options.data) as folder,
        _tree_of(options.commit, Path(folder)) as base,
    ):
        rounds = uvloop.run(_compare(base, Path(folder), options.rounds))
    for line in _render(rounds):
        print(line)
    if options.json is not None:
        options.json.write_text(json.dumps(_to_json(options.commit, rounds), indent=2) + "\n")


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description="Compares what the server takes with what it took at another commit.",
    )
    parser.add_argument("commit", type=_commit, metavar="REF", help="the other commit, as git names it")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="of all work (default: %(default)s)")
    add_output_options(parser)
    return parser.parse_args()


def _commit(ref: str) -> str:
    git = ("git", "-C", str(_TREE), "rev-parse", "--quiet", "--verify", f"{ref}^{{commit}}")
    found = subprocess.run(git, capture_output=True, check=False, text=True)
    if found.returncode:
        raise argparse.ArgumentTypeError(f"git knows no commit {ref!r}")
    return found.stdout.strip()


@contextlib.contextmanager
def _tree_of(commit: str, folder: Path) -> Iterator[Path]:
    """The files of a commit, as long as the context is open."""
    tree = (folder / "base").resolve()
    git = ("git", "-C", str(_TREE), "worktree")
    subprocess.run((*git, "add", "--quiet", "--detach", str(tree), commit), check=True)
    try:
        yield tree
    finally:
        subprocess.run((*git, "remove", "--force", str(tree)), check=True)


async def _compare(base: Path, folder: Path, rounds: int) -> _Pairs:
    pairs: _Pairs = defaultdict(list)
    source = EventSource()
    for number_of_round in range(rounds):
        announce(f"round {number_of_round + 1} of {rounds}")
        for kind, works in make_workloads(source).items():
            stores = (folder / f"then-{kind}-{number_of_round}", folder / f"now-{kind}-{number_of_round}")
            await _measure(
                pairs, works, trees=(base, _TREE), stores=stores, base_first=number_of_round % 2 == 0
            )
            # Only a stopped server has all of its write-ahead log in the database.
            sent = sum(work.sent for work in works)
            pairs[f"{_DISK}, {kind} event"].append(Pair(*(database_bytes(store) / sent for store in stores)))
            for store in stores:
                shutil.rmtree(store)
    return pairs


async def _measure(
    pairs: _Pairs,
    works: Sequence[Workload],
    *,
    trees: tuple[Path, Path],
    stores: tuple[Path, Path],
    base_first: bool,
) -> None:
    """Adds what the work takes the servers of two trees, which do it in turns."""
    with (
        engagement_server(stores[0], tree=trees[0]) as first,
        engagement_server(stores[1], tree=trees[1]) as second,
    ):
        async with (
            grpc.aio.insecure_channel(first.address) as first_channel,
            grpc.aio.insecure_channel(second.address) as second_channel,
        ):
            contestants = (Contestant(first, first_channel), Contestant(second, second_channel))
            for work in works:
                turns = await run_in_turns(contestants, work, base_first=base_first)
                base_first = not base_first
                if turns is not None:
                    pairs[work.name].append(turns.cpu)


def _render(rounds: _Pairs) -> Iterator[str]:
    header = ("what", "then", "now", "unit", "now / then", "lowest", "highest")
    rows = []
    for name, pairs in rounds.items():
        ratios = [pair.ratio for pair in pairs]
        medians = (median(pair.base for pair in pairs), median(pair.now for pair in pairs))
        spread = (median(ratios), min(ratios), max(ratios))
        rows.append((name, *map(number, medians), _unit(name), *(f"{ratio:.3f}" for ratio in spread)))
    return table(header, rows, right={1, 2, 4, 5, 6})


def _unit(name: str) -> str:
    return "bytes" if name.startswith(_DISK) else "µs of CPU"


def _to_json(commit: str, rounds: _Pairs) -> dict[str, object]:
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
    return {"then": commit, "figures": figures}


if __name__ == "__main__":
    main()
