"""A file in compressed chunks, and back; never more of it in memory than a chunk. It knows no network.

The chunks make a gzip file: what usual tools read as well.
"""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from typing import TYPE_CHECKING

from engagement_server.faults import DamagedSnapshotError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCK_BYTES = 1024 * 1024
# More of it takes several times as long and saves a tenth.
_LEVEL = 1
_GZIP = 31


class Packer:
    """Reads a file. Not safe to share between threads."""

    def __init__(self, path: Path, *, chunk_bytes: int) -> None:
        self._path = path
        self._chunk_bytes = chunk_bytes
        self._digest = hashlib.sha256()
        self.unpacked_bytes = 0
        """How much was read so far."""
        self.packed_bytes = 0
        """How much is in the chunks so far."""

    @property
    def digest(self) -> str:
        """Of all chunks so far."""
        return _text_of(self._digest.digest())

    def pack(self) -> Iterator[bytes]:
        """The chunks, all but the last of the full size. Raises OSError."""
        compressor = zlib.compressobj(_LEVEL, wbits=_GZIP)
        packed = bytearray()
        with self._path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                self.unpacked_bytes += len(block)
                packed += compressor.compress(block)
                yield from self._take(packed)
        packed += compressor.flush()
        yield from self._take(packed)
        if packed:
            yield self._counted(bytes(packed))

    def _take(self, packed: bytearray) -> Iterator[bytes]:
        """Cuts off full chunks."""
        while len(packed) >= self._chunk_bytes:
            chunk = bytes(packed[: self._chunk_bytes])
            del packed[: self._chunk_bytes]
            yield self._counted(chunk)

    def _counted(self, chunk: bytes) -> bytes:
        self._digest.update(chunk)
        self.packed_bytes += len(chunk)
        return chunk


class Unpacker:
    """Writes a file. Not safe to share between threads."""

    def __init__(self, path: Path, *, unpacked_bytes: int, digest: str) -> None:
        """Says what the file is to become. Raises OSError."""
        self._unpacked_bytes = unpacked_bytes
        self._digest = digest
        self._file = path.open("wb")
        self._seen = hashlib.sha256()
        self._decompressor = zlib.decompressobj(wbits=_GZIP)

    def add(self, chunk: bytes) -> None:
        """Writes what is in a chunk. Raises DamagedSnapshotError and OSError."""
        self._seen.update(chunk)
        while chunk:
            try:
                block = self._decompressor.decompress(chunk, _BLOCK_BYTES)
            except zlib.error as error:
                raise DamagedSnapshotError(str(error)) from error
            chunk = self._decompressor.unconsumed_tail
            if self._file.tell() + len(block) > self._unpacked_bytes:
                raise DamagedSnapshotError("it is larger than it is said to be")
            self._file.write(block)

    def finish(self) -> None:
        """Makes sure that the file is whole and on disk. Raises DamagedSnapshotError and OSError."""
        self._file.write(self._decompressor.flush())
        if not self._decompressor.eof or self._file.tell() != self._unpacked_bytes:
            raise DamagedSnapshotError("it is not as large as it is said to be")
        if _text_of(self._seen.digest()) != self._digest:
            raise DamagedSnapshotError("its digest is another one")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Leaves the file as it is. Raises OSError."""
        self._file.close()


def _text_of(digest: bytes) -> str:
    """In the form of JetStream's object store."""
    return "SHA-256=" + base64.urlsafe_b64encode(digest).decode()
