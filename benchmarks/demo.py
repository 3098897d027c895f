"""Shows a server at work, until Ctrl-C: `python -m benchmarks.demo`.

It runs a temporary server with its management port and sends it mixed traffic, some of it bad.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.demo_load import ACCOUNT, Traffic
from benchmarks.demo_processes import DemoServer, demo_server

_HTTP: Final = "127.0.0.1:9464"
_RETENTION_SECONDS: Final = 120.0
_TEXT: Final = """\
The server is at {address}, with data in a temporary folder. Ctrl-C ends it.

Look at it:
  curl http://{http}/metrics
  curl 'http://{http}/readyz?verbose'
  engagement rejections --server {address} --account {account}

Prometheus scrapes {http}: use that address in the scrape_configs of docs/operations.md, and name
deploy/prometheus/alerts.yaml under rule_files. In Grafana, import deploy/grafana/engagement.json.
"""
_NO_LOG: Final = "nats-server is not installed: the panels of the replicated log stay empty.\n"


def main() -> int:
    """Runs the demo until a signal ends it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=__doc__)
    parser.add_argument(
        "--http", default=_HTTP, help=f"address of the management port; default {_HTTP}, or any if taken"
    )
    parser.add_argument(
        "--retention-seconds",
        type=float,
        default=_RETENTION_SECONDS,
        help="how long the server keeps events; default %(default)s",
    )
    arguments = parser.parse_args()
    http = arguments.http if arguments.http != _HTTP or _is_free(_HTTP) else "127.0.0.1:0"
    with tempfile.TemporaryDirectory(prefix="engagement-demo-") as folder:
        try:
            asyncio.run(_run(Path(folder), http=http, retention_seconds=arguments.retention_seconds))
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


async def _run(folder: Path, *, http: str, retention_seconds: float) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with demo_server(folder, http=http, retention_seconds=retention_seconds) as server:
        _show(server)
        traffic = asyncio.create_task(Traffic(server.address).run())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([traffic, stopping], return_when=asyncio.FIRST_COMPLETED)
        if traffic.done():
            traffic.result()
        traffic.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await traffic


def _show(server: DemoServer) -> None:
    text = _TEXT.format(address=server.address, http=server.http_address, account=ACCOUNT)
    print(text if server.has_log else text + _NO_LOG, flush=True)


def _is_free(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as connection:
        return connection.connect_ex((host, int(port))) != 0


if __name__ == "__main__":
    sys.exit(main())
