"""Stores that cannot be written or opened: clients are told to retry, and nothing is lost or halved."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from random import Random

import grpc
import pytest
from google.protobuf import json_format

from engagement import v1
from tests.support.cli_process import TIMEOUT_SECONDS, Cli, feed
from tests.support.connection import ACCOUNT, Connection, connect
from tests.support.events import customer_event
from tests.support.full_disk import full_disk, limited
from tests.support.ledger import Ledger
from tests.support.producers import Caller, Producer, UploadStream, run_until_unavailable
from tests.support.refused_call import expect_refused
from tests.support.server_process import ServerProcess
from tests.support.store_file import open_store
from tests.support.waiting import deadline

pytestmark = pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="limits a process that runs, which Linux alone allows"
)
_MAX_ROUNDS = 1000


def _large_event(event_id: str) -> v1.Event:
    return customer_event(event_id, balance="x" * 50_000, user_name="y" * 50_000, role="z" * 50_000)


async def _expect_unavailable(call: Awaitable[object]) -> None:
    """Expects an error that makes clients retry later."""
    refused = await expect_refused(call)
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    assert refused.retry_delay_ms > 0


async def test_a_full_disk_refuses_what_writes_and_nothing_else(server_process: ServerProcess) -> None:
    large, kept = _large_event("large"), customer_event("kept")
    async with connect(server_process.address) as connection:
        stored = await connection.record(kept)
        with full_disk(server_process):
            await _expect_unavailable(connection.record(large))
            await _expect_unavailable(connection.record_batch([large]))
            await _expect_unavailable(connection.upload([[large]]))
            checked = await connection.ingest.RecordEvent(
                v1.RecordEventRequest(account_id=ACCOUNT, event=large, validate_only=True)
            )
            found = await connection.events.GetEvent(
                v1.GetEventRequest(account_id=ACCOUNT, cursor=stored.cursor)
            )
            assert await connection.stored_ids() == ["kept"]
        assert checked.result.outcome == v1.Outcome.OUTCOME_ACCEPTED
        assert found.event.event.event_id == "kept"
        recorded = await connection.record(large)
        *_, finished = await connection.upload([[large, customer_event("uploaded")]])
        assert await connection.stored_ids() == ["kept", "large", "uploaded"]
    assert recorded.outcome == v1.Outcome.OUTCOME_ACCEPTED
    assert finished.finished.upload.tally == v1.Tally(accepted=1, duplicate=1)


async def test_an_upload_that_fills_the_disk_goes_on_behind_its_last_acked_chunk(
    server_process: ServerProcess,
) -> None:
    chunks = [[customer_event("first")], [_large_event("large")], [customer_event("last")]]
    async with connect(server_process.address) as connection:
        with full_disk(server_process, room_bytes=100_000):
            await _expect_unavailable(connection.upload(chunks))
        upload = await connection.upload_state()
        assert (upload.committed_through, upload.tally) == (1, v1.Tally(accepted=1))
        assert await connection.stored_ids() == ["first"]
        *_, finished = await connection.upload(chunks)
        assert await connection.stored_ids() == ["first", "large", "last"]
    assert finished.finished.upload.tally == v1.Tally(accepted=3)


@pytest.mark.parametrize("end", [ServerProcess.kill, ServerProcess.stop])
async def test_what_was_acknowledged_on_a_disk_that_fills_is_there_after_a_restart(
    server_process: ServerProcess, end: Callable[[ServerProcess], int | None]
) -> None:
    ledger = Ledger(Random(1))
    producers: list[Producer] = [
        *(Caller(ledger, batch_events=20) for _ in range(8)),
        *(UploadStream(ledger, name=f"upload-{number}") for number in range(2)),
    ]
    async with connect(server_process.address) as connection:
        with full_disk(server_process, room_bytes=2_000_000):
            await asyncio.gather(*(run_until_unavailable(producer, connection) for producer in producers))
            await ledger.check(connection)
            assert not end(server_process)
    ledger.is_closed = True
    server_process.start()
    async with connect(server_process.address) as connection:
        await ledger.check(connection)
        async with deadline("the producers went on after the restart"):
            await asyncio.gather(*(producer.run(connection) for producer in producers))
        await ledger.check_complete(connection)


async def test_a_server_without_free_files_reads_again_when_there_are_some(
    server_process: ServerProcess,
) -> None:
    events = [_large_event(f"{number}") for number in range(20)]
    async with connect(server_process.address) as connection:
        for event in events:
            await connection.record(event)
        with limited(server_process, resource.RLIMIT_NOFILE, 3):
            await _expect_unavailable(_read_beside_each_other(connection))
        assert await connection.stored_ids() == [event.event_id for event in events]


async def _read_beside_each_other(connection: Connection) -> None:
    """Reads whole pages of large events until the server needs another reader thread."""
    for _ in range(_MAX_ROUNDS):
        await asyncio.gather(*(connection.stored_ids() for _ in range(20)))


def _failed_start(data_dir: Path, *, listen: str = "127.0.0.1:0") -> str:
    """The messages of a server that cannot start."""
    done = Cli(Path()).run_process("serve", "--listen", listen, "--data", str(data_dir))
    assert done.status == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_folder_is_for_one_server(server_process: ServerProcess) -> None:
    messages = _failed_start(server_process.data_dir)
    assert f"the data folder {server_process.data_dir} is in use by another server" in messages


def test_a_port_is_for_one_server(server_process: ServerProcess, tmp_path: Path) -> None:
    messages = _failed_start(tmp_path / "other", listen=server_process.address)
    assert f"{server_process.address} is in use" in messages


def test_a_server_that_cannot_start_says_so_in_one_sentence(
    server_process: ServerProcess, tmp_path: Path
) -> None:
    address, data = server_process.address, server_process.data_dir
    choice = "choose another address with --listen HOST:PORT (make run LISTEN=HOST:PORT)"
    in_use = f"{address} is in use; stop the program that listens there, or {choice}"
    unknown = f"the host of no.such.host.invalid:1 is not known here; {choice}"
    for option, sentence in (
        (f"--listen={address}", in_use),
        (f"--listen={address} --workers=2", in_use),
        ("--listen=no.such.host.invalid:1", unknown),
        ("--listen=no.such.host.invalid:1 --workers=2", unknown),
        ("--listen=192.0.2.1:1", f"cannot listen on 192.0.2.1:1: Cannot assign requested address; {choice}"),
        (
            f"--data={data}/lock/x",
            f"the data folder {data}/lock/x cannot be used: Not a directory; choose another with --data DIR",
        ),
    ):
        switches = ("--insecure-no-tls", "--insecure-no-auth")  # some of the addresses are no loopback
        given = ("--data=other", "--listen=127.0.0.1:0", *switches, *option.split())
        done = Cli(tmp_path).run_process("serve", *given)
        assert (done.status, done.stdout, done.stderr) == (2, "", f"engagement: {sentence}\n")


def test_a_file_is_no_data_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert f"the data folder {file} cannot be used: it is not a folder" in _failed_start(file)
    assert f"the data folder {file / 'data'} cannot be used" in _failed_start(file / "data")


def test_a_store_of_a_newer_server_is_left_alone(server_process: ServerProcess) -> None:
    server_process.stop()
    file = server_process.data_dir / "engagement.db"
    with closing(open_store(server_process.data_dir)) as connection:
        connection.pragma("user_version", 999)
    before = file.read_bytes()
    assert f"{file} has schema version 999" in _failed_start(server_process.data_dir)
    assert file.read_bytes() == before


def test_a_file_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "engagement.db"
    file.write_text("the text of another program\n" * 1000)
    assert f"{file} cannot be used: file is not a database" in _failed_start(tmp_path)
    assert file.read_text() == "the text of another program\n" * 1000


def test_the_command_line_says_why_an_upload_waits_and_goes_on(
    server_process: ServerProcess, tmp_path: Path
) -> None:
    cli = Cli(tmp_path, server=server_process.address)
    with cli.start("upload", "-") as process:
        assert process.stderr is not None
        with full_disk(server_process):
            feed(process, json_format.MessageToJson(_large_event("large"), indent=None))
            told = process.stderr.readline().decode()
        _, rest = process.communicate(timeout=TIMEOUT_SECONDS)
    assert told.startswith("engagement: The server cannot go on now: the store is not available")
    assert told.endswith(" Waiting for it.\n")
    assert b"Waiting" not in rest
    assert (process.returncode, cli.count_stored()) == (0, 1)


async def test_a_first_start_on_a_full_disk_leaves_a_folder_that_starts(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as process:
        process.launch()
        # Long before it has loaded its modules and opens its files.
        with full_disk(process, room_bytes=20_000):
            assert process.wait() == 2
        assert "engagement.db cannot be used" in process.messages
        assert "Traceback" not in process.messages
        process.start()
        async with connect(process.address) as connection:
            result = await connection.record(customer_event())
    assert result.outcome == v1.Outcome.OUTCOME_ACCEPTED
