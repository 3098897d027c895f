"""How the clients' Makefiles are run: missing tools are named, stale code and failures are reported."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
from pathlib import Path

import pytest

from clients import run
from clients.run import CLIENTS

LANGUAGES = {path.parent.name for path in CLIENTS.glob("*/Makefile")}
_NEEDS_BASH = 'NEEDS := "Bash 3: bash --version"'
_PASSES = "download check:"


@pytest.fixture(autouse=True)
def without_requirements(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUIRE_ALL", "MAKEFLAGS", "MAKEFILES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(run, "DOWNLOAD_PAUSE_SECONDS", 0)


def make_client(root: Path, *rules: str, name: str = "invented", settings: str = _NEEDS_BASH) -> Path:
    """Writes a client that shares client.mk with the real ones."""
    folder = root / "clients" / name
    folder.mkdir(parents=True)
    for shared in ("client.mk", "require"):
        shutil.copy(CLIENTS / shared, folder.parent)
    if not (root / "protos").exists():
        (root / "protos").symlink_to(CLIENTS.parent / "protos")
    (folder / "Makefile").write_text("\n".join([settings, "include ../client.mk", *rules, ""]))
    return folder


def test_every_client_but_that_in_python_has_a_makefile() -> None:
    folders = {path.name for path in CLIENTS.iterdir() if (path / "README.md").exists()}
    assert folders - {"python", "vectors"} == LANGUAGES


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_makefile_has_all_targets(language: str) -> None:
    shown = subprocess.run(
        ["make", "-C", str(CLIENTS / language)], capture_output=True, text=True, check=True
    ).stdout
    for target in ("download", "check", "generate", "lint", "test", "bench-build", "bench"):
        assert re.search(rf"^  make {target} +\w", shown, re.MULTILINE), target


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_the_readme_names_the_version_that_the_makefile_needs(language: str) -> None:
    (_, version) = re.findall(r'"([\w.]+) ([\d.]+): ', (CLIENTS / language / "Makefile").read_text())[0]
    (row,) = re.findall(rf"^\|.*\]\({language}\).*$", (CLIENTS / "README.md").read_text(), re.MULTILINE)
    assert re.search(rf" {re.escape(version)} ", row)


def test_a_client_without_its_tools_is_skipped_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = make_client(tmp_path, _PASSES, name="absent", settings='NEEDS := "Zig 0.11: no-zig version"')
    too_old = make_client(
        tmp_path, _PASSES, name="old", settings='NEEDS := "Bash 99.1: bash --version" "Zig 1: no-zig version"'
    )
    assert run.run_all("check", [absent, too_old]) == 0
    printed = capsys.readouterr().out
    assert "absent:      skipped: Zig 0.11 or newer is needed, none is installed\n" in printed
    assert re.search(
        r"^old: +skipped: Bash 99.1 or newer is needed, \d+\.\S+ is installed; Zig 1", printed, re.M
    )
    monkeypatch.setenv("REQUIRE_ALL", "1")
    assert run.run_all("check", [absent]) == 1


@pytest.mark.parametrize(
    ("found", "is_enough"), [("9.9", False), ("10", True), ("10.0.1", True), ("11.2", True), ("none", False)]
)
def test_versions_are_compared_as_numbers(tmp_path: Path, found: str, is_enough: bool) -> None:
    client = make_client(tmp_path, settings=f'NEEDS := "Tool 10: echo tool version {found}"')
    assert (run.missing_tools(client) == "") == is_enough


@pytest.mark.parametrize(("status", "outcome"), [(0, 0), (3, 1)])
def test_a_failed_check_fails_the_run_and_the_others_run_too(
    tmp_path: Path, status: int, outcome: int, capfd: pytest.CaptureFixture[str]
) -> None:
    failing = make_client(tmp_path, "download:", f"check:\n\texit {status}", name="failing")
    other = make_client(tmp_path, "download:", "check:\n\t@echo the other ran", name="other")
    assert run.run_all("check", [failing, other]) == outcome
    printed = capfd.readouterr().out
    assert "the other ran" in printed
    assert ("failed: `make check` failed" in printed) == (outcome == 1)


def test_a_download_that_fails_is_retried_within_bounds_and_a_check_never(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fails_once = "download:\n\t@test -e seen || { touch seen; exit 1; }"
    once = make_client(tmp_path, fails_once, "check:\n\t@echo checked; exit 1", name="once")
    assert run.run_all("check", [once]) == 1
    assert capfd.readouterr().out.count("checked") == 1
    always = make_client(
        tmp_path, "download:\n\t@echo tried; exit 1", "check:\n\t@echo checked", name="always"
    )
    assert run.run_all("check", [always]) == 1
    printed = capfd.readouterr().out
    assert printed.count("tried") == run.DOWNLOAD_ATTEMPTS
    assert "checked" not in printed
    assert "failed: `make download` failed" in printed


def test_a_target_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    client = make_client(tmp_path, f"check:\n\t@sh -c 'exec >{fifo}; echo .; sleep 60' & wait")
    with pytest.raises(run.TargetError, match="took more than 1 s"):
        run.make(client, "check", timeout_seconds=1)
    # The pipe ends when no process has it open for writing.
    while select.select([reading], [], [], 10)[0] and os.read(reading, 10):
        pass
    assert select.select([reading], [], [], 0)[0], "the child lives"
    os.close(reading)


def test_generated_files_that_are_stale_missing_or_left_over_are_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = f"{_NEEDS_BASH}\nGENERATED := generated\nGENERATE := ./generate"
    client = make_client(tmp_path, settings=settings)
    (client / "generate").write_text(
        "#!/bin/sh\nset -eu\ntest $(wc -c <$1) -gt 10000\n"
        "mkdir -p $2/folder\necho generated | tee $2/a.txt $2/folder/b.txt\n"
    )
    (client / "generate").chmod(0o755)
    run.make(client, "generate")
    run.make(client, "fresh")
    generated = client / "generated"
    (generated / "a.txt").write_text("edited")
    (generated / "folder/b.txt").unlink()
    (generated / "left over.txt").touch()
    capfd.readouterr()
    with pytest.raises(run.TargetError):
        run.make(client, "fresh")
    printed = capfd.readouterr().out
    for name in ("a.txt", "b.txt", "left over.txt", "stale, run `make proto`"):
        assert name in printed
    run.make(client, "generate")
    run.make(client, "fresh")


def test_a_generator_that_fails_is_no_stale_code_and_replaces_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = f"{_NEEDS_BASH}\nGENERATED := generated\nGENERATE := false"
    client = make_client(tmp_path, settings=settings)
    (client / "generated").mkdir()
    (client / "generated/a.txt").touch()
    for target in ("fresh", "generate"):
        with pytest.raises(run.TargetError):
            run.make(client, target)
    assert "stale" not in capfd.readouterr().out
    assert (client / "generated/a.txt").exists()
