"""`make demo` gives each panel of the dashboard data, and ends all that it has started."""

from __future__ import annotations

import math
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.child_process import ChildProcess
from tests.support.management import ask, samples
from tests.support.panels import panels
from tests.support.promql import Scrape, evaluate, scraped
from tests.support.waiting import eventually, wait_until

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere servers may outlive a demo that is killed"),
]
_QUIET = {
    "Failed calls",
    "Pending erasures",
    "Waiting for a commit",
    "Held expiry",
    "Stalled jobs",
    "Messages to apply",
    "Damaged logs",
    "Foreign messages",
}
"""Panels that show 0 while all is well, or most of the time."""


@contextmanager
def demo(folder: Path) -> Iterator[ChildProcess]:
    """A demo with its files in a folder."""
    folder.mkdir()
    command = (sys.executable, "-m", "benchmarks.demo", "--http", "127.0.0.1:0", "--retention-seconds", "3")
    with ChildProcess(*command, output=folder / "demo", environment={"TMPDIR": str(folder)}) as process:
        process.launch()
        process.first_line()
        yield process


def addresses(process: ChildProcess) -> tuple[str, str]:
    """Where calls are taken, and where the management port is."""
    wait_until(lambda: b"Grafana" in process.output, "the demo says what to do")
    text = process.output.decode()
    calls = re.search(r"The server is at (\S+),", text)
    http = re.search(r"curl http://(\S+)/metrics", text)
    assert calls is not None
    assert http is not None
    return calls[1], http[1]


async def test_each_panel_has_data(tmp_path: Path) -> None:
    with demo(tmp_path / "demo") as process:
        _, http = addresses(process)
        scrapes: list[Scrape] = []
        waiting = [(panel.title, each) for panel in panels() for each in panel.expressions]

        def missing() -> set[str]:
            shown = samples(ask(http, "/metrics").text)
            scrapes.append(scraped({"demo": shown}, seconds=time.monotonic()))
            # A slow machine may not show all of them at once: some are 0 again after a while.
            for title, expression in list(waiting):
                if has_data(expression, scrapes, title in _QUIET):
                    waiting.remove((title, expression))
            return {title for title, _ in waiting}

        try:
            await eventually(lambda: not missing(), "each panel has data", seconds=120)
        except TimeoutError:
            raise AssertionError(f"without data: {waiting}") from None
        process.send(signal.SIGINT)
        assert process.wait() == 0
    assert [path.name for path in (tmp_path / "demo").iterdir() if path.is_dir()] == []


def has_data(expression: str, scrapes: list[Scrape], is_quiet: bool) -> bool:
    """Whether the expression has a value, and unless it is quiet, one above 0."""
    values = [value for value in evaluate(expression, scrapes).values() if not math.isnan(value)]
    return any(value > 0 for value in values) or (is_quiet and bool(values))


def test_a_demo_that_is_killed_leaves_no_server(tmp_path: Path) -> None:
    with demo(tmp_path / "demo") as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 2, "a server of the log and one of ours"
        targets = addresses(process)
        process.kill()
    for target in targets:
        wait_until(lambda target=target: is_closed(target), f"nobody listens on {target}")  # type: ignore[misc]
    for child in children:
        wait_until(lambda child=child: has_ended(int(child)), f"process {child} has ended")  # type: ignore[misc]


def is_closed(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as connection:
        return connection.connect_ex((host, int(port))) != 0


def has_ended(pid: int) -> bool:
    """Whether a process has ended, or only waits to be forgotten."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
