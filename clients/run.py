"""Tests the clients in other languages than Python, or generates their stubs from the contract.

Usage: python -m clients.run test | generate [LANGUAGE...]

A language whose tools this machine does not have is left out and named at the end. Where REQUIRE_ALL is set,
as on continuous integration, that is a failure.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from clients.languages import CLIENTS, LANGUAGES, Command, Language

_REPOSITORY = CLIENTS.parent
DOWNLOAD_ATTEMPTS = 3
DOWNLOAD_PAUSE_SECONDS = 15
_DOWNLOAD_TIMEOUT_SECONDS = 600
_COMMAND_TIMEOUT_SECONDS = 1200
# What the tests of all languages start servers with, and what their generators compile protos with.
ENVIRONMENT: Final[Mapping[str, str]] = {
    **os.environ,
    "ENGAGEMENT_PYTHON": sys.executable,
    "ENGAGEMENT_PROTOC": f"{sys.executable} -m grpc_tools.protoc",
}


class StepError(Exception):
    """A step failed; the message says which."""


def main() -> None:
    """Runs one command for the languages that are named, or for all."""
    parser = argparse.ArgumentParser(prog="python -m clients.run", description=__doc__.splitlines()[0])
    parser.add_argument(
        "command",
        choices=("test", "generate"),
        help="test: build, check and test; generate: write the stubs anew",
    )
    names = [language.name for language in LANGUAGES]
    parser.add_argument("languages", nargs="*", metavar="LANGUAGE", help=f"{', '.join(names)} (default: all)")
    options = parser.parse_args()
    if unknown := set(options.languages) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    chosen = [each for each in LANGUAGES if not options.languages or each.name in options.languages]
    sys.exit(run_all(chosen, test if options.command == "test" else generate))


def run_all(languages: Iterable[Language], work: Callable[[Language], None]) -> int:
    """Does the work for each language that can be built here, and tells what came of it: an exit status."""
    outcomes: dict[str, str] = {}
    skipped = failed = 0
    for language in languages:
        if problem := language.problem():
            outcomes[language.title] = f"skipped: {problem}"
            skipped += 1
            continue
        print(f"--- {language.title}", flush=True)
        start = time.monotonic()
        try:
            work(language)
            outcomes[language.title] = f"ok, {time.monotonic() - start:.0f} s"
        except StepError as error:
            outcomes[language.title] = f"failed: {error}"
            failed += 1
    print("--- all clients")
    for title, outcome in outcomes.items():
        print(f"{title + ':':12} {outcome}")
    if skipped and os.environ.get("REQUIRE_ALL"):
        print("REQUIRE_ALL is set: what is skipped counts as failed")
        failed += skipped
    return 1 if failed else 0


def test(language: Language) -> None:
    """Everything that says whether a client is right. Raises StepError."""
    download(language)
    require_fresh(language)
    for command in (*language.checks, *language.tests):
        run(command, language.folder)


def generate(language: Language) -> None:
    """Replaces the generated files of a client. Raises StepError."""
    if language.generator is None:
        return
    download(language)
    target = language.folder / language.generated
    with tempfile.TemporaryDirectory() as folder:
        fresh = _generate_into(language, Path(folder))
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(fresh, target)


def require_fresh(language: Language) -> None:
    """Raises StepError where the generated files are not those of today's contract."""
    if language.generator is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        fresh = _generate_into(language, Path(folder))
        committed = language.folder / language.generated
        stale = _differing(fresh, committed)
    if stale:
        raise StepError(f"stale, run `make proto`: {', '.join(stale)}")


def _generate_into(language: Language, folder: Path) -> Path:
    image, fresh = folder / "contract.binpb", folder / "fresh"
    fresh.mkdir()
    run([sys.executable, "protos/contract.py", "image", str(image)], _REPOSITORY)
    run([*(language.generator or ()), str(image), str(fresh)], language.folder)
    return fresh


def _differing(fresh: Path, committed: Path) -> list[str]:
    """Files that are not the same in both folders, or in one only."""
    names = {
        path.relative_to(root).as_posix()
        for root in (fresh, committed)
        for path in root.rglob("*")
        if path.is_file()
    }
    _, mismatched, missing = filecmp.cmpfiles(fresh, committed, sorted(names), shallow=False)
    return sorted([*mismatched, *missing])


def download(language: Language) -> None:
    """Fetches what a client is built with; what fails or hangs is tried again. Raises StepError."""
    for command in language.downloads:
        for attempt in range(1, DOWNLOAD_ATTEMPTS + 1):
            try:
                run(command, language.folder, timeout_seconds=_DOWNLOAD_TIMEOUT_SECONDS)
                break
            except StepError as error:
                if attempt == DOWNLOAD_ATTEMPTS:
                    raise
                print(f"{error}; again in {attempt * DOWNLOAD_PAUSE_SECONDS} s", flush=True)
                time.sleep(attempt * DOWNLOAD_PAUSE_SECONDS)


def run(command: Command, folder: Path, *, timeout_seconds: float = _COMMAND_TIMEOUT_SECONDS) -> None:
    """Runs a command and shows what it prints. Raises StepError."""
    line = " ".join(command)
    print(f"$ {line}", flush=True)
    try:
        # A group of its own: what a build tool started ends with it.
        with subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, start_new_session=True) as process:
            status = _wait(process, timeout_seconds)
    except OSError as error:
        raise StepError(f"`{line}` cannot be run: {error}") from error
    if status is None:
        raise StepError(f"`{line}` took more than {timeout_seconds:g} s")
    if status != 0:
        raise StepError(f"`{line}` ended with {status}")


def _wait(process: subprocess.Popen[bytes], timeout_seconds: float) -> int | None:
    """The exit status; None, with the whole group ended, where it takes too long."""
    try:
        return process.wait(timeout_seconds)
    except BaseException as error:
        os.killpg(process.pid, 9)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            return None
        raise


if __name__ == "__main__":
    main()
