"""A disk that ran full has a way back: a shorter retention and erasures work, and make room."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from engagement import EngagementClient, v1
from tests.support.audit_lines import KEY
from tests.support.cli_process import Cli
from tests.support.connection import ACCOUNT, connect
from tests.support.events import customer_event, noise
from tests.support.health import statuses
from tests.support.management import ask
from tests.support.refused_call import expect_refused
from tests.support.shifted_clock import ShiftedClock
from tests.support.small_disk import SmallDiskServer, small_disk
from tests.support.waiting import eventually

_DISK_BYTES = 72 << 20
_RESERVE_MEGABYTES = 24
_AUDITED_DISK_BYTES = 16 << 20


@pytest.fixture
def clock(tmp_path: Path) -> ShiftedClock:
    """Four days behind at first."""
    clock = ShiftedClock(tmp_path / "shift")
    clock.shift(-timedelta(days=4))
    return clock


@pytest.fixture(params=["1", "2"], ids=["one process", "workers"])
def server(request: pytest.FixtureRequest, tmp_path: Path, clock: ShiftedClock) -> Iterator[SmallDiskServer]:
    reserve = ("--reserve-megabytes", str(_RESERVE_MEGABYTES))
    process = SmallDiskServer(
        tmp_path / "data", environment=clock.environment, options=("--workers", request.param, *reserve)
    )
    with small_disk(process, size_bytes=_DISK_BYTES):
        yield process.start()


def large_events(start: int) -> list[v1.Event]:
    """A megabyte of events."""
    return [
        customer_event(f"event-{number:06}", user_name=noise(40_000, seed=str(number)))
        for number in range(start, start + 25)
    ]


async def fill(server: SmallDiskServer, *, start: int = 0) -> list[str]:
    """Records events until the disk is full; returns the ids of those acknowledged."""
    acknowledged: list[str] = []
    async with connect(server.address) as connection:
        while True:
            events = large_events(start + len(acknowledged))
            try:
                await connection.record_batch(events)
            except grpc.aio.AioRpcError:
                refused = await expect_refused(connection.record_batch(events))
                assert refused.reason == "STORE_UNAVAILABLE"
                return acknowledged
            acknowledged += [event.event_id for event in events]


async def stored_ids(client: EngagementClient) -> list[str]:
    return [stored.event.event_id async for stored in client.list_events(read_mask=["event.event_id"])]


async def says_of_ingest(server: SmallDiskServer, status: str) -> bool:
    """Whether health says this of the service that takes events; the others are SERVING throughout."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        found = await statuses(channel)
    ingest = found.pop("engagement.v1.IngestService")
    assert set(found.values()) == {"SERVING"}
    return ingest == status


async def test_a_full_disk_works_again_after_expiry_and_erasure(
    server: SmallDiskServer, clock: ShiftedClock, tmp_path: Path
) -> None:
    old = await fill(server)
    assert len(old) > 100
    server.kill()
    clock.shift(timedelta())
    server.start()
    young = await fill(server, start=len(old))
    await eventually(lambda: says_of_ingest(server, "NOT_SERVING"), "health says that the disk is full")
    cli = Cli(tmp_path, server=server.address)
    copied = server.run("backup", str(server.data_dir), str(tmp_path / "other-disk.db"))
    assert copied.returncode == 0, copied.stderr
    assert "no damage" in cli.run_process("check", "other-disk.db").stdout
    async with EngagementClient(server.address, account_id=ACCOUNT) as client:
        assert await stored_ids(client) == old + young
        assert cli.run_process("retention", "set", "--days", "3", "--yes").status == 0

        async def has_expired() -> bool:
            return await stored_ids(client) == young

        await eventually(has_expired, "the old events have expired")
        await eventually(lambda: says_of_ingest(server, "SERVING"), "health says that there is room")
        more = large_events(900_000)
        await client.record_events(more)
        assert await stored_ids(client) == [*young, *(event.event_id for event in more)]
        assert (await client.erase_consumer(consumer_id="ada")).erased_events == len(young) + len(more)
        assert await stored_ids(client) == []
        await client.record_events(large_events(950_000))
    assert "gave up the reserve of 24 MiB" in server.messages
    assert "there is room again" in server.messages
    assert "retry with the same event ids" not in server.messages


@pytest.mark.parametrize("reserve", ["0", str(_RESERVE_MEGABYTES)], ids=["no reserve", "a reserve"])
@pytest.mark.parametrize("workers", ["1", "2"], ids=["one process", "workers"])
async def test_a_full_disk_stops_the_taking_of_events_alone_until_there_is_room(
    tmp_path: Path, workers: str, reserve: str
) -> None:
    options = ("--http", "127.0.0.1:0", "--workers", workers, "--reserve-megabytes", reserve)
    server = SmallDiskServer(tmp_path / "data", options=options)
    with small_disk(server, size_bytes=_DISK_BYTES):
        server.start()
        async with connect(server.address) as connection:
            await connection.record(customer_event("kept"))
            server.fill_disk()
            await fill(server)
            await eventually(lambda: says_of_ingest(server, "NOT_SERVING"), "health says it")
            assert "kept" in await connection.stored_ids()
            ready = await asyncio.to_thread(ask, server.http_address, "/readyz?verbose")
            assert ready.status == 200
            assert "[!] room on the disk: none" in ready.text
            server.free_disk()
            # No call is needed to find out.
            await eventually(lambda: says_of_ingest(server, "SERVING"), "health says that there is room")
            ready = await asyncio.to_thread(ask, server.http_address, "/readyz?verbose")
            assert "[+] room on the disk\n" in ready.text
            await connection.record_batch(large_events(900_000))


async def test_a_full_disk_lets_nothing_be_erased_without_its_audit_line(tmp_path: Path) -> None:
    (tmp_path / "audit.key").write_bytes(KEY)
    folder = tmp_path / "data" / "audit"
    options = ("--audit", str(folder), "--audit-key", str(tmp_path / "audit.key"), "--http", "127.0.0.1:0")
    server = SmallDiskServer(tmp_path / "data", options=options)
    with small_disk(server, size_bytes=_AUDITED_DISK_BYTES):
        server.start()
        async with (
            EngagementClient(server.address, account_id=ACCOUNT) as client,
            connect(server.address) as connection,
        ):
            await client.record_events([customer_event("one"), customer_event("two")])
            server.fill_disk()
            privacy = v1.PrivacyServiceStub(connection.channel)
            request = v1.EraseConsumerRequest(
                account_id=ACCOUNT, request_id="ticket", subjects=[v1.Subject(consumer_id="ada")]
            )
            refused = await expect_refused(privacy.EraseConsumer(request))
            assert (refused.reason, "audit log" in refused.message) == ("STORE_UNAVAILABLE", True)
            assert await stored_ids(client) == ["one", "two"]
            ready = ask(server.http_address, "/readyz?verbose")
            assert (ready.status, f"[!] audit log: {folder}: No space left" in ready.text) == (200, True)
            server.free_disk()
            assert (await privacy.EraseConsumer(request)).erasure.erased_events == 2
            await eventually(
                lambda: "[+] audit log" in ask(server.http_address, "/readyz?verbose").text,
                "the audit log works again",
            )
