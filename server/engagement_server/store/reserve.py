"""Disk space kept for removal: a full disk would otherwise refuse the very commits that make room.

The file is given up when a commit finds the disk full. From then on only removal is committed, until the
space is kept again: all of it, or half once removal has made room for a quarter of it, in the store's own
file or beside. The other half is then for the write-ahead log, without which no commit can use that room.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME = "reserve"
_RETRY_SECONDS = 10.0
_MIN_ROOM_BYTES = 16 * 1024 * 1024
"""Free space with which a disk that was full takes events again: what the write-ahead log usually takes."""

_log = logging.getLogger(__name__)


class Reserve:
    """A file that takes up space.

    After its making only the writer's thread calls it, except for `is_low` and `is_full`.
    """

    def __init__(self, folder: Path, *, size_bytes: int) -> None:
        """Takes up the space, if the disk has it, and no more. A size of 0 keeps nothing."""
        self._path = folder / FILE_NAME
        self._size_bytes = size_bytes
        self._next_attempt = 0.0
        self.is_low = False
        """Whether there is no room for anything but removal."""
        self._was_full = False
        if not size_bytes:
            self.close()  # of a server that was killed
        elif not self._take(size_bytes):
            self.is_low = True
            _log.warning(
                "the disk has no room for a reserve of %d MiB: only expiry and erasure are committed until it"
                " has, or until --reserve-megabytes is less",
                size_bytes >> 20,
            )

    def give_up(self) -> bool:
        """Gives the space to whoever needs it; returns whether there was any."""
        if not self._path.exists():
            return False
        self._path.unlink()
        self.is_low = True
        _log.warning(
            "the disk is full: gave up the reserve of %d MiB; only expiry and erasure are committed until the"
            " disk or the store has room",
            self._size_bytes >> 20,
        )
        return True

    def update(self, *, free_page_bytes: int) -> None:
        """Keeps what there is room for again; `free_page_bytes` of the store's file are unused."""
        if not self.is_low and time.monotonic() < self._next_attempt:
            return
        self._next_attempt = time.monotonic() + _RETRY_SECONDS
        size_bytes = self._size_bytes
        kept_bytes = self._path.stat().st_size if self._path.exists() else 0
        free_bytes = shutil.disk_usage(self._path.parent).free + kept_bytes
        has_room = free_bytes >= 2 * size_bytes and self._take(size_bytes)
        if not has_room and self.is_low:
            has_room = (
                4 * (free_bytes + free_page_bytes) >= 5 * size_bytes
                and 4 * free_bytes >= 3 * size_bytes
                and self._take(size_bytes // 2)
            )
        if self.is_low and has_room:
            self.is_low = self._was_full = False
            _log.info("there is room again: everything is committed")

    @property
    def is_full(self) -> bool:
        """Whether events are refused for want of room, as far as is known."""
        return self.is_low or self._was_full

    def note_full(self) -> None:
        """Notes that a commit has found the disk full."""
        self._was_full = True

    def note_room(self) -> None:
        """Notes that a commit has found room for events."""
        self._was_full = False

    def look_for_room(self, *, free_page_bytes: int) -> None:
        """Notes whether a disk that was full has room again, in the store's file or beside."""
        free_bytes = shutil.disk_usage(self._path.parent).free
        if free_bytes + free_page_bytes >= _MIN_ROOM_BYTES and 4 * free_bytes >= _MIN_ROOM_BYTES:
            self._was_full = False

    @property
    def is_whole(self) -> bool:
        """Whether all of the space is kept that is wanted."""
        return not self._size_bytes or (self._path.exists() and self._path.stat().st_size >= self._size_bytes)

    def close(self) -> None:
        """Frees the space; the next start takes it up again."""
        self._path.unlink(missing_ok=True)

    def _take(self, size_bytes: int) -> bool:
        try:
            descriptor = os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600)
            try:
                if os.fstat(descriptor).st_size > size_bytes:
                    os.ftruncate(descriptor, size_bytes)
                os.posix_fallocate(descriptor, 0, size_bytes)
            finally:
                os.close(descriptor)
        except OSError:
            self._path.unlink(missing_ok=True)
            return False
        return True
