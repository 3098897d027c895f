"""A skipped test fails the session where REQUIRE_ALL is set, and only there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
FILES = {
    "pytest.ini": "[pytest]\n",
    "test_function.py": "import pytest\n\n@pytest.mark.skip(reason='no engine')\ndef test_it(): ...\n",
    "test_module.py": "import pytest\n\npytest.skip('no fuel', allow_module_level=True)\n",
    "test_expected.py": "import pytest\n\n@pytest.mark.xfail\ndef test_it(): assert False\n",
}


def run_samples(folder: Path, *, require_all: str) -> subprocess.CompletedProcess[str]:
    for name, text in FILES.items():
        (folder / name).write_text(text)
    options = ["-p", "tests.support.require_all", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", folder, folder],
        cwd=REPOSITORY,
        env={**os.environ, "REQUIRE_ALL": require_all},
        capture_output=True,
        text=True,
        check=False,
    )


def test_skipped_tests_and_modules_fail_where_all_are_required(tmp_path: Path) -> None:
    done = run_samples(tmp_path, require_all="1")
    assert done.returncode == 1, done.stdout
    assert "no engine" in done.stdout
    assert "no fuel" in done.stdout
    assert "1 xfailed, 2 errors" in done.stdout


def test_skipping_is_allowed_elsewhere(tmp_path: Path) -> None:
    done = run_samples(tmp_path, require_all="")
    assert done.returncode == 0, done.stdout
    assert "2 skipped, 1 xfailed" in done.stdout
