"""A copy becomes a store of its own, or nothing at all."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from engagement_server.clock import now_ms
from engagement_server.errors import ConfigurationError
from engagement_server.operations import Commit, RecordBatch
from engagement_server.store.backup import back_up, restore
from engagement_server.store.database import FILE_NAME, DatabaseFile
from engagement_server.store.reader import Reader
from engagement_server.store.writer import Writer
from tests.support.events import batch_of, customer_events


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    with closing(DatabaseFile(folder)) as database, closing(database.open_writer()) as connection:
        batch = batch_of(customer_events(3))
        Writer(connection).apply(Commit([RecordBatch("acme", batch, is_atomic=True)], now_ms()))
    return folder


def epoch_and_events(folder: Path) -> tuple[int, int]:
    with closing(DatabaseFile(folder)) as database, closing(database.open_writer()) as connection:
        ((epoch,),) = connection.execute("SELECT value FROM settings WHERE name = 'log_epoch'")
        bounds = Reader(connection).bounds("acme")
        assert isinstance(epoch, int)
        assert bounds is not None
        return epoch, bounds.last_position - bounds.expired_position


def test_a_copy_is_restored_with_everything_and_another_epoch(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "backup.db")
    restore(tmp_path / "backup.db", tmp_path / "restored")
    (before, _), (after, events) = epoch_and_events(data), epoch_and_events(tmp_path / "restored")
    assert (before != after, events) == (True, 3)


@pytest.mark.parametrize("content", [b"", b"no store", b"SQLite format 3\0" + bytes(8000)])
def test_a_file_that_is_no_copy_leaves_no_store(data: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"cannot be used|another program"):
        restore(tmp_path / "other", tmp_path / "restored")
    assert not (tmp_path / "restored" / FILE_NAME).exists()
    back_up(data, tmp_path / "backup.db")
    restore(tmp_path / "backup.db", tmp_path / "restored")
    assert epoch_and_events(tmp_path / "restored")[1] == 3


def test_a_store_with_commits_in_its_write_ahead_log_is_no_copy(data: Path, tmp_path: Path) -> None:
    with closing(DatabaseFile(data)) as database, closing(database.open_writer()) as connection:
        batch = batch_of(customer_events(1, start=10))
        Writer(connection).apply(Commit([RecordBatch("acme", batch, is_atomic=True)], now_ms()))
        with pytest.raises(ConfigurationError, match="write-ahead log"):
            restore(data / FILE_NAME, tmp_path / "restored")
    assert not (tmp_path / "restored" / FILE_NAME).exists()


def test_a_copy_goes_only_to_a_folder_that_exists(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no folder"):
        back_up(data, tmp_path / "missing" / "backup.db")


def leave_write_ahead_log(folder: Path, tmp_path: Path) -> None:
    """Leaves only the log of a store behind, as a kill does, with commits that are not in its file."""
    kept = tmp_path / "kept-wal"
    with closing(DatabaseFile(folder)) as database, closing(database.open_writer()) as connection:
        batch = batch_of(customer_events(300, start=10))
        Writer(connection).apply(Commit([RecordBatch("acme", batch, is_atomic=True)], now_ms()))
        shutil.copyfile(folder / f"{FILE_NAME}-wal", kept)
    (folder / FILE_NAME).unlink()
    kept.replace(folder / f"{FILE_NAME}-wal")


def test_a_write_ahead_log_without_its_store_is_kept(data: Path, tmp_path: Path) -> None:
    leave_write_ahead_log(data, tmp_path)
    before = (data / f"{FILE_NAME}-wal").read_bytes()
    with (
        closing(DatabaseFile(data)) as database,
        pytest.raises(ConfigurationError, match=r"is missing, and .*-wal holds commits of it"),
    ):
        database.open_writer()
    assert (data / f"{FILE_NAME}-wal").read_bytes() == before
    assert not (data / FILE_NAME).exists()


def test_a_copy_is_not_restored_beside_the_write_ahead_log_of_another_store(
    data: Path, tmp_path: Path
) -> None:
    back_up(data, tmp_path / "backup.db")
    leave_write_ahead_log(data, tmp_path)
    with pytest.raises(ConfigurationError, match="holds commits of it"):
        restore(tmp_path / "backup.db", data)
    (data / f"{FILE_NAME}-wal").unlink()
    restore(tmp_path / "backup.db", data)
    assert epoch_and_events(data)[1] == 3
