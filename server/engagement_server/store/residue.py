"""Finds and zeroes leftover bytes of deleted rows in the pages of the SQLite file.

SQLite overwrites rows that it deletes (`secure_delete`) but not rows that it moves: when a page is split, the
gap between its cell pointers and its cells keeps copies of rows that live on elsewhere, and they outlive
those rows. See docs/decisions/0019-no-byte-is-left.md.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import apsw

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAGE_BYTES = 4096
_SLICE_BYTES = 16 * 1024 * 1024
# Pages that are read and written at once, to take fewer turns with other threads. SQLite's file layer writes
# less than 128 KiB at once.
_EXTENT_PAGES = 16
_EXTENT_BYTES = _EXTENT_PAGES * _PAGE_BYTES
_FILE_HEADER_BYTES = 100
_PAGE_HEADER = struct.Struct(">BHHH")
# The kinds of B-tree pages that hold values, and the sizes of their headers.
_HEADER_BYTES = {2: 12, 10: 8, 13: 8}


class DatabasePages:
    """The pages of a database file. Only the thread that writes and checkpoints the file may use it."""

    def __init__(self, path: str) -> None:
        """Opens the file through SQLite's file layer: closing it otherwise would drop SQLite's locks."""
        flags = [apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_MAIN_DB, 0]
        self._file = apsw.VFSFile("unix", path, flags)
        self._size_bytes = self._file.xFileSize()
        # Pages that are not of a B-tree begin with a page number, which must not look like a kind.
        self._kinds = [kind for kind in _HEADER_BYTES if kind > self._size_bytes // _PAGE_BYTES >> 24]

    def close(self) -> None:
        """Closes the file."""
        self._file.xClose()

    def find_residue(self) -> Iterator[list[int]]:
        """The starts of extents with bytes that no row owns, for each slice of the file."""
        for start in range(0, self._size_bytes, _SLICE_BYTES):
            data = self._file.xRead(min(_SLICE_BYTES, self._size_bytes - start), start)
            yield [
                start + offset
                for offset in range(0, len(data), _EXTENT_BYTES)
                if any(self._residues(data[offset : offset + _EXTENT_BYTES], start + offset))
            ]

    def zero_residue(self, extents: list[int]) -> None:
        """Overwrites such bytes in these extents.

        The write-ahead log must be empty, and no connection may write these pages from its cache.
        """
        for start in extents:
            data = bytearray(self._file.xRead(min(_EXTENT_BYTES, self._size_bytes - start), start))
            for begin, end in self._residues(bytes(data), start):
                data[begin:end] = bytes(end - begin)
            self._file.xWrite(data, start)
        self._file.xSync(apsw.SQLITE_SYNC_NORMAL)

    def _residues(self, extent: bytes, start: int) -> Iterator[tuple[int, int]]:
        """The gaps between cell pointers and cells that are not all zero."""
        for page in range(0, len(extent), _PAGE_BYTES):
            header = page if start + page else _FILE_HEADER_BYTES
            kind, _, cells, content = _PAGE_HEADER.unpack_from(extent, header)
            if kind in self._kinds:
                begin, end = header + _HEADER_BYTES[kind] + 2 * cells, page + content
                if extent[begin:end].strip(b"\0"):
                    yield begin, end
