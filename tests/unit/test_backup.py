"""A copy becomes a store of its own, or nothing at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from engagement_server.clock import now_ms
from engagement_server.errors import ConfigurationError, DataDamagedError
from engagement_server.operations import Commit, RecordBatch
from engagement_server.store.backup import back_up, restore
from engagement_server.store.database import FILE_NAME, DatabaseFile
from engagement_server.store.page_file import PAGE_BYTES
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
    with pytest.raises(ConfigurationError, match=r"other is not a backup of a store"):
        restore(tmp_path / "other", tmp_path / "restored")
    assert not (tmp_path / "restored").exists()
    back_up(data, tmp_path / "backup.db")
    restore(tmp_path / "backup.db", tmp_path / "restored")
    assert epoch_and_events(tmp_path / "restored")[1] == 3


def test_a_store_with_commits_in_its_write_ahead_log_is_no_copy(data: Path, tmp_path: Path) -> None:
    with closing(DatabaseFile(data)) as database, closing(database.open_writer()) as connection:
        batch = batch_of(customer_events(1, start=10))
        Writer(connection).apply(Commit([RecordBatch("acme", batch, is_atomic=True)], now_ms()))
        with pytest.raises(ConfigurationError, match="write-ahead log"):
            restore(data / FILE_NAME, tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


def test_a_copy_goes_only_to_a_folder_that_exists(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no folder"):
        back_up(data, tmp_path / "missing" / "backup.db")


def flip(path: Path, spot: bytes) -> None:
    """Flips a bit of each place in a file that matches."""
    flipped = spot[:-1] + bytes([spot[-1] ^ 1])
    content = path.read_bytes()
    assert spot in content
    path.write_bytes(content.replace(spot, flipped))


def cut(path: Path, spare_bytes: int) -> None:
    """Leaves the first half of the pages of a file, and some bytes more."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // PAGE_BYTES // 2 * PAGE_BYTES + spare_bytes])


DAMAGE: dict[str, Callable[[Path], None]] = {
    "an event": lambda path: flip(path, b"event-000001"),
    "a setting": lambda path: flip(path, b"log_epoch"),
    "no checksums": lambda path: flip(path, b"\x01\x01\x08"),
    "cut between pages": lambda path: cut(path, 0),
    "cut within a page": lambda path: cut(path, 100),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_copy_is_refused_and_leaves_nothing(
    data: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    back_up(data, tmp_path / "backup.db")
    damage(tmp_path / "backup.db")
    there = {*tmp_path.iterdir()}
    with pytest.raises(ConfigurationError, match=r"backup.db is damaged.*`engagement check \S+/backup.db`"):
        restore(tmp_path / "backup.db", tmp_path / "new" / "restored")
    assert {*tmp_path.iterdir()} == there


def test_a_damaged_copy_is_restored_if_that_is_accepted_unless_the_restore_needs_the_page(
    data: Path, tmp_path: Path
) -> None:
    back_up(data, tmp_path / "backup.db")
    flip(tmp_path / "backup.db", b"event-000001")
    copied = restore(tmp_path / "backup.db", tmp_path / "restored", accepts_damage=True)
    assert copied.damaged_pages > 0
    assert epoch_and_events(tmp_path / "restored")[0] != epoch_and_events(data)[0]
    flip(tmp_path / "backup.db", b"log_epoch")
    with pytest.raises(ConfigurationError, match="damaged where a restore needs it"):
        restore(tmp_path / "backup.db", tmp_path / "other", accepts_damage=True)
    assert not (tmp_path / "other").exists()


def test_a_folder_that_was_there_stays_as_it_was_when_a_restore_fails(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "backup.db")
    flip(tmp_path / "backup.db", b"log_epoch")
    (tmp_path / "mine").mkdir()
    with pytest.raises(ConfigurationError):
        restore(tmp_path / "backup.db", tmp_path / "mine", accepts_damage=True)
    assert [*(tmp_path / "mine").iterdir()] == []
    before = {path.name: path.read_bytes() for path in data.iterdir()}
    with pytest.raises(ConfigurationError, match="holds a store"):
        restore(tmp_path / "backup.db", data, accepts_damage=True)
    assert {path.name: path.read_bytes() for path in data.iterdir()} == before


def test_a_file_that_is_there_is_never_overwritten_by_a_copy(data: Path, tmp_path: Path) -> None:
    (tmp_path / "backup.db").write_bytes(b"precious")
    with pytest.raises(ConfigurationError, match="exists; name another file"):
        back_up(data, tmp_path / "backup.db")
    assert (tmp_path / "backup.db").read_bytes() == b"precious"


def test_a_damaged_store_is_not_copied_and_leaves_no_file(data: Path, tmp_path: Path) -> None:
    flip(data / FILE_NAME, b"event-000001")
    with pytest.raises(DataDamagedError):
        back_up(data, tmp_path / "backup.db")
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


def test_a_folder_of_partitions_says_which_folders_to_copy(data: Path, tmp_path: Path) -> None:
    for name in ("0of2", "1of2"):
        shutil.copytree(data, tmp_path / "node" / name)
    with pytest.raises(ConfigurationError, match="copy each of its partitions: 0of2, 1of2"):
        back_up(tmp_path / "node", tmp_path / "backup.db")


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
