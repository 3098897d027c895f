"""A start refuses a store that can be read but not written, unless the disk is only full."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.connection import connect
from tests.support.events import customer_event, noise
from tests.support.refused_call import expect_refused
from tests.support.small_disk import SmallDiskServer, small_disk


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SmallDiskServer]:
    process = SmallDiskServer(tmp_path / "data", options=("--reserve-megabytes", "0"))
    with small_disk(process, size_bytes=32 << 20):
        yield process.start()


@pytest.mark.parametrize("is_empty", [False, True])
async def test_a_start_with_a_write_ahead_log_that_it_cannot_write_is_one_sentence(
    server: SmallDiskServer, *, is_empty: bool
) -> None:
    async with connect(server.address) as connection:
        await connection.record(customer_event())
    server.kill()  # the write-ahead log stays, and can be read
    if is_empty:  # as a checkpoint leaves it: nothing but a write touches it
        server.start().stop()
        server.create("engagement.db-wal")
    server.make_read_only("engagement.db-wal")
    refused = server.run("serve", "--listen", "127.0.0.1:0", "--data", str(server.data_dir))
    assert refused.returncode == 2, refused.stderr
    assert f"{server.data_dir / 'engagement.db'} cannot be written. Make its disk writable" in refused.stderr
    assert "Traceback" not in refused.stderr


async def test_a_start_on_a_full_disk_serves_reads(server: SmallDiskServer) -> None:
    async with connect(server.address) as connection:
        await connection.record(customer_event("kept"))
    server.kill()
    server.fill_disk()
    server.start()
    async with connect(server.address) as connection:
        # More than the write-ahead log has room for.
        events = [customer_event(f"event-{number}", user_name=noise(40_000)) for number in range(25)]
        refused = await expect_refused(connection.record_batch(events))
        assert refused.reason == "STORE_UNAVAILABLE"
        assert await connection.stored_ids() == ["kept"]
