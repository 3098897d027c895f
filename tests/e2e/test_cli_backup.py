"""Copies of a store say what they have, and what is damaged is refused with a way to go on."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from engagement_server.clock import now_ms
from engagement_server.operations import Commit, RecordBatch
from engagement_server.store.database import DatabaseFile
from engagement_server.store.writer import Writer
from tests.support.cli_process import Cli
from tests.support.connection import connect
from tests.support.events import batch_of, customer_event, customer_events
from tests.support.server_process import ServerProcess


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """The command line in a folder that has a store, `data`, with two events."""
    batch = batch_of(customer_events(2))
    with closing(DatabaseFile(tmp_path / "data")) as database, closing(database.open_writer()) as connection:
        Writer(connection).apply(Commit([RecordBatch("acme", batch, is_atomic=True)], now_ms()))
    return Cli(tmp_path)


def damage(path: Path) -> None:
    """Damages the page with the last event."""
    content = bytearray(path.read_bytes())
    content[content.rindex(b"\n\x0cevent-000001") + 2] ^= 1  # its content
    path.write_bytes(content)


def test_a_backup_and_a_restore_say_what_they_have_written_and_where(cli: Cli) -> None:
    contents = r"2 events of 1 account to {} \(0\.\d MB\) in \d+\.\d s\n"
    copied = cli.run("backup", "data", "backup.db")
    assert re.fullmatch("copied " + contents.format("backup.db"), copied.stdout), copied
    checked = cli.run("check", "backup.db")
    assert re.match(r"backup\.db: no damage \(2 events of 1 account, 0\.\d MB\)\n", checked.stdout), checked
    restored = cli.run("restore", "backup.db", "new/restored")
    assert re.fullmatch("restored " + contents.format("new/restored"), restored.stdout), restored
    assert [copied.status, checked.status, restored.status] == [0, 0, 0]
    assert copied.stderr + restored.stderr == ""


def test_a_backup_and_a_restore_say_so_in_json_too(cli: Cli) -> None:
    copied = cli.run("backup", "data", "backup.db", "--json").json()
    size = (cli.folder / "backup.db").stat().st_size
    contents = {"bytes": size, "accounts": 1, "events": 2, "damaged_pages": 0}
    assert copied == {"seconds": copied["seconds"], "folder": "data", "file": "backup.db", **contents}
    restored = cli.run("restore", "backup.db", "restored", "--json").json()
    assert restored == {"seconds": restored["seconds"], "file": "backup.db", "folder": "restored", **contents}


async def test_a_backup_of_a_running_server_is_restored_and_served(
    server_process: ServerProcess, tmp_path: Path
) -> None:
    async with connect(server_process.address) as connection:
        await connection.record(customer_event("kept"))
        cli = Cli(tmp_path)
        copied = cli.run_process("backup", str(server_process.data_dir), "backup.db")
        assert copied.status == 0, copied.stderr
        await connection.record(customer_event("later"))
    assert cli.run_process("restore", "backup.db", "restored").status == 0
    with ServerProcess(tmp_path / "restored").start() as restored:
        async with connect(restored.address) as connection:
            assert await connection.stored_ids() == ["kept"]


def test_a_damaged_backup_is_restored_only_if_that_is_accepted(cli: Cli) -> None:
    assert cli.run("backup", "data", "backup.db").status == 0
    damage(cli.folder / "backup.db")
    refused = cli.run("restore", "backup.db", "restored")
    assert (refused.status, refused.stdout) == (2, "")
    assert re.search(r"backup\.db is damaged in \d of its pages\. Restore another backup", refused.stderr)
    assert "`engagement check backup.db`" in refused.stderr
    assert not (cli.folder / "restored").exists()
    accepted = cli.run("restore", "backup.db", "restored", "--accept-damage")
    assert accepted.status == 1
    assert re.fullmatch(r"restored .+ to restored \(.+\) in .+ s; damaged: \d pages?\n", accepted.stdout)
    assert cli.run("check", "restored").status == 1


def test_a_file_that_exists_is_not_overwritten_by_a_backup(cli: Cli) -> None:
    kept = cli.folder / "kept"
    kept.write_bytes(b"kept")
    refused = cli.run("backup", "data", "kept")
    assert (refused.status, refused.stderr) == (2, "engagement: kept exists; name another file\n")
    assert kept.read_bytes() == b"kept"


def test_a_damaged_store_is_not_backed_up_and_the_message_says_what_to_do(cli: Cli) -> None:
    damage(cli.folder / "data" / "engagement.db")
    refused = cli.run("backup", "data", "backup.db")
    assert (refused.status, refused.stdout) == (2, "")
    assert "data was not copied: it is damaged" in refused.stderr
    assert "`engagement check data`" in refused.stderr
    assert not (cli.folder / "backup.db").exists()


@pytest.mark.skipif(not os.path.ismount("/proc"), reason="needs a folder that takes no file, even of root")
def test_a_copy_to_a_place_that_takes_none_is_one_sentence(cli: Cli) -> None:
    refused = cli.run("backup", "data", "/proc/backup.db")
    assert (refused.status, refused.stdout) == (2, "")
    assert re.fullmatch(r"engagement: data was not copied: /proc/backup\.db: .+\n", refused.stderr)
    assert cli.run("backup", "data", "backup.db").status == 0
    refused = cli.run("restore", "backup.db", "/proc/restored")
    assert (refused.status, refused.stdout) == (2, "")
    assert "/proc/restored cannot be used" in refused.stderr


def test_a_check_reads_like_sentences(cli: Cli) -> None:
    damage(cli.folder / "data" / "engagement.db")
    shutil.copyfile(cli.folder / "data" / "engagement.db", cli.folder / "copy.db")
    checked = cli.run("check", "copy.db")
    state, *lines = checked.stdout.splitlines()
    assert checked.status == 1
    assert re.fullmatch(r"copy\.db: \d findings \(\d events? of 1 account, 0\.\d MB\)", state)
    assert "  event: events 1 to 2 of account 'acme' cannot be read" in lines
    assert re.fullmatch(r"  page: page \d+ of events is not as it was written", lines[0])
    assert re.fullmatch(r"What can be done \(event\): read on without them .+\.", lines[-2])
    (cli.folder / "no.db").write_bytes(b"no store")
    assert "no.db: 1 finding (0 events of 0 accounts, 0.0 MB)" in cli.run("check", "no.db").stdout
