"""Processes that are forked for tests: signals reach them, and none is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.child_process import REPOSITORY
from tests.support.forked_process import start_forked
from tests.support.waiting import DEADLINE_SECONDS, wait_until
from tests.support.worker_processes import NEEDS_PROC

# Starts a server in a folder, says which process that is, and waits to be killed.
_TEST_PROCESS = """
import sys
from pathlib import Path
from tests.support.server_process import ServerProcess

print(ServerProcess(Path(sys.argv[1])).start().pid, flush=True)
sys.stdin.read()
"""


def test_a_signal_to_a_process_that_is_ending_does_nothing() -> None:
    with open(os.devnull, "r+b") as nothing:
        for _ in range(10):
            process = start_forked(
                ["--version"],
                folder=REPOSITORY,
                environment=os.environ,
                streams=(nothing.fileno(), nothing.fileno(), nothing.fileno()),
            )
            assert process is not None
            while process.returncode is None:
                process.send_signal(0)
            assert process.wait(DEADLINE_SECONDS) == 0


@NEEDS_PROC
def test_a_server_ends_with_the_test_process_even_if_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _TEST_PROCESS, str(tmp_path / "data")],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as test_process:
        try:
            assert test_process.stdout is not None
            server = Path(f"/proc/{int(test_process.stdout.readline())}")
            assert server.exists()
        finally:
            test_process.kill()
    wait_until(lambda: not server.exists(), "the server ends")
