"""Packs a file into compressed chunks and unpacks it, one chunk at a time in memory. It knows no network.

Together the chunks are a gzip file, which standard tools can read.
"""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from typing import TYPE_CHECKING

from engagement_server.errors import DamagedSnapshotError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCK_BYTES = 1024 * 1024
# Higher levels take several times as long and save a tenth.
_LEVEL = 1
_GZIP = 31


class Packer:
    """Packs a file. Not thread-safe."""

    def __init__(self, path: Path, *, chunk_bytes: int) -> None:
        self._path = path
        self._chunk_bytes = chunk_bytes
        self._digest = hashlib.sha256()
        self.unpacked_bytes = 0
        """Bytes of the file that were read so far."""
        self.packed_bytes = 0
        """Bytes of the chunks so far."""

    @property
    def digest(self) -> str:
        """Digest of all chunks so far."""
        return _format_digest(self._digest.digest())

    def pack(self) -> Iterator[bytes]:
        """Yields the chunks, all of the full size but the last. Raises OSError."""
        compressor = zlib.compressobj(_LEVEL, wbits=_GZIP)
        packed = bytearray()
        with self._path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                self.unpacked_bytes += len(block)
                packed += compressor.compress(block)
                yield from self._cut(packed)
        packed += compressor.flush()
        yield from self._cut(packed)
        if packed:
            yield self._counted(bytes(packed))

    def _cut(self, packed: bytearray) -> Iterator[bytes]:
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
    """Unpacks a file. Not thread-safe."""

    def __init__(self, path: Path, *, unpacked_bytes: int, digest: str) -> None:
        """Creates the file, which is to have this size and digest. Raises OSError."""
        self._unpacked_bytes = unpacked_bytes
        self._digest = digest
        self._file = path.open("wb")
        self._seen = hashlib.sha256()
        self._decompressor = zlib.decompressobj(wbits=_GZIP)

    def add(self, chunk: bytes) -> None:
        """Unpacks a chunk into the file. Raises DamagedSnapshotError and OSError."""
        self._seen.update(chunk)
        while chunk:
            try:
                block = self._decompressor.decompress(chunk, _BLOCK_BYTES)
            except zlib.error as error:
                raise DamagedSnapshotError(str(error)) from error
            chunk = self._decompressor.unconsumed_tail
            if self._file.tell() + len(block) > self._unpacked_bytes:
                raise DamagedSnapshotError("it is larger than its description says")
            self._file.write(block)

    def finish(self) -> None:
        """Checks that the file is complete, and syncs it. Raises DamagedSnapshotError and OSError."""
        self._file.write(self._decompressor.flush())
        if not self._decompressor.eof or self._file.tell() != self._unpacked_bytes:
            raise DamagedSnapshotError("its size differs from its description")
        if _format_digest(self._seen.digest()) != self._digest:
            raise DamagedSnapshotError("its digest differs from its description")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file. Raises OSError."""
        self._file.close()


def _format_digest(digest: bytes) -> str:
    """Formats a digest as JetStream's object store does."""
    return "SHA-256=" + base64.urlsafe_b64encode(digest).decode()
