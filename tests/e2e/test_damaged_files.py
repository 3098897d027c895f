"""Damaged, removed and foreign files: noticed, said in a sentence, and with a way to go on."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from engagement import EngagementClient, v1
from engagement.cli.export_text import CsvFormat
from engagement.cli.part_file import PartFile
from engagement.cli.transfer import Transfer
from engagement_server.store.database import DatabaseFile
from tests.support.cli_process import Cli
from tests.support.connection import ACCOUNT, connect
from tests.support.events import customer_event
from tests.support.refused_call import expect_refused
from tests.support.server_process import ServerProcess
from tests.support.store_file import open_store
from tests.support.waiting import eventually

EVENTS = 600
WORKERS = [pytest.param(1, id="one process"), pytest.param(2, id="workers")]
_NOBODY = 65534


def named(number: int) -> v1.Event:
    event = customer_event(f"event-{number:04}", role=f"Role of zq{number:04}zq")
    event.consumer_id = f"consumer-{number}"
    return event


def flip(path: Path, spot: bytes) -> None:
    """Flips a bit of the only place in a file that matches."""
    content = bytearray(path.read_bytes())
    (found,) = re.finditer(spot, content, re.DOTALL)
    content[found.start()] ^= 1
    path.write_bytes(content)


async def fill(server: ServerProcess) -> None:
    async with connect(server.address) as connection:
        for start in range(0, EVENTS, 300):
            await connection.record_batch([named(number) for number in range(start, start + 300)])


def failed_start(data_dir: Path, *options: str) -> str:
    done = Cli(data_dir.parent).run_process(
        "serve", "--listen", "127.0.0.1:0", "--data", str(data_dir), *options
    )
    assert done.status == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("workers", WORKERS)
async def test_reads_name_damaged_events_and_go_on_behind_them(tmp_path: Path, *, workers: int) -> None:
    with ServerProcess(tmp_path / "data", options=("--workers", str(workers))).start() as server:
        await fill(server)
        server.stop()
        flip(tmp_path / "data" / "engagement.db", b"Role of zq0300zq")
        server.start()
        cli = Cli(tmp_path, server=server.address)
        refused = cli.run_process("list", "--json")
        assert (refused.status, refused.stdout.count("\n") > 100) == (2, True)
        assert "stored data is damaged at cursor" in refused.stderr
        assert "--skip-damaged" in refused.stderr
        for command in (
            ["list", "--json", "--skip-damaged"],
            ["list", "--json", "--skip-damaged", "--newest-first"],
            ["export", "events.ndjson", "--skip-damaged"],
            ["tail", "--json", "--from-start", "--skip-damaged", "--limit", "540"],
        ):
            done = cli.run_process(*command)
            assert done.status == 1, done.stderr
            assert "Left out damaged events from cursor" in done.stderr
            exported = tmp_path / "events.ndjson"
            text = exported.read_text() if command[0] == "export" else done.stdout
            assert 540 <= text.count("\n") < EVENTS
            assert "zq0300zq" not in text
            assert "zq0599zq" in text or command[0] == "tail"
        assert cli.run_process("get", "event-0300").status == 2
        assert cli.run_process("get", "event-0001").status == 0
        erased = cli.run_process("erase", "--consumer", "consumer-300", "--yes")
        assert erased.status == 0, erased.stderr
        for path in (tmp_path / "data").iterdir():
            assert b"zq0300zq" not in path.read_bytes().lower()
        assert cli.run_process("list", "--json").status == 0


async def test_a_resumed_export_says_that_the_part_before_leaves_out_damage(
    server_process: ServerProcess, tmp_path: Path
) -> None:
    await fill(server_process)
    server_process.stop()
    flip(server_process.data_dir / "engagement.db", b"Role of zq0300zq")
    server_process.start()

    def stop(done: int, _: int) -> None:
        if done > 300:
            transferring.cancel()

    with PartFile(tmp_path / "events.csv", order={"account": ACCOUNT, "filter": {}}) as part:
        transfer = Transfer(
            part,
            CsvFormat(is_compressed=False),
            wanted=v1.EventFilter(),
            on_progress=stop,
            on_damage=lambda _: None,
        )
        async with EngagementClient(server_process.address, account_id=ACCOUNT) as client:
            transferring = asyncio.create_task(transfer.run(client))
            await asyncio.wait([transferring])
    assert transferring.cancelled()
    cli = Cli(tmp_path, server=server_process.address)
    done = cli.run_process("export", "events.csv", "--skip-damaged")
    assert (done.status, "damaged events were left out of it before." in done.stderr) == (1, True)
    assert 540 <= (tmp_path / "events.csv").read_text().count("\n") - 1 < EVENTS


def remove(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))


def replace(path: Path) -> None:
    """Puts an equal copy in the place of a file."""
    kept = path.rename(path.with_suffix(".moved"))
    shutil.copyfile(kept, path)


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("take_away", [remove, replace])
@pytest.mark.parametrize("name", ["engagement.db", "engagement.db-wal"])
async def test_a_server_whose_file_was_removed_or_replaced_takes_no_event(
    tmp_path: Path, *, workers: int, take_away: Callable[[Path], None], name: str
) -> None:
    file = tmp_path / "data" / name
    with ServerProcess(tmp_path / "data", options=("--workers", str(workers))).start() as server:
        await fill(server)
        take_away(file)
        async with connect(server.address) as connection:
            refused = await expect_refused(connection.record(customer_event("lost")))
            assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")

            async def is_told() -> bool:
                return await serving(server, "engagement.v1.IngestService") is False

            await eventually(is_told, "health tells")
            assert await serving(server, "engagement.v1.EventService")
        file.with_suffix(".moved").rename(file)
        async with connect(server.address) as connection:
            await connection.record(customer_event("back"))


async def serving(server: ServerProcess, service: str) -> bool:
    async with grpc.aio.insecure_channel(server.address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)  # Any: the stubs describe synchronous calls
        response = await health.Check(health_pb2.HealthCheckRequest(service=service))
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


def test_a_folder_stays_locked_without_its_lock_file(server_process: ServerProcess) -> None:
    (server_process.data_dir / "lock").unlink()
    assert "is in use by another server" in failed_start(server_process.data_dir)


def test_a_second_server_says_who_has_the_folder(server_process: ServerProcess) -> None:
    assert re.search(r"in use by another server \(process \d+ on ", failed_start(server_process.data_dir))


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with closing(sqlite3.connect(data / "engagement.db")) as other:
        other.execute("CREATE TABLE theirs (value)")
    before = (data / "engagement.db").read_bytes()
    assert "is a file of another program" in failed_start(data)
    assert (data / "engagement.db").read_bytes() == before


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_a_refused_address_leaves_no_folder(
    server_process: ServerProcess, tmp_path: Path, options: tuple[str, ...]
) -> None:
    arguments = ("serve", "--listen", server_process.address, "--data", str(tmp_path / "new"), *options)
    done = Cli(tmp_path).run_process(*arguments)
    assert (done.status, f"{server_process.address} is in use" in done.stderr) == (2, True)
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a server as another user")
@pytest.mark.parametrize(("user", "name"), [(_NOBODY, "nobody"), (54_321, "54321")])
def test_files_of_another_user_are_refused_with_the_command_that_helps(user: int, name: str) -> None:
    with TemporaryDirectory(prefix="engagement-") as folder:  # pytest's own is closed to others
        data = Path(folder)
        database = DatabaseFile(data)
        database.open_writer().close()
        database.close()
        data.chmod(0o777)
        (data / "lock").unlink()
        # The other user may not be able to read the interpreter's own files, so they are read before.
        code = (
            "import os, pathlib; from engagement_server.store import checksums, database;"
            f" checksums.load_file_layer(); os.setuid({user});"
            f" database.DatabaseFile(pathlib.Path({folder!r})).open_writer()"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigurationError" in done.stderr
    assert f"chown -R {name} {folder}" in done.stderr


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("table", ["sqlite_schema", "settings", "retention", "erasures"])
async def test_a_damaged_page_of_the_start_is_one_sentence(tmp_path: Path, table: str, workers: int) -> None:
    data, options = tmp_path / "data", ("--workers", str(workers))
    with ServerProcess(data, options=options).start() as server:
        server.stop()
    file = data / "engagement.db"
    with closing(open_store(data)) as connection:
        rows = connection.execute("SELECT min(pageno) FROM dbstat WHERE name = ?", (table,))
        ((page,),) = rows
    assert isinstance(page, int)
    content = bytearray(file.read_bytes())
    content[page * 4096 - 1000] ^= 1
    file.write_bytes(content)
    message = failed_start(data, *options)
    assert message.count(f"{file} is damaged") == 1
    assert f"engagement check {data}" in message


@pytest.mark.parametrize("workers", WORKERS)
async def test_a_damaged_write_ahead_log_stops_the_start_and_is_cut_as_the_message_says(
    tmp_path: Path, workers: int
) -> None:
    data, options = tmp_path / "data", ("--workers", str(workers))
    with ServerProcess(data, options=options).start() as server:
        async with connect(server.address) as connection:
            for number in range(20):
                await connection.record(named(number))
            server.kill()
        wal = data / "engagement.db-wal"
        content = bytearray(wal.read_bytes())
        content[content.rindex(b"Role of zq0015zq")] ^= 1
        wal.write_bytes(content)
        message = failed_start(data, *options)
        found = re.search(r"truncate -s (\d+) (\S+)\.", message)
        assert found, message
        assert Path(found[2]) == wal
        os.truncate(wal, int(found[1]))
        server.start()
        async with connect(server.address) as connection:
            stored = await connection.stored_ids()
    assert 10 <= len(stored) < 20
    assert stored == [f"event-{number:04}" for number in range(len(stored))]


async def test_a_check_finds_nothing_in_a_sound_store_and_changes_nothing(
    server_process: ServerProcess, tmp_path: Path
) -> None:
    await fill(server_process)
    cli = Cli(tmp_path)
    in_use = cli.run_process("check", str(server_process.data_dir))
    assert (in_use.status, "is in use by a server" in in_use.stderr) == (2, True)
    server_process.kill()  # the write-ahead log stays
    copy = tmp_path / "copy"
    shutil.copytree(server_process.data_dir, copy)
    (copy / "engagement.db-shm").unlink()
    before = contents(copy)
    done = cli.run_process("check", str(copy))
    assert done.status == 0, done.stdout
    assert f"no damage ({EVENTS} events of 1 account," in done.stdout
    assert {name: contents(copy)[name] for name in before} == before


async def test_a_check_says_where_damage_is_and_what_can_be_done(
    server_process: ServerProcess, tmp_path: Path
) -> None:
    await fill(server_process)
    server_process.stop()
    flip(server_process.data_dir / "engagement.db", b"Role of zq0300zq")
    done = Cli(tmp_path).run_process("check", str(server_process.data_dir), "--json")
    assert done.status == 1
    (store,) = done.json()["stores"]
    page, event, *_ = store["findings"]
    assert (page["kind"], page["place"].endswith(" of events")) == ("page", True)
    assert (event["kind"], "--skip-damaged" in event["remedy"]) == ("event", True)
    assert {each["kind"] for each in store["findings"]} == {"page", "event"}
    assert store["is_cut"] is False


async def test_a_damaged_search_index_is_rebuilt(server_process: ServerProcess, tmp_path: Path) -> None:
    await fill(server_process)
    server_process.stop()
    cli = Cli(tmp_path)
    with closing(open_store(server_process.data_dir)) as connection:
        rows = connection.execute(
            "SELECT pageno FROM dbstat WHERE name = 'search_data' AND pagetype = 'leaf' ORDER BY unused"
        )
        row = rows.fetchone()
    assert row is not None
    page = row[0]
    assert isinstance(page, int)
    content = bytearray((server_process.data_dir / "engagement.db").read_bytes())
    content[page * 4096 - 2000] ^= 1
    (server_process.data_dir / "engagement.db").write_bytes(content)
    done = cli.run_process("check", str(server_process.data_dir))
    assert (done.status, "engagement check --discard-index" in done.stdout) == (1, True)
    assert cli.run_process("check", str(server_process.data_dir), "--discard-index").status == 0
    server_process.start()
    found = Cli(tmp_path, server=server_process.address).run_process("list", "--text", "zq0300zq", "--json")
    assert found.stdout.count("\n") == 1
    server_process.stop()
    assert cli.run_process("check", str(server_process.data_dir)).status == 0


def test_the_index_of_a_backup_is_not_taken_for_that_of_the_store_beside_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with closing(DatabaseFile(data)) as database:
        database.open_writer().close()
    cli = Cli(tmp_path)
    assert cli.run_process("backup", str(data), str(data / "backup.db")).status == 0
    before = (data / "engagement.db").read_bytes()
    refused = cli.run_process("check", str(data / "backup.db"), "--discard-index")
    assert (refused.status, "--discard-index takes the FOLDER" in refused.stderr) == (2, True)
    assert (data / "engagement.db").read_bytes() == before
