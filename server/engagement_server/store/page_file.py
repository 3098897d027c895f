"""Reads and writes single pages of a database file through SQLite's file layers, below SQLite itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import apsw

from engagement_server.store.checksums import FILE_LAYER, load_file_layer

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE_BYTES: Final = 4096


class PageFile:
    """The pages of a file with checksums.

    It goes through SQLite because closing the file otherwise would drop SQLite's locks. Only the thread that
    writes and checkpoints the file may write pages, and only while the write-ahead log is empty.
    """

    def __init__(self, path: str, *, is_written: bool = True) -> None:
        """Opens the file. Raises apsw.Error and ConfigurationError."""
        load_file_layer()
        self._plain = _open(path, "unix", is_written=is_written)
        self._checked = _open(path, FILE_LAYER, is_written=is_written)
        self.size_bytes = self._plain.xFileSize()
        self.is_sound(0)  # the header of the file turns the checksums on

    def close(self) -> None:
        """Closes the file."""
        self._checked.xClose()
        self._plain.xClose()

    def read(self, start: int, size_bytes: int) -> bytes:
        """Bytes of the file, damaged or not; fewer at its end."""
        return self._plain.xRead(max(0, min(size_bytes, self.size_bytes - start)), start)

    def is_sound(self, start: int) -> bool:
        """Whether the page that starts there has the checksum of its content."""
        try:
            self._checked.xRead(PAGE_BYTES, start)
        except apsw.IOError:
            return False
        return True

    def damaged(self) -> Iterator[int | None]:
        """For each page in turn, its start if it is damaged."""
        for start in range(0, self.size_bytes, PAGE_BYTES):
            yield None if self.is_sound(start) else start

    def write(self, start: int, page: bytearray) -> None:
        """Writes a page with its checksum."""
        self._checked.xWrite(page, start)

    def sync(self) -> None:
        """Returns once the pages are on disk."""
        self._checked.xSync(apsw.SQLITE_SYNC_NORMAL)


def _open(path: str, layer: str, *, is_written: bool) -> apsw.VFSFile:
    access = apsw.SQLITE_OPEN_READWRITE if is_written else apsw.SQLITE_OPEN_READONLY
    return apsw.VFSFile(layer, path, [access | apsw.SQLITE_OPEN_MAIN_DB, 0])
