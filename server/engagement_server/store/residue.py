"""Finds and zeroes leftover bytes of deleted rows in the pages of the SQLite file.

SQLite overwrites rows that it deletes (`secure_delete`) but not rows that it moves: when a page is split, the
gap between its cell pointers and its cells keeps copies of rows that live on elsewhere, and they outlive
those rows. See docs/decisions/0019-no-byte-is-left.md.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from engagement_server.store.page_file import PAGE_BYTES, PageFile

if TYPE_CHECKING:
    from collections.abc import Iterator

_SLICE_BYTES = 16 * 1024 * 1024
# Pages that are looked at together, to take fewer turns with other threads.
_EXTENT_PAGES = 16
_EXTENT_BYTES = _EXTENT_PAGES * PAGE_BYTES
_FILE_HEADER_BYTES = 100
_PAGE_HEADER = struct.Struct(">BHHH")
# The kinds of B-tree pages that hold values, and the sizes of their headers.
_HEADER_BYTES = {2: 12, 10: 8, 13: 8}


class DatabasePages:
    """The pages of a database file. Only the thread that writes and checkpoints the file may use it."""

    def __init__(self, path: str) -> None:
        self._file = PageFile(path)
        # Pages that are not of a B-tree begin with a page number, which must not look like a kind.
        self._kinds = [kind for kind in _HEADER_BYTES if kind > self._file.size_bytes // PAGE_BYTES >> 24]

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def find_residue(self) -> Iterator[list[int]]:
        """The starts of extents with bytes that no row owns, for each slice of the file."""
        for start in range(0, self._file.size_bytes, _SLICE_BYTES):
            data = self._file.read(start, _SLICE_BYTES)
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
            data = bytearray(self._file.read(start, _EXTENT_BYTES))
            pages = set()
            for begin, end in self._residues(bytes(data), start):
                data[begin:end] = bytes(end - begin)
                pages.add(begin // PAGE_BYTES * PAGE_BYTES)
            for page in sorted(pages):
                # A damaged page must not look sound afterwards.
                if self._file.is_sound(start + page):
                    self._file.write(start + page, data[page : page + PAGE_BYTES])
        self._file.sync()

    def _residues(self, extent: bytes, start: int) -> Iterator[tuple[int, int]]:
        """The gaps between cell pointers and cells that are not all zero."""
        for page in range(0, len(extent), PAGE_BYTES):
            header = page if start + page else _FILE_HEADER_BYTES
            kind, _, cells, content = _PAGE_HEADER.unpack_from(extent, header)
            if kind in self._kinds:
                begin, end = header + _HEADER_BYTES[kind] + 2 * cells, page + content
                if extent[begin:end].strip(b"\0"):
                    yield begin, end
