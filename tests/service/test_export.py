"""Exports that are interrupted at any place go on to the same file; what was erased meanwhile is in none."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engagement import EngagementClient, v1
from engagement.cli.export_format import ExportFormat
from engagement.cli.export_parquet import ParquetFormat
from engagement.cli.export_text import CsvFormat, NdjsonFormat
from engagement.cli.failures import CommandError
from engagement.cli.part_file import PartFile
from engagement.cli.transfer import ErasedMeanwhileError, Transfer
from engagement_server.config import Config
from engagement_server.node import Server
from tests.support.event_samples import good_event
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import deadline

EVENTS = 9000
EVERYTHING = v1.EventFilter()
FORMATS: dict[str, ExportFormat] = {
    "ndjson": NdjsonFormat(is_compressed=False),
    "ndjson.gz": NdjsonFormat(is_compressed=True),
    "csv": CsvFormat(is_compressed=False),
    "csv.gz": CsvFormat(is_compressed=True),
    "parquet": ParquetFormat(),
}


@pytest.fixture(scope="module")
def filled_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a stopped server that has events of ten consumers."""
    folder = tmp_path_factory.mktemp("filled") / "data"

    async def fill() -> None:
        server = await Server.start(Config(listen="127.0.0.1:0", data=folder))
        async with EngagementClient(server.address, account_id="acme") as client:
            for first in range(0, EVENTS, 500):
                await client.record_events([good_event(number) for number in range(first, first + 500)])
        await server.stop()

    asyncio.run(fill())
    return folder


@pytest.fixture
async def server(filled_folder: Path, tmp_path: Path) -> AsyncIterator[Server]:
    """A server over a copy of that folder."""
    shutil.copytree(filled_folder, tmp_path / "data")
    running = await Server.start(Config(listen="127.0.0.1:0", data=tmp_path / "data"))
    yield running
    await running.stop()


def part_of(path: Path, *, restart: bool = False, account: str = "acme") -> PartFile:
    return PartFile(path, order={"account": account, "filter": {}}, restart=restart)


async def export_whole(client: EngagementClient, path: Path, format_: ExportFormat) -> None:
    """Goes on with an export, or begins it, and completes it."""
    with part_of(path) as part:
        async with deadline("the export ended"):
            await Transfer(part, format_, wanted=EVERYTHING, on_progress=lambda *_: None).run(client)
        part.complete(format_.finish(part.path))


async def export_some(client: EngagementClient, path: Path, format_: ExportFormat, *, events: int) -> int:
    """Exports at least so many events and is cancelled then; how many the part has."""

    def stop(done: int, _: int) -> None:
        if done >= events:
            task.cancel()

    with part_of(path) as part:
        transfer = Transfer(part, format_, wanted=EVERYTHING, on_progress=stop)
        task = asyncio.create_task(transfer.run(client))
        async with deadline("the export ended"):
            with pytest.raises(asyncio.CancelledError):
                await task
    return part.mark.events


async def in_order(client: EngagementClient) -> list[str]:
    return [stored.cursor async for stored in client.list_events()]


@pytest.mark.parametrize("name", FORMATS)
async def test_an_export_that_is_interrupted_goes_on_to_the_same_file(
    name: str, client: EngagementClient, tmp_path: Path
) -> None:
    format_, path = FORMATS[name], tmp_path / f"events.{name}"
    some = await export_some(client, path, format_, events=2000)
    more = await export_some(client, path, format_, events=some + 4000)
    assert 2000 <= some < more < EVENTS
    assert not path.exists()
    part = path.with_name(f"{path.name}.part")
    with part.open("ab") as file:
        file.write(b"what a crash leaves behind the last checkpoint")
    await export_whole(client, path, format_)
    assert sorted(os.listdir(tmp_path)) == ["data", path.name]
    if name == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        assert parquet.read_table(path)["cursor"].to_pylist() == await in_order(client)
    else:
        assert list(format_.read_cursors(path)) == await in_order(client)


async def test_lost_connections_leave_no_gap_and_no_repeat(
    server: Server, client: EngagementClient, tmp_path: Path
) -> None:
    format_ = FORMATS["ndjson"]
    with part_of(tmp_path / "e.ndjson") as part:
        async with (
            TcpProxy(server.address) as proxy,
            EngagementClient(proxy.address, account_id="acme") as distant,
        ):
            cuts = iter([1000, 4000, 8000])
            next_cut = next(cuts)

            def cut(done: int, _: int) -> None:
                nonlocal next_cut
                if done >= next_cut:
                    next_cut = next(cuts, 2 * EVENTS)
                    proxy.cut()

            async with deadline("the export ended"):
                await Transfer(part, format_, wanted=EVERYTHING, on_progress=cut).run(distant)
            assert proxy.connections > 1
        assert list(format_.read_cursors(part.path)) == await in_order(client)


@pytest.mark.parametrize("name", FORMATS)
async def test_what_was_erased_after_it_was_written_is_found(
    name: str, client: EngagementClient, tmp_path: Path
) -> None:
    format_, path = FORMATS[name], tmp_path / f"events.{name}"
    await export_some(client, path, format_, events=2000)
    await client.erase_consumer(consumer_id="consumer-3")
    with pytest.raises(ErasedMeanwhileError) as caught:
        await export_whole(client, path, format_)
    assert 200 <= caught.value.events < EVENTS / 10
    assert not path.exists()


async def test_what_was_erased_before_it_could_be_written_is_no_hindrance(
    client: EngagementClient, tmp_path: Path
) -> None:
    await client.erase_consumer(consumer_id="consumer-3")
    await export_whole(client, tmp_path / "e.ndjson", FORMATS["ndjson"])
    cursors = list(FORMATS["ndjson"].read_cursors(tmp_path / "e.ndjson"))
    assert len(cursors) == EVENTS * 9 / 10
    assert cursors == await in_order(client)


async def test_restart_forgets_what_is_there(client: EngagementClient, tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson"
    await export_some(client, path, FORMATS["ndjson"], events=2000)
    with part_of(path, restart=True) as part:
        assert (part.mark.events, part.path.stat().st_size) == (0, 0)


async def test_another_order_does_not_go_on_with_the_part(client: EngagementClient, tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson"
    some = await export_some(client, path, FORMATS["ndjson"], events=2000)
    with (
        pytest.raises(CommandError, match=r'belongs to another export: \{"account": "acme"'),
        part_of(path, account="other"),
    ):
        pass
    with part_of(path) as part:
        assert part.mark.events == some
        with pytest.raises(CommandError, match="Another command is writing"), part_of(path):
            pass


async def test_a_state_that_makes_no_sense_is_told(client: EngagementClient, tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson"
    await export_some(client, path, FORMATS["ndjson"], events=2000)
    (tmp_path / "e.ndjson.part.state").write_text("{")
    with pytest.raises(CommandError, match="start over with --restart"), part_of(path):
        pass
    with part_of(path, restart=True) as part:
        assert part.mark.events == 0
