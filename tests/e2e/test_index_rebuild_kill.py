"""A rebuild of the search index that is killed goes on at the next start."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engagement_server.operations import Commit, RecordBatch
from engagement_server.store.database import DatabaseFile
from engagement_server.store.writer import Writer
from tests.support.events import batch_of, customer_events
from tests.support.other_contract import index_otherwise
from tests.support.store_file import open_store
from tests.support.view_rows import view_rows

EVENTS = 9_000
STEP = 4_000
"""The events that a rebuild indexes in one commit."""
DYING = "from tests.e2e import test_index_rebuild_kill; test_index_rebuild_kill.die()"


def open_and_close(folder: Path) -> None:
    database = DatabaseFile(folder)
    database.open_writer().close()
    database.close()


def die() -> None:
    """Rebuilds the index in a folder, the first argument, and kills this process after the first commit."""

    def kill() -> bool:
        os.kill(os.getpid(), signal.SIGKILL)
        return True

    DatabaseFile(Path(sys.argv[1])).open_writer(is_stopped=kill)


def test_a_rebuild_that_is_killed_goes_on_at_the_next_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = DatabaseFile(tmp_path)
    with contextlib.closing(database.open_writer()) as connection:
        batch = batch_of(customer_events(EVENTS))
        Writer(connection).apply(Commit([RecordBatch("acme", batch, is_atomic=True)], 1))
    database.close()
    before = view_rows(tmp_path)
    index_otherwise(tmp_path, events=EVENTS)
    killed = subprocess.run([sys.executable, "-c", DYING, str(tmp_path)], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    with contextlib.closing(open_store(tmp_path)) as connection:
        marks = connection.execute("SELECT name FROM settings WHERE name LIKE 'search%'").fetchall()
    assert marks == [("search_rebuild",)], "half an index is marked as usable"
    with caplog.at_level(logging.INFO):
        open_and_close(tmp_path)
    assert view_rows(tmp_path) == before
    assert caplog.messages[-1].startswith(f"indexed {EVENTS - STEP} events in ")
