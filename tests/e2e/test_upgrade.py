"""A store of an earlier schema version is upgraded with all that it holds, or stays as it was."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from engagement import v1
from engagement_server.errors import ConfigurationError
from engagement_server.operations import Commit, RecordBatch
from engagement_server.store.account_rows import AccountUse
from engagement_server.store.database import DatabaseFile
from engagement_server.store.reader import Reader
from engagement_server.store.schema import OLDEST_VERSION, SCHEMA_VERSION, UPGRADES, Upgrade
from engagement_server.store.writer import Writer
from tests.support.events import batch_of, customer_events
from tests.support.store_file import forget_use_of_accounts, open_store

EVENTS = 5
DYING = "import pathlib, sys; from tests.e2e import test_upgrade as t; t.die(pathlib.Path(sys.argv[1]))"


def count_events(connection: apsw.Connection) -> None:
    """The first upgrade: a table made of the rows of another."""
    connection.execute("CREATE TABLE counts (events INTEGER); INSERT INTO counts SELECT count(*) FROM events")


def double_counts(connection: apsw.Connection) -> None:
    """The second upgrade: it needs the first, and shows how often it ran."""
    connection.execute("UPDATE counts SET events = events * 2")


def fail(connection: apsw.Connection) -> None:
    connection.execute("INSERT INTO no_such_table VALUES (1)")


def die(data_dir: Path) -> None:
    """Upgrades a store and kills this process before the upgrade is committed."""

    def kill(connection: apsw.Connection) -> None:
        double_counts(connection)
        os.kill(os.getpid(), signal.SIGKILL)

    with opened(data_dir, count_events, kill):
        pass


@contextlib.contextmanager
def opened(data_dir: Path, *upgrades: Upgrade) -> Iterator[apsw.Connection]:
    """A connection to a store as a server with further upgrades opens it."""
    database = DatabaseFile(data_dir, upgrades=[*UPGRADES, *upgrades])
    try:
        with contextlib.closing(database.open_writer()) as connection:
            yield connection
    finally:
        database.close()


def contents(data_dir: Path) -> list[str]:
    """The version, the tables and the events of a store."""
    with contextlib.closing(open_store(data_dir)) as connection:
        assert connection.pragma("integrity_check") == "ok"
        tables = connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
        rows = connection.execute("SELECT * FROM events ORDER BY position").fetchall()
        return [str(connection.pragma("user_version")), *map(str, tables), *map(str, rows)]


def set_version(data_dir: Path, version: int) -> None:
    with contextlib.closing(open_store(data_dir)) as connection:
        connection.pragma("user_version", version)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """The folder of a store of the current version, with events."""
    with opened(tmp_path) as connection:
        record(connection, time_ms=1)
    return tmp_path


def record(connection: apsw.Connection, *, time_ms: int) -> None:
    """Stores new events."""
    batch = batch_of(customer_events(EVENTS))
    Writer(connection).apply(Commit([RecordBatch(f"account {time_ms}", batch, is_atomic=False)], time_ms))


def test_each_upgrade_runs_once_and_in_order(data_dir: Path) -> None:
    with opened(data_dir, count_events) as connection:
        assert connection.pragma("user_version") == SCHEMA_VERSION + 1
        assert connection.execute("SELECT events FROM counts").fetchall() == [(EVENTS,)]
    for _ in range(2):
        with opened(data_dir, count_events, double_counts) as connection:
            assert connection.pragma("user_version") == SCHEMA_VERSION + 2
            assert connection.execute("SELECT events FROM counts").fetchall() == [(2 * EVENTS,)]


def test_an_upgraded_store_keeps_its_events_and_goes_on(data_dir: Path) -> None:
    with opened(data_dir, count_events, double_counts) as connection:
        record(connection, time_ms=2)
        for account_id in ("account 1", "account 2"):
            for event in customer_events(EVENTS):
                row = Reader(connection).find_by_id(account_id, event.event_id)
                assert row is not None
                assert v1.Event.FromString(row.payload) == event


def test_a_new_store_has_the_current_version_without_an_upgrade(tmp_path: Path) -> None:
    with opened(tmp_path, fail) as connection:
        assert connection.pragma("user_version") == SCHEMA_VERSION + 1


def test_a_kill_in_the_middle_leaves_the_store_as_it_was(data_dir: Path) -> None:
    before = contents(data_dir)
    killed = subprocess.run([sys.executable, "-c", DYING, str(data_dir)], check=False, timeout=20)
    assert killed.returncode == -signal.SIGKILL
    assert contents(data_dir) == before
    test_each_upgrade_runs_once_and_in_order(data_dir)


def test_an_upgrade_that_fails_leaves_the_store_as_it_was(data_dir: Path) -> None:
    before = contents(data_dir)
    with (
        pytest.raises(ConfigurationError, match="no such table: no_such_table"),
        opened(data_dir, count_events, fail),
    ):
        pass
    assert contents(data_dir) == before


@pytest.mark.parametrize(
    ("version", "reason"), [(OLDEST_VERSION - 1, "too old"), (SCHEMA_VERSION + 1, "too new")]
)
def test_a_store_that_cannot_be_upgraded_is_refused_and_left_alone(
    data_dir: Path, version: int, reason: str
) -> None:
    set_version(data_dir, version)
    before = (data_dir / "engagement.db").read_bytes()
    expected = f"{data_dir}/engagement.db has schema version {version}, which is {reason} for this server; "
    with pytest.raises(ConfigurationError, match=expected), opened(data_dir):
        pass
    assert (data_dir / "engagement.db").read_bytes() == before


def test_uploads_of_a_store_of_version_9_belong_to_everybody(data_dir: Path) -> None:
    current = contents(data_dir)
    with contextlib.closing(open_store(data_dir)) as connection:
        connection.execute(
            "INSERT INTO uploads VALUES (1, 'acme', 'u', 'o', 0, 0, 0, 0, 0, 0, 1, 1, '', NULL, NULL, '', 0,"
            " '')"
        )
        forget_use_of_accounts(connection)
        connection.execute("ALTER TABLE uploads DROP COLUMN principal")
        connection.pragma("user_version", 9)
    with opened(data_dir) as connection:
        assert Reader(connection).upload("acme", "u", principal="crm").upload_id == "u"
    upgraded = contents(data_dir)
    assert upgraded[0] == current[0]


def test_accounts_of_a_store_of_version_10_get_the_bytes_of_their_events(data_dir: Path) -> None:
    with opened(data_dir) as connection:
        record(connection, time_ms=2)
        before = connection.execute("SELECT * FROM accounts ORDER BY number").fetchall()
    with contextlib.closing(open_store(data_dir)) as connection:
        forget_use_of_accounts(connection)
    with opened(data_dir) as connection:
        assert connection.execute("SELECT * FROM accounts ORDER BY number").fetchall() == before
        stored = sum(event.ByteSize() for event in customer_events(EVENTS))
        assert Reader(connection).use("account 1") == AccountUse(stored, had_events=True)
