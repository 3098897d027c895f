"""A store that can be read but not written is refused by the start, not by the first call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.connection import connect
from tests.support.events import customer_event
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
