"""Follows a document as a stranger would: from a fresh clone, in an empty folder, in one shell.

Blocks marked `file=NAME` are saved, and those of `sh` are run, in order. A block marked `output` shows what
the block before it prints, which is run twice and must print the same again. The other blocks may download.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from clients.run import DOWNLOAD_ATTEMPTS, DOWNLOAD_PAUSE_SECONDS
from tests.support.child_process import REPOSITORY
from tests.support.document import Block, read_blocks

DOCUMENTED_CLONE = "$HOME/engagement-attributes"
ATTEMPT_SECONDS = 600.0
"""Bounds a hang; a build that downloads everything takes a minute or two."""
_STEP = "=== next step"
# Invisible; Maven prints some even if it uses no color.
_COLOR = re.compile(r"\x1b\[[\d;]*m")
_END_OF_FILE = "end of the file"
# Of the environment in which the tests run, not of the stranger's.
_OURS = ("PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "ENGAGEMENT_PYTHON", "ENGAGEMENT_PROTOC")


class _DownloadError(Exception):
    """A step that may download failed."""


def follow(document: Path, *, folder: Path, environment: Mapping[str, str]) -> None:
    """Does what the document says, and compares what it shows; starts again if a download fails."""
    clone = folder / "clone"
    _clone_to(clone)
    for attempt in range(1, DOWNLOAD_ATTEMPTS + 1):
        empty = folder / f"attempt-{attempt}"
        empty.mkdir()
        try:
            _follow_once(read_blocks(document), empty=empty, clone=clone, environment=environment)
        except _DownloadError as error:
            if attempt == DOWNLOAD_ATTEMPTS:
                raise
            print(f"{error}\nretrying in {attempt * DOWNLOAD_PAUSE_SECONDS} s", flush=True)
            time.sleep(attempt * DOWNLOAD_PAUSE_SECONDS)
        else:
            return


def _clone_to(clone: Path) -> None:
    """Copies the files that a clone has, as they are now: nothing that a build has left behind."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, clone / name)


def _follow_once(blocks: list[Block], *, empty: Path, clone: Path, environment: Mapping[str, str]) -> None:
    steps = list(_steps(blocks))
    assert any(shown for _, shown in steps), "no block shows an output"
    script = "\n".join(text for text, _ in steps).replace(DOCUMENTED_CLONE, str(clone))
    status, printed = _run(script, empty, environment)
    outputs = printed.split(f"{_STEP}\n")[1:]
    for (text, shown), output in zip(steps, outputs, strict=False):
        assert output == shown or not shown, f"{text}shows\n{shown}but prints\n{output}"
    if status != 0:
        last, shown = steps[len(outputs) - 1]
        problem = f"{last}ends with {status}:\n{outputs[-1]}"
        assert not shown, problem
        raise _DownloadError(problem)


def _steps(blocks: list[Block]) -> Iterator[tuple[str, str]]:
    """Pieces of the script, each with the output that the document shows for it, if any."""
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        shown = following.text if following is not None and following.is_output else ""
        if block.file is not None:
            assert _END_OF_FILE not in block.text
            save = f"mkdir -p \"$(dirname '{block.file}')\"\ncat >'{block.file}' <<'{_END_OF_FILE}'\n"
            yield f"echo '{_STEP}'\n{save}{block.text}{_END_OF_FILE}\n", ""
        elif block.language == "sh":
            for _ in range(2 if shown else 1):
                yield f"echo '{_STEP}'\n{block.text}", shown


def _run(script: str, folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """The status and the output of a script, whose processes end with it."""
    inherited = {name: value for name, value in os.environ.items() if name not in _OURS}
    with subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**inherited, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            printed, _ = process.communicate(timeout=ATTEMPT_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, _COLOR.sub("", printed)
