"""A field is added to the contract: what older servers and clients have stored and begun stays right."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from pyarrow import parquet

from engagement import EngagementClient, Uploader, v1
from engagement.cli.event_columns import COLUMNS
from engagement.cli.export_format import ExportFormat
from engagement.cli.export_parquet import ParquetFormat
from engagement.cli.export_text import CsvFormat
from engagement.cli.part_file import PartFile
from engagement.cli.transfer import Transfer
from tests.support.agreement import agreed, clients, views_agree
from tests.support.cli_process import Cli
from tests.support.events import customer_event, customer_events
from tests.support.grown_contract import COLUMN, MEMBER, GrownContract, with_tier
from tests.support.liveperson_input import customer, export, person, read_events
from tests.support.marked_events import files_with
from tests.support.nats_cluster import NatsCluster
from tests.support.raw_upload import RawUpload, chunk
from tests.support.server_cluster import ServerCluster
from tests.support.server_process import ServerProcess
from tests.support.store_file import open_store
from tests.support.waiting import eventually, wait_until

MARK = "zqmark"
MANY_EVENTS = 3_000
"""An export gets them in several batches."""
IMPORTED = export(
    customer({"customerId": "1", MEMBER: "gold"}), customer({"customerId": "2"}), person({"name": "Ada"})
)
EXPIRE = """
import contextlib, pathlib, sys
from engagement_server.clock import now_ms
from engagement_server.operations import Commit, ExpireEvents, SetRetention
from engagement_server.store.database import DatabaseFile
from engagement_server.store.writer import Writer
from tests.support.store_file import open_store

with contextlib.closing(DatabaseFile(pathlib.Path(sys.argv[1])).open_writer()) as connection:
    writer, time_ms = Writer(connection), now_ms() + 1000
    writer.apply(Commit([SetRetention(1, is_first=False)], time_ms))
    applied = writer.apply(Commit([ExpireEvents("acme", time_ms - 1)], time_ms))
    connection.execute("INSERT INTO search (search) VALUES ('integrity-check')")
    print(applied.results)
"""


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> GrownContract:
    return GrownContract.make(tmp_path_factory.mktemp("grown"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data").start() as process:
        yield process


def upgrade(process: ServerProcess, grown: GrownContract) -> None:
    """Stops a server and starts the one that knows the field over the same folder."""
    assert process.stop() == 0
    process.environment |= grown.environment
    process.start()
    process.wait_until_serving()


def tiered(event_id: str, consumer_id: str) -> v1.Event:
    event = customer_event(event_id, balance="1")
    event.consumer_id = consumer_id
    return with_tier(event, f"{MARK} {event_id} of {consumer_id}")


async def found(client: EngagementClient, text: str = MARK) -> list[str]:
    return [each.event.event_id async for each in client.list_events(v1.EventFilter(text=text))]


async def test_what_a_server_stored_before_it_knew_a_field_is_found_erased_and_expired_after(
    server: ServerProcess, grown: GrownContract
) -> None:
    events = [tiered(f"e-{number}", "ada" if number % 2 else "eve") for number in range(8)]
    async with EngagementClient(server.address, account_id="acme") as client:
        first = await client.record_events(events)
        assert await found(client) == []
        await asyncio.to_thread(upgrade, server, grown)
        assert "indexing the events again" in server.messages
        newest_first = [event.event_id for event in reversed(events)]
        assert sorted(await found(client)) == sorted(newest_first)
        assert await found(client, '"e-3 of ada"') == ["e-3"]
        # The same bytes are the same content, although the server reads more of them now.
        again = (await client.record_events(events)).results
        assert {result.outcome for result in again} == {v1.Outcome.OUTCOME_DUPLICATE}
        assert [each.cursor for each in again] == [each.cursor for each in first.results]
        erasure = await client.erase_consumer(consumer_id="ada")
        assert erasure.erased_events == 4
        assert erasure.HasField("complete_time")
        assert await found(client, "ada") == []
        assert len(await found(client)) == 4
        assert not files_with(server.data_dir, "of ada")
    assert server.stop() == 0
    assert await asyncio.to_thread(grown.run, EXPIRE, str(server.data_dir)) == "[4]\n"


async def test_a_profile_that_was_kept_before_has_the_value_after(
    server: ServerProcess, grown: GrownContract, tmp_path: Path
) -> None:
    async with EngagementClient(server.address, account_id="acme") as client:
        await client.record_event(tiered("tiered", "ada"))
        await client.record_events(customer_events(300))
        await client.get_profile(consumer_id="ada")
        with contextlib.closing(open_store(server.data_dir)) as connection:

            def is_kept() -> bool:
                return connection.execute("SELECT count(*) FROM profiles").fetchall() == [(1,)]

            await eventually(is_kept, "the profile is kept")
        await asyncio.to_thread(upgrade, server, grown)
    cli = grown.cli(Cli(tmp_path, server.address))
    result = await asyncio.to_thread(cli.run, "profile", "--consumer", "ada", "--json")
    assert result.json()["customerInfo"][MEMBER] == f"{MARK} tiered of ada", result


async def interrupt(client: EngagementClient, file: Path, format_: ExportFormat) -> None:
    """Exports some of an account's events, and is interrupted, as by Ctrl-C."""

    def stop(*_: int) -> None:
        exporting.cancel()

    order = {"account": client.account_id, "filter": {}}
    with PartFile(file, order=order) as part:
        transfer = Transfer(part, format_, wanted=v1.EventFilter(), on_progress=stop)
        exporting = asyncio.create_task(transfer.run(client))
        with contextlib.suppress(asyncio.CancelledError):
            await exporting
        assert 0 < part.mark.events < MANY_EVENTS


