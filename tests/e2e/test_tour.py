"""`make tour` takes the examples all the way, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.child_process import REPOSITORY
from tests.support.waiting import DEADLINE_SECONDS

pytestmark = pytest.mark.timeout(4 * DEADLINE_SECONDS)


def run_tour(folder: Path, *, programs: Path) -> subprocess.CompletedProcess[str]:
    """Runs the tour with a folder for its files, and the folder of the programs that it starts."""
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "TMPDIR": str(folder)}
    return subprocess.run(
        ["bash", "docs/tour.sh"],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3 * DEADLINE_SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tour")


@pytest.fixture(scope="module")
def done(folder: Path) -> subprocess.CompletedProcess[str]:
    """The tour, run to its end."""
    return run_tour(folder, programs=Path(sys.executable).parent)


def sections(output: str) -> dict[str, str]:
    """The text below each heading."""
    parts = re.split(r"^== (.*)$", output, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_the_tour_stores_follows_and_folds_the_examples_and_shows_what_is_refused(
    done: subprocess.CompletedProcess[str],
) -> None:
    assert done.returncode == 0, done.stdout
    shown = sections(done.stdout)
    (first,) = (text for title, text in shown.items() if title.startswith("Uploading avro"))
    accepted = re.search(r"^\d+ files: \d+ events read: (\d+) accepted", first, re.MULTILINE)
    assert accepted is not None
    again = shown["Uploading them again adds nothing"]
    assert re.search(r"^\d+ files: \d+ events read: 0 accepted", again, re.MULTILINE)
    assert len(shown["What is stored"].strip().splitlines()) == 1 + int(accepted[1])
    followed = shown["What the follower saw meanwhile, as it came"].strip().splitlines()
    assert followed == [line.rsplit("\t", 4)[0] for line in shown["What is stored"].strip().splitlines()]
    before = shown["One customer, from everything that was uploaded"]
    (after,) = (text for title, text in shown.items() if title.startswith("The last line"))
    assert "balance\t1250.50" in before
    assert "balance\t0.00" in after
    assert "lastPaymentDate\t2025-01-09" in after
    assert "must be a day of the calendar" in shown["What was refused, and why"]


def test_the_tour_ends_its_server_and_removes_its_folder(
    done: subprocess.CompletedProcess[str], folder: Path
) -> None:
    listening = re.search(r"^listening on 127\.0\.0\.1:(\d+)$", done.stdout, re.MULTILINE)
    assert listening is not None
    with socket.socket() as connection:
        assert connection.connect_ex(("127.0.0.1", int(listening[1]))) != 0
    assert list(folder.iterdir()) == []


def test_the_tour_says_why_a_server_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "engagement").write_text("#!/bin/sh\necho 'no room' >&2\nexit 2\n")
    (tmp_path / "engagement").chmod(0o755)
    done = run_tour(tmp_path, programs=tmp_path)
    assert done.returncode == 1
    assert "no room" in done.stdout
