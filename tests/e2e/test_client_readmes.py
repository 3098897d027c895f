"""A stranger who follows the README of a client gets a program that prints what the README shows.

Part of `make test-clients`. A language is skipped if tools are missing, and they are named.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from clients.run import CLIENTS, DOWNLOAD_ATTEMPTS, missing_tools
from tests.support import stranger
from tests.support.document import read_blocks
from tests.support.server_process import ServerProcess
from tests.support.stranger import ATTEMPT_SECONDS, follow

LANGUAGES = ["go", "java", "python", "rust", "typescript"]
# The stranger's program uses dependencies that were compiled for the client's tests.
RUST = {
    "CARGO_TARGET_DIR": str(CLIENTS / "rust/target"),
    "CARGO_PROFILE_DEV_DEBUG": "line-tables-only",
    # Each clone has its own path, so what is kept of one is never used again.
    "CARGO_INCREMENTAL": "0",
}


@pytest.mark.toolchain
@pytest.mark.timeout((DOWNLOAD_ATTEMPTS + 1) * ATTEMPT_SECONDS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_stranger_gets_what_the_readme_shows(
    language: str, server_process: ServerProcess, tmp_path: Path
) -> None:
    client = CLIENTS / language
    if (client / "Makefile").exists() and (problem := missing_tools(client)):
        pytest.skip(problem)
    environment = {"ENGAGEMENT_SERVER": server_process.address, **(RUST if language == "rust" else {})}
    follow(client / "README.md", folder=tmp_path, environment=environment)


def test_every_client_has_a_readme_that_a_stranger_follows_to_the_same_output() -> None:
    readmes = {path.parent.name for path in CLIENTS.glob("*/README.md")}
    assert readmes - {"vectors"} == {*LANGUAGES}
    outputs = {
        block.text
        for language in LANGUAGES
        for block in read_blocks(CLIENTS / language / "README.md")
        if block.is_output
    }
    assert len(outputs) == 1


@pytest.mark.parametrize("program", ["echo shown; exit 1", "echo other", "echo >>runs; grep -c '' runs"])
def test_a_program_that_fails_or_prints_something_else_or_changes_is_not_tried_again(
    program: str, tmp_path: Path
) -> None:
    shown = "1" if "runs" in program else "shown"
    readme = tmp_path / "README.md"
    readme.write_text(f"```sh\n{program}\n```\n```text output\n{shown}\n```\n")
    with pytest.raises(AssertionError):
        follow(readme, folder=tmp_path, environment={})
    assert [path.name for path in tmp_path.glob("attempt-*")] == ["attempt-1"]


def test_a_download_that_fails_is_tried_again_in_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stranger, "DOWNLOAD_PAUSE_SECONDS", 0)
    readme = tmp_path / "README.md"
    download = 'test ! -e file\ntouch file\ntest -e "$SEEN" || { touch "$SEEN"; exit 1; }'
    readme.write_text(f"```sh\n{download}\n```\n```sh\nls\n```\n```text output\nfile\n```\n")
    follow(readme, folder=tmp_path, environment={"SEEN": str(tmp_path / "seen")})
    assert len([*tmp_path.glob("attempt-*")]) == DOWNLOAD_ATTEMPTS - 1