async def test_an_upload_that_began_before_goes_on_after(server: ServerProcess, grown: GrownContract) -> None:
    first, second = tiered("", "ada"), tiered("", "eve")
    for before, sent in ((True, chunk(1, first)), (False, chunk(1, first)), (False, chunk(2, second))):
        async with grpc.aio.insecure_channel(server.address) as channel:
            upload = RawUpload(v1.IngestServiceStub(channel))
            await upload.open()
            await upload.send(sent)
            (ack, *_) = await upload.receive_acks(sent.chunk.sequence)
            assert ack.tally == v1.Tally(accepted=sent.chunk.sequence)
        if before:
            await asyncio.to_thread(upgrade, server, grown)


async def test_an_export_that_was_interrupted_before_is_completed_after_with_its_columns(
    server: ServerProcess, grown: GrownContract, tmp_path: Path
) -> None:
    csv_file, parquet_file = tmp_path / "e.csv", tmp_path / "e.parquet"
    async with EngagementClient(server.address, account_id="acme") as client:
        await Uploader(client).upload([*customer_events(MANY_EVENTS - 1), tiered("tiered", "ada")])
        await interrupt(client, csv_file, CsvFormat(is_compressed=False))
        await interrupt(client, parquet_file, ParquetFormat())
    await asyncio.to_thread(upgrade, server, grown)
    cli = grown.cli(Cli(tmp_path, server.address))
    for file in (csv_file, parquet_file):
        resumed = await asyncio.to_thread(cli.run, "export", file.name)
        assert resumed.status == 0, resumed.stderr
        assert f"begun by an earlier version, without the columns {COLUMN}, and stays so" in resumed.stderr
    columns = [column.name for column in COLUMNS]
    with csv_file.open(newline="") as lines:
        rows = list(csv.reader(lines))
    table = parquet.read_table(parquet_file)
    assert rows[0] == table.column_names == columns
    assert len(rows) - 1 == table.num_rows == MANY_EVENTS
    assert {len(row) for row in rows} == {len(columns)}
    assert (await asyncio.to_thread(cli.run, "export", "new.csv")).status == 0
    with (tmp_path / "new.csv").open(newline="") as lines:
        new = csv.DictReader(lines)
        assert new.fieldnames == [*columns, COLUMN]
        assert [row[COLUMN] for row in new if row[COLUMN]] == [f"{MARK} tiered of ada"]


async def test_a_file_that_is_imported_again_has_the_ids_that_it_had(
    server: ServerProcess, grown: GrownContract, tmp_path: Path
) -> None:
    async with EngagementClient(server.address, account_id="acme") as client:
        await client.record_events(read_events(IMPORTED))
        before = [stored async for stored in client.list_events()]
        await asyncio.to_thread(upgrade, server, grown)
        cli = grown.cli(Cli(tmp_path, server.address))
        cli.write("again.json", json.dumps(IMPORTED))
        again = await asyncio.to_thread(cli.run, "upload", "again.json")
        assert "3 events read: 0 accepted, 3 duplicate, 0 rejected" in again.stderr, again
        assert again.status == 0
        assert [stored async for stored in client.list_events()] == before


async def test_old_and_new_nodes_agree_while_a_cluster_is_upgraded(
    tmp_path: Path, grown: GrownContract
) -> None:
    with NatsCluster(tmp_path / "nats", size=1) as nats, ServerCluster(tmp_path / "nodes", nats) as servers:
        async with clients(*servers.addresses, account_id="acme") as nodes:
            await nodes[0].record_events([tiered(f"old-{number}", "ada") for number in range(4)])
            await nodes[1].record_events([tiered(f"old-{number}", "eve") for number in range(4, 8)])
            await agreed(servers.addresses, account_id="acme")
            await asyncio.to_thread(upgrade, servers.nodes[0], grown)
            # Old nodes store what the new one has indexed, and the other way round.
            await nodes[0].record_events([tiered(f"new-{number}", "bob") for number in range(4)])
            await nodes[1].record_events([tiered(f"old-{number}", "zoe") for number in range(8, 12)])
            assert len(await agreed(servers.addresses, account_id="acme")) == 16
            assert len(await found(nodes[0])) == 16
            assert await found(nodes[2]) == []
            for node, consumer_id in ((0, "ada"), (0, "bob"), (1, "eve")):
                erasure = await nodes[node].erase_consumer(consumer_id=consumer_id)
                assert erasure.HasField("complete_time")
            assert len(await agreed(servers.addresses, account_id="acme")) == 4
            for number in (1, 2):
                await asyncio.to_thread(upgrade, servers.nodes[number], grown)
            assert [len(await found(node)) for node in nodes] == [4, 4, 4]
        folders = [node.data_dir for node in servers.nodes]
        await views_agree(folders)
        for consumer_id in ("ada", "bob", "eve"):
            for folder in folders:
                wait_until(
                    lambda: not files_with(folder, f"of {consumer_id}"),  # noqa: B023 - called at once
                    f"no byte of {consumer_id} is left in {folder}",
                )
