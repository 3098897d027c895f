"""How the clients in other languages are run: what is missing is named, what is stale or fails is told."""

from __future__ import annotations

import os
import select
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from clients import run
from clients.languages import CLIENTS, LANGUAGES, Language, Program
from tests.support.waiting import DEADLINE_SECONDS

_PYTHON = Program("Python", [sys.executable, "--version"], (3, 11))
_LANGUAGE = Language(
    "vectors", "Invented", programs=[_PYTHON], downloads=[], checks=[], tests=[], build_bench=[], bench=[]
)


@pytest.fixture(autouse=True)
def without_requirements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUIRE_ALL", raising=False)
    monkeypatch.setattr(run, "DOWNLOAD_PAUSE_SECONDS", 0)


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_every_language_has_a_folder_with_tests_and_a_generator_that_is_there(language: Language) -> None:
    assert (language.folder / "README.md").exists()
    assert language.programs
    assert language.tests
    if language.generator is not None:
        assert any((language.folder / language.generated).iterdir())


def test_every_folder_of_a_client_is_a_language() -> None:
    folders = {path.name for path in CLIENTS.iterdir() if (path / "README.md").exists()}
    assert folders - {"vectors"} == {language.name for language in LANGUAGES}


def test_a_language_without_its_tools_is_skipped_and_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = Program("Zig", ["zig-that-is-nowhere", "version"], (0, 11))
    too_old = replace(_PYTHON, minimum=(99,))
    languages = [replace(_LANGUAGE, programs=[absent]), replace(_LANGUAGE, title="Older", programs=[too_old])]
    assert run.run_all(languages, run.test) == 0
    printed = capsys.readouterr().out
    assert "Zig 0.11 or newer is not installed" in printed
    assert "Python 99 or newer is needed, 3." in printed
    monkeypatch.setenv("REQUIRE_ALL", "1")
    assert run.run_all(languages, run.test) == 1


@pytest.mark.parametrize(("status", "outcome"), [(0, 0), (3, 1)])
def test_a_failed_test_fails_the_run_and_the_others_run_too(
    status: int, outcome: int, capfd: pytest.CaptureFixture[str]
) -> None:
    failing = replace(_LANGUAGE, tests=[python(f"raise SystemExit({status})")])
    other = replace(_LANGUAGE, title="Other", tests=[python("print('the other ran')")])
    assert run.run_all([failing, other], run.test) == outcome
    printed = capfd.readouterr().out
    assert "the other ran" in printed
    assert ("failed: " in printed) == (outcome == 1)


def test_a_download_that_fails_is_tried_again_within_bounds(tmp_path: Path) -> None:
    log = tmp_path / "log"
    fails_once = f"import pathlib; p = pathlib.Path({str(log)!r}); seen = p.exists(); p.touch(); 1 / seen"
    run.download(replace(_LANGUAGE, downloads=[python(fails_once)]))
    always = f"open({str(log)!r}, 'a').write('tried\\n'); raise SystemExit(1)"
    with pytest.raises(run.StepError):
        run.download(replace(_LANGUAGE, downloads=[python(always)]))
    assert log.read_text().count("tried") == run.DOWNLOAD_ATTEMPTS


def test_a_command_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    child = f"import time; file = open({str(fifo)!r}, 'w'); print('.', file=file, flush=True); time.sleep(99)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    for timeout_seconds in (1, 5, 25):
        with pytest.raises(run.StepError, match=f"took more than {timeout_seconds} s"):
            run.run(python(parent), tmp_path, timeout_seconds=timeout_seconds)
        if select.select([reading], [], [], 0)[0]:  # the child had the time to begin
            break
    assert os.read(reading, 10) == b".\n"
    # The pipe ends when no process has it open for writing.
    assert select.select([reading], [], [], DEADLINE_SECONDS)[0], "the child lives"
    assert os.read(reading, 10) == b""
    os.close(reading)


def test_generated_files_that_are_stale_missing_or_left_over_are_named(tmp_path: Path) -> None:
    write = (
        "import pathlib, sys; out = pathlib.Path(sys.argv[2]); (out / 'folder').mkdir();"
        "assert pathlib.Path(sys.argv[1]).stat().st_size > 10_000;"
        "[(out / name).write_text('generated') for name in ('a.txt', 'folder/b.txt')]"
    )
    language = replace(_LANGUAGE, generator=python(write), generated=str(tmp_path / "generated"))
    run.generate(language)
    run.require_fresh(language)
    generated = tmp_path / "generated"
    (generated / "a.txt").write_text("edited")
    (generated / "folder/b.txt").unlink()
    (generated / "left over.txt").touch()
    with pytest.raises(run.StepError, match=r"run `make proto`: a\.txt, folder/b\.txt, left over\.txt"):
        run.require_fresh(language)
    run.generate(language)
    run.require_fresh(language)
