"""Finds and zeroes bytes of rows that are no longer there, in the pages of the SQLite file.

SQLite overwrites what it deletes (`secure_delete`), but not what it moves: where a page was split, the
space between its cell pointers and its cells keeps copies of rows that live on elsewhere, also after those
are deleted. See docs/decisions/0019-no-byte-is-left.md.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import apsw

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAGE_BYTES = 4096
_SLICE_BYTES = 16 * 1024 * 1024
# Pages that are read and written at once, which takes fewer turns with other threads. SQLite's layer writes
# less than 128 KiB at once.
_STRETCH_PAGES = 16
_STRETCH_BYTES = _STRETCH_PAGES * _PAGE_BYTES
_FILE_HEADER_BYTES = 100
_PAGE_HEADER = struct.Struct(">BHHH")
# Kinds of B-tree pages that hold values, and the bytes of their headers.
_HEADER_BYTES = {2: 12, 10: 8, 13: 8}


class DatabasePages:
    """The pages of a database file. Only the thread that writes and checkpoints the file may use it."""

    def __init__(self, path: str) -> None:
        """Opens the file through SQLite's own layer: closing it otherwise would drop SQLite's locks."""
        flags = [apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_MAIN_DB, 0]
        self._file = apsw.VFSFile("unix", path, flags)
        self._size_bytes = self._file.xFileSize()
        # Other pages than those of B-trees begin with the number of a page.
        self._kinds = [kind for kind in _HEADER_BYTES if kind > self._size_bytes // _PAGE_BYTES >> 24]

    def close(self) -> None:
        """Closes the file."""
        self._file.xClose()

    def find_residue(self) -> Iterator[list[int]]:
        """Where stretches begin that have bytes which no row owns, in slices of the file."""
        for start in range(0, self._size_bytes, _SLICE_BYTES):
            data = self._file.xRead(min(_SLICE_BYTES, self._size_bytes - start), start)
            yield [
                start + offset
                for offset in range(0, len(data), _STRETCH_BYTES)
                if any(self._residues(data[offset : offset + _STRETCH_BYTES], start + offset))
            ]

    def zero_residue(self, stretches: list[int]) -> None:
        """Overwrites those bytes.

        The write-ahead log must be empty and no connection may write a copy of the pages from its cache.
        """
        for start in stretches:
            data = bytearray(self._file.xRead(min(_STRETCH_BYTES, self._size_bytes - start), start))
            for begin, end in self._residues(bytes(data), start):
                data[begin:end] = bytes(end - begin)
            self._file.xWrite(data, start)
        self._file.xSync(apsw.SQLITE_SYNC_NORMAL)

    def _residues(self, stretch: bytes, start: int) -> Iterator[tuple[int, int]]:
        """Where there are bytes that are not zero between the cell pointers and the cells of a page."""
        for page in range(0, len(stretch), _PAGE_BYTES):
            header = page if start + page else _FILE_HEADER_BYTES
            kind, _, cells, content = _PAGE_HEADER.unpack_from(stretch, header)
            if kind in self._kinds:
                begin, end = header + _HEADER_BYTES[kind] + 2 * cells, page + content
                if stretch[begin:end].strip(b"\0"):
                    yield begin, end
