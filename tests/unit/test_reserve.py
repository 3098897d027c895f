"""The reserve takes up as much of the disk as this start asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from engagement_server.store.reserve import FILE_NAME, Reserve

MEBIBYTE = 1 << 20


@pytest.mark.parametrize("size_bytes", [0, MEBIBYTE, 3 * MEBIBYTE])
def test_the_reserve_of_a_server_that_was_killed_gets_the_size_of_the_next_start(
    tmp_path: Path, size_bytes: int
) -> None:
    Reserve(tmp_path, size_bytes=2 * MEBIBYTE)  # not closed
    reserve = Reserve(tmp_path, size_bytes=size_bytes)
    file = tmp_path / FILE_NAME
    assert (file.stat().st_size if file.exists() else 0) == size_bytes
    assert reserve.is_whole
    assert not reserve.is_low
    reserve.close()
    assert not file.exists()


def test_a_reserve_that_the_disk_has_no_room_for_leaves_only_removal(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path, size_bytes=1 << 62)
    assert reserve.is_low
    assert not reserve.give_up()
    assert not (tmp_path / FILE_NAME).exists()
    reserve.update(free_page_bytes=0)
    assert reserve.is_low


def test_a_disk_that_was_full_has_room_once_a_commit_or_a_look_finds_it(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path, size_bytes=0)
    assert not reserve.is_full
    reserve.note_full()
    assert reserve.is_full
    assert not reserve.is_low  # events are still tried
    reserve.note_room()
    assert not reserve.is_full
    reserve.note_full()
    reserve.look_for_room(free_page_bytes=0)
    assert not reserve.is_full


def test_a_reserve_that_was_given_up_means_a_full_disk(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path, size_bytes=MEBIBYTE)
    reserve.note_full()
    assert reserve.give_up()
    reserve.look_for_room(free_page_bytes=0)
    assert reserve.is_full
    reserve.update(free_page_bytes=0)  # takes it again
    assert not reserve.is_full
    reserve.close()
