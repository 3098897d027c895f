"""A test run ends, and fails for skipped tests where all are required."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.child_process import REPOSITORY
from tests.support.waiting import DEADLINE_SECONDS

SKIPPING = {
    "test_function.py": "import pytest\n\n@pytest.mark.skip(reason='no engine')\ndef test_it(): ...\n",
    "test_module.py": "import pytest\n\npytest.skip('no fuel', allow_module_level=True)\n",
    "test_expected.py": "import pytest\n\n@pytest.mark.xfail\ndef test_it(): assert False\n",
}
HANGING = """
import asyncio

async def wait_for_nothing():
    await asyncio.Event().wait()

async def test_hangs():
    await wait_for_nothing()

def test_behind_it(): ...
"""
STUBBORN = """
import time

def test_swallows_its_failure():
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
"""


def run(
    folder: Path, files: dict[str, str], *options: str, require_all: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs sample tests with the configuration of this repository."""
    for name, text in files.items():
        (folder / name).write_text(text)
    plugins = ["-p", "tests.support.run_rules", "-p", "no:cacheprovider"]
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            "pyproject.toml",
            "--rootdir",
            folder,
            *plugins,
            *options,
            folder,
        ],
        cwd=REPOSITORY,
        env={**os.environ, "REQUIRE_ALL": require_all},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )


def test_skipped_tests_and_modules_fail_if_all_are_required(tmp_path: Path) -> None:
    done = run(tmp_path, SKIPPING, "--continue-on-collection-errors", require_all="1")
    assert done.returncode == 1, done.stdout
    assert "no engine" in done.stdout
    assert "no fuel" in done.stdout
    assert "1 xfailed, 2 errors" in done.stdout


def test_skipping_is_allowed_elsewhere(tmp_path: Path) -> None:
    done = run(tmp_path, SKIPPING, "-v")
    assert done.returncode == 0, done.stdout
    assert "2 skipped, 1 xfailed" in done.stdout


def test_every_test_has_a_deadline(pytestconfig: pytest.Config) -> None:
    assert float(str(pytestconfig.getini("timeout"))) > DEADLINE_SECONDS


def test_a_test_that_hangs_fails_at_its_deadline_shows_where_and_lets_others_run(tmp_path: Path) -> None:
    done = run(tmp_path, {"test_hanging.py": HANGING}, "-v", "-o", "timeout=3")
    assert done.returncode == 1, done.stdout
    assert "1 failed, 1 passed" in done.stdout
    assert "Timeout (>3.0s)" in done.stdout
    assert "in wait_for_nothing" in done.stdout


def test_a_test_that_survives_its_deadline_ends_the_process_and_shows_where(tmp_path: Path) -> None:
    done = run(tmp_path, {"test_stubborn.py": STUBBORN}, "-o", "timeout=1")
    assert done.returncode == 1, done.stdout
    assert "Timeout (0:00:02)" in done.stderr
    assert "in test_swallows_its_failure" in done.stderr
