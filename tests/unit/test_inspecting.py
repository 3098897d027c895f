"""A store is looked at, and upgraded if need be, beside the event loop."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import apsw

from engagement_server.log.writer_thread import inspect_store
from engagement_server.store.database import DatabaseFile
from engagement_server.store.schema import SCHEMA_VERSION, UPGRADES
from tests.support.waiting import DEADLINE_SECONDS


def make_store(folder: Path) -> None:
    database = DatabaseFile(folder)
    database.open_writer().close()
    database.close()


async def test_a_long_upgrade_leaves_the_event_loop_free(tmp_path: Path) -> None:
    make_store(tmp_path / "data")
    looped = threading.Event()

    def upgrade(_: apsw.Connection) -> None:
        assert looped.wait(DEADLINE_SECONDS), "the event loop waits for the upgrade"

    database = DatabaseFile(tmp_path / "data", is_view=True, upgrades=[*UPGRADES, upgrade])
    asyncio.get_running_loop().call_later(0, looped.set)
    state = await inspect_store(database)
    database.close()
    assert state is not None
    assert state.schema_version == SCHEMA_VERSION + 1


async def test_a_start_that_is_stopped_waits_for_the_upgrade_and_leaves_the_store_whole(
    tmp_path: Path,
) -> None:
    make_store(tmp_path / "data")
    begun, may_end = threading.Event(), threading.Event()

    def upgrade(_: apsw.Connection) -> None:
        begun.set()
        assert may_end.wait(DEADLINE_SECONDS)

    database = DatabaseFile(tmp_path / "data", is_view=True, upgrades=[*UPGRADES, upgrade])
    inspecting = asyncio.create_task(inspect_store(database))
    assert await asyncio.to_thread(begun.wait, DEADLINE_SECONDS)
    inspecting.cancel()
    await asyncio.sleep(0)
    assert not inspecting.done()
    may_end.set()
    await asyncio.wait([inspecting])
    assert inspecting.cancelled()
    state = database.inspect()
    database.close()
    assert state is not None
    assert state.schema_version == SCHEMA_VERSION + 1
