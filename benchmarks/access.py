"""What it takes a server to encrypt, and to ask callers who they are: `python -m benchmarks.access`.

Each round compares a server on its own with one that does more, over the same work in turns.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import grpc
import uvloop

from benchmarks.events import EventSource
from benchmarks.load import ACCOUNT_ID
from benchmarks.processes import engagement_server
from benchmarks.report import table
from benchmarks.settings import add_output_options, announce
from benchmarks.turns import Turns, run_in_turns
from benchmarks.workloads import Contestant, make_workloads
from engagement_server.access.token_file import TokenFile
from tests.support.tls_files import TlsFiles

_ROUNDS: Final = 5
_NAME: Final = "bench"
_GRANTS: Final = f"""
[[principal]]
name = "{_NAME}"
tokens = ["{_NAME}"]
accounts = ["*"]
scopes = ["ingest", "read", "read.pii"]
"""
_QUOTAS: Final = """
events_per_second = 10_000_000
concurrent_streams = 1_000
stored_bytes = 1_000_000_000_000
max_new_accounts = 1_000
"""

_Measured = dict[str, list[Turns]]
"""By name of the work, what it took in each round."""


class _Way(NamedTuple):
    """A way to protect a server."""

    options: Sequence[str]
    authorities: bytes | None = None
    """Of its certificate; None for a connection in plain text."""


def main() -> None:
    """Compares, and prints a table."""
    options = _parse_options()
    options.data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.data) as name:
        folder = Path(name)
        ways, token = _make_ways(folder)
        measured = {
            way: uvloop.run(_compare(ways[way], token, folder, name=way, rounds=options.rounds))
            for way in options.only or ways
        }
    for line in _render(measured):
        print(line)
    if options.json is not None:
        options.json.write_text(json.dumps(_to_json(measured), indent=2) + "\n")


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.access", description=__doc__)
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="of each way (default: %(default)s)")
    parser.add_argument("--only", nargs="+", metavar="WAY", help="some of: nothing, tls, grants, quotas, all")
    add_output_options(parser)
    return parser.parse_args()


def _make_ways(folder: Path) -> tuple[Mapping[str, _Way], str]:
    """The ways by name, and a token that all of those know that ask for one."""
    files = TlsFiles(folder / "tls")
    tokens_path = folder / "tokens.json"
    tokens = TokenFile(tokens_path)
    token = tokens.create(_NAME, expire_ms=None)
    asking = {"grants": _GRANTS, "quotas": _GRANTS + _QUOTAS}
    # Two servers that are alike show what the figures of the others are worth.
    ways = {"nothing": _Way(()), "tls": _Way(files.options, files.authority.cert_pem.bytes())}
    for name, text in asking.items():
        path = folder / f"{name}.toml"
        path.write_text(text)
        ways[name] = _Way(("--grants", str(path), "--tokens", str(tokens_path)))
    ways["all"] = _Way((*files.options, *ways["quotas"].options), ways["tls"].authorities)
    return ways, token


async def _compare(way: _Way, token: str, folder: Path, *, name: str, rounds: int) -> _Measured:
    measured: _Measured = defaultdict(list)
    source = EventSource()
    for number in range(rounds):
        announce(f"{name}: round {number + 1} of {rounds}")
        for kind, works in make_workloads(source).items():
            stores = [folder / f"{name}-{kind}-{number}-{which}" for which in ("plain", "protected")]
            with engagement_server(stores[0]) as plain, engagement_server(stores[1], *way.options) as other:
                async with _plain(plain.address) as one, _connected(other.address, way, token) as two:
                    contestants = (Contestant(plain, one), Contestant(other, two))
                    for turn, work in enumerate(works, number):
                        turns = await run_in_turns(contestants, work, base_first=turn % 2 == 0)
                        assert turns is not None, "both are the same program"
                        measured[work.name].append(turns)
            for store in stores:
                shutil.rmtree(store)
    return measured


def _plain(address: str) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(address, interceptors=_shown())


def _connected(address: str, way: _Way, token: str) -> grpc.aio.Channel:
    if way.authorities is None:
        return grpc.aio.insecure_channel(address, interceptors=_shown(token))
    credentials = grpc.ssl_channel_credentials(way.authorities)
    return grpc.aio.secure_channel(address, credentials, interceptors=_shown(token))


def _shown(token: str = "") -> Sequence[grpc.aio.ClientInterceptor]:
    """Interceptors that name the account, and show a token if there is one."""
    metadata = [("engagement-account", ACCOUNT_ID)]
    if token:
        metadata.append(("authorization", f"Bearer {token}"))

    def with_metadata(details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
        return grpc.aio.ClientCallDetails(
            details.method,
            details.timeout,
            grpc.aio.Metadata(*metadata),
            details.credentials,
            details.wait_for_ready,
        )

    class Unary(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, go_on: Any, details: Any, request: Any) -> Any:
            return await go_on(with_metadata(details), request)

    class Stream(grpc.aio.StreamStreamClientInterceptor):
        async def intercept_stream_stream(self, go_on: Any, details: Any, requests: Any) -> Any:
            return await go_on(with_metadata(details), requests)

    return [Unary(), Stream()]


def _render(measured: Mapping[str, _Measured]) -> Iterator[str]:
    header = ("with", "what", "processor time", "time", "lowest and highest")
    rows = []
    for way, works in measured.items():
        for name, turns in works.items():
            cpu, wall = [each.cpu.ratio for each in turns], [each.wall.ratio for each in turns]
            spread = f"{min(cpu):.2f} to {max(cpu):.2f}, {min(wall):.2f} to {max(wall):.2f}"
            rows.append((way, name, f"{median(cpu):.3f}", f"{median(wall):.3f}", spread))
    return table(header, rows, right={2, 3})


def _to_json(measured: Mapping[str, _Measured]) -> list[dict[str, object]]:
    return [
        {
            "with": way,
            "name": name,
            "cpu": [each.cpu.ratio for each in turns],
            "wall": [each.wall.ratio for each in turns],
        }
        for way, works in measured.items()
        for name, turns in works.items()
    ]


if __name__ == "__main__":
    main()
