"""Makes one target of the clients' Makefiles, language after language, and sums up.

Usage: python -m clients.run TARGET [LANGUAGE...]

A client whose tools are missing is skipped; if REQUIRE_ALL is set, as in continuous integration, that is a
failure. Only downloads are retried.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

CLIENTS: Final = Path(__file__).resolve().parent
DOWNLOAD_ATTEMPTS = 3
DOWNLOAD_PAUSE_SECONDS = 15
_DOWNLOAD_TIMEOUT_SECONDS = 600
_TARGET_TIMEOUT_SECONDS = 3600


class TargetError(Exception):
    """A target failed; the message says which and how."""


def main() -> None:
    """Makes the target for the languages named, by default for all."""
    languages = [path.parent.name for path in sorted(CLIENTS.glob("*/Makefile"))]
    parser = argparse.ArgumentParser(prog="python -m clients.run", description=__doc__.splitlines()[0])
    parser.add_argument("target", metavar="TARGET", help="such as check or generate")
    parser.add_argument(
        "languages", nargs="*", metavar="LANGUAGE", help=f"{', '.join(languages)} (default: all)"
    )
    options = parser.parse_args()
    if unknown := sorted({*options.languages} - {*languages}):
        parser.error(f"unknown: {', '.join(unknown)}; choose from {', '.join(languages)}")
    chosen = [name for name in languages if not options.languages or name in options.languages]
    sys.exit(run_all(options.target, [CLIENTS / name for name in chosen]))


def run_all(target: str, clients: Sequence[Path]) -> int:
    """Makes the target in each client's folder, even after a failure, and returns the exit status."""
    outcomes = {client.name: _outcome(target, client) for client in clients}
    print("--- all clients")
    for name, outcome in outcomes.items():
        print(f"{name + ':':12} {outcome}")
    failures = ("failed", "skipped") if os.environ.get("REQUIRE_ALL") else ("failed",)
    return int(any(outcome.startswith(failures) for outcome in outcomes.values()))


def _outcome(target: str, client: Path) -> str:
    if problem := missing_tools(client):
        return f"skipped: {problem}"
    print(f"--- {client.name}", flush=True)
    start = time.monotonic()
    try:
        download(client)
        make(client, target)
    except TargetError as error:
        return f"failed: {error}"
    return f"ok, {time.monotonic() - start:.0f} s"


def missing_tools(client: Path) -> str:
    """Names the tools that are missing or too old; empty if there are none."""
    command = ["make", "--silent", "-C", str(client), "tools"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "; ".join((done.stdout or done.stderr).splitlines()) if done.returncode else ""


def download(client: Path) -> None:
    """Fetches the dependencies of a client, and retries if that fails or hangs. Raises TargetError."""
    for attempt in range(1, DOWNLOAD_ATTEMPTS + 1):
        try:
            make(client, "download", timeout_seconds=_DOWNLOAD_TIMEOUT_SECONDS)
        except TargetError as error:
            if attempt == DOWNLOAD_ATTEMPTS:
                raise
            print(f"{error}; retrying in {attempt * DOWNLOAD_PAUSE_SECONDS} s", flush=True)
            time.sleep(attempt * DOWNLOAD_PAUSE_SECONDS)
        else:
            return


def make(client: Path, target: str, *, timeout_seconds: float = _TARGET_TIMEOUT_SECONDS) -> None:
    """Makes a target in a client's folder. Raises TargetError."""
    command = ["make", "--no-print-directory", "-C", str(client), target]
    environment = {**os.environ, "ENGAGEMENT_PYTHON": sys.executable}
    # In a session of its own, so that build tools and servers that it started can be ended with it.
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:
        try:
            status = process.wait(timeout_seconds)
        except BaseException as error:
            os.killpg(process.pid, 9)
            if isinstance(error, subprocess.TimeoutExpired):
                raise TargetError(f"`make {target}` took more than {timeout_seconds:g} s") from None
            raise
    if status != 0:
        raise TargetError(f"`make {target}` failed")


if __name__ == "__main__":
    main()
