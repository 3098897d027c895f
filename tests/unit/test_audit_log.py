"""The audit log in the process that writes it: what is on disk when, and what happens if it cannot be."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement_server.access import audit_log
from engagement_server.access.audit import MAX_SUBJECTS, AuditSettings
from engagement_server.access.audit_kinds import Kind
from engagement_server.access.audit_lines import Event, Line, encode_line, now_text
from engagement_server.access.audit_log import AuditLog
from engagement_server.errors import ConfigurationError, StoreUnavailableError
from engagement_server.metrics import catalogue
from engagement_server.metrics.measures import Measures
from tests.support.audit_lines import KEY, AuditFiles
from tests.support.waiting import eventually

Open = Callable[..., AuditLog]


@pytest.fixture
def files(tmp_path: Path) -> AuditFiles:
    return AuditFiles(tmp_path)


@pytest.fixture
def measures() -> Measures:
    return Measures()


@pytest.fixture
async def start(files: AuditFiles, measures: Measures, tmp_path: Path) -> AsyncIterator[Open]:
    begun: list[AuditLog] = []

    def started(**settings: Any) -> AuditLog:
        log = AuditLog.open(files.config(**settings), data=tmp_path / "data", measures=measures)
        log.begin(version="1.2.3")
        begun.append(log)
        return log

    yield started
    for log in begun:
        await log.close()


def line(kind: Kind = Kind.READS, *, event: Event = Event.CALL, request_id: str = "r") -> Line:
    return Line(time=now_text(), kind=kind, event=event, request_id=request_id)


async def test_a_recorded_line_is_on_disk(start: Open, files: AuditFiles) -> None:
    await start().record(line(Kind.ERASURES))
    assert [each["request_id"] for each in files.lines("erasures")] == ["r"]


async def test_lines_that_are_recorded_together_are_all_there_in_order(
    start: Open, files: AuditFiles
) -> None:
    log = start()
    await asyncio.gather(*(log.record(line(Kind.ERASURES, request_id=str(number))) for number in range(50)))
    assert [each["request_id"] for each in files.lines("erasures")] == [*map(str, range(50))]


async def test_a_noted_line_is_there_soon(start: Open, files: AuditFiles) -> None:
    start().note(line())
    await eventually(lambda: len(files.lines("reads")) == 1, "the line is written")


async def test_the_log_tells_its_start_its_key_and_its_stop(files: AuditFiles, start: Open) -> None:
    log = start()
    log.note(line())
    await log.close()
    begin, end = files.lines("access")
    assert (begin["event"], begin["version"], len(begin["key_id"])) == ("start", "1.2.3", 8)
    assert end["event"] == "stop"
    assert len(files.lines("reads")) == 1


async def test_kinds_that_are_switched_off_have_no_file(start: Open, files: AuditFiles) -> None:
    log = start(audit_kinds="erasures")
    log.note(line())
    await log.record(line(Kind.CHANGES))
    await log.record(line(Kind.ERASURES))
    await log.close()
    assert [path.name for path in files.folder.iterdir()] == ["erasures.jsonl"]


async def test_what_cannot_be_recorded_fails_and_what_was_noted_comes_later(
    start: Open, files: AuditFiles, measures: Measures
) -> None:
    log = start()
    await log.record(line(Kind.ERASURES, request_id="before"))
    shutil.rmtree(files.folder)
    log.note(line(Kind.ERASURES, request_id="noted"))
    with pytest.raises(StoreUnavailableError):
        await log.record(line(Kind.ERASURES, request_id="refused"))
    assert "No such file or directory" in log.problem
    files.folder.mkdir()
    await log.record(line(Kind.ERASURES, request_id="after"))
    assert [each["request_id"] for each in files.lines("erasures")] == ["noted", "after"]
    await eventually(lambda: not log.problem, "the log works again")
    assert measures.count(catalogue.AUDIT_LOST).value == 0


async def test_lines_without_room_are_counted_and_their_gap_is_told(
    start: Open, files: AuditFiles, measures: Measures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "MAX_WAITING_BYTES", 1000)
    log = start()
    shutil.rmtree(files.folder)
    for number in range(100):
        log.note(line(request_id=str(number)))
    lost = measures.count(catalogue.AUDIT_LOST).value
    assert 80 < lost < 100
    await eventually(lambda: f"{lost:.0f} lines are lost" in log.problem, "the check tells it")
    files.folder.mkdir()
    await eventually(lambda: bool(files.lines("reads", event="lost")), "the gap is told")
    *kept, gap = files.lines("reads")
    assert [each["request_id"] for each in kept] == [*map(str, range(100 - int(lost)))]
    assert gap["count"] == lost


async def test_a_recorded_line_without_room_fails_at_once(
    start: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "MAX_WAITING_BYTES", 10)
    with pytest.raises(StoreUnavailableError):
        await start().record(line(Kind.ERASURES))


async def test_moved_files_are_opened_again_when_asked(start: Open, files: AuditFiles) -> None:
    log = start()
    await log.record(line(request_id="one"))
    (files.folder / "reads.jsonl").rename(files.folder / "reads.old")
    log.reopen()
    await eventually((files.folder / "reads.jsonl").exists, "the file is there")
    assert files.lines("reads") == []


@pytest.mark.parametrize("place", ["audit/audit.key", "audit/deep/audit.key"])
async def test_a_key_in_the_folder_is_refused(place: str, files: AuditFiles, tmp_path: Path) -> None:
    inside = tmp_path / place
    inside.parent.mkdir(parents=True)
    shutil.copy(files.key_path, inside)
    for path in (inside, tmp_path / "link"):
        if path != inside:
            path.symlink_to(inside)
        files.key_path = path
        with pytest.raises(ConfigurationError, match="keep it elsewhere"):
            AuditLog.open(files.config(), data=tmp_path / "data", measures=Measures())


async def test_a_key_that_is_too_short_or_missing_is_refused(files: AuditFiles, tmp_path: Path) -> None:
    files.key_path.write_bytes(b"x" * 31 + b"\n")
    with pytest.raises(ConfigurationError, match="openssl rand -hex 32"):
        AuditLog.open(files.config(), data=tmp_path / "data", measures=Measures())
    files.key_path.unlink()
    with pytest.raises(ConfigurationError, match="cannot read --audit-key"):
        AuditLog.open(files.config(), data=tmp_path / "data", measures=Measures())


async def test_the_data_folder_is_refused(files: AuditFiles) -> None:
    with pytest.raises(ConfigurationError, match="another folder than --data"):
        AuditLog.open(files.config(), data=files.folder, measures=Measures())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"audit_kinds": "reads,writes"}, "must be some of erasures"),
        ({"audit_kinds": "reads,"}, "must be some of erasures"),
        ({"audit_max_bytes": "1K"}, "from 64K to 1G"),
        ({"audit_max_bytes": "much"}, "from 64K to 1G"),
        ({"audit_files": 1}, "from 2 to 10000"),
        ({"audit": None}, "belong together"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    settings: dict[str, Any], sentence: str, files: AuditFiles
) -> None:
    from engagement_server.access.audit_config import AuditConfig  # noqa: PLC0415

    with pytest.raises(ConfigurationError, match=sentence):
        AuditConfig(**{"audit": files.folder, "audit_key": files.key_path, **settings})


TEXTS = st.text(st.characters(codec="utf-8"), max_size=200)


@given(ids=st.lists(TEXTS, max_size=2 * MAX_SUBJECTS), account=TEXTS)
def test_ids_are_named_by_hashes_of_their_account(ids: list[str], account: str) -> None:
    settings = AuditSettings(frozenset(Kind), KEY)
    subjects = settings.subjects(account, ids)
    different = [*dict.fromkeys(ids)]
    assert subjects.hashes == tuple(
        settings.subjects(account, [each]).hashes[0] for each in different[:MAX_SUBJECTS]
    )
    assert len(subjects.hashes) + subjects.more == len(different)
    assert len({*subjects.hashes}) == len(subjects.hashes)
    assert not {*subjects.hashes} & {*settings.subjects(account + "x", ids).hashes}


@given(text=TEXTS)
def test_a_line_is_one_line_whatever_it_says(text: str) -> None:
    data = encode_line(
        Line(time="t", kind=text, event=text, principal=text, names=(text,), files={text: text})
    )
    assert data.endswith(b"\n")
    assert b"\n" not in data[:-1]
    assert json.loads(data)["kind"] == text


def test_times_are_in_utc_with_milliseconds() -> None:
    text = now_text()
    assert len(text) == len("2026-11-30T12:00:00.000Z")
    assert text.endswith("Z")
