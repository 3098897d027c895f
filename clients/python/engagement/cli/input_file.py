"""Opens a file or standard input as decompressed UTF-8, and counts the bytes read."""

from __future__ import annotations

import codecs
import io
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, Final

from engagement.cli.encodings import MAGIC_BYTES, PARQUET, foreign_format, transcoded, unpacked
from engagement.cli.inputs import STDIN, InputPath

DAMAGE: Final = (EOFError, OSError, zlib.error)
"""Errors of a damaged input: truncated, a wrong checksum, a failing disk."""

_BEGINNING_BYTES: Final = 64
_HEAD_BYTES: Final = 4 * 1024
_BUFFER_BYTES: Final = 64 * 1024


class InputFile:
    """One input, decompressed if it is packed, and UTF-8 if it is UTF-16; a few buffers of it are in memory.

    Everything before damage is read before the error is raised.
    """

    def __init__(self, raw: io.RawIOBase, *, name: str) -> None:
        self.name = name
        status = os.fstat(raw.fileno())
        self.size_bytes = status.st_size if stat.S_ISREG(status.st_mode) else None
        """Size on disk; None for a pipe."""
        self.bytes_read = 0
        """Bytes on disk read so far."""
        self.before_read: Callable[[], None] = _do_nothing
        """Called before each read, which may wait for the writer of a pipe."""
        self._raw = raw
        plain = _Lookahead(self._read_raw)
        self.is_parquet = self.size_bytes is not None and plain.peek(MAGIC_BYTES) == PARQUET
        """Whether it is a Parquet file, which `open_whole` opens."""
        if (read := unpacked(plain.peek(MAGIC_BYTES), plain)) is not None:
            plain = _Lookahead(read)
        beginning = plain.peek(_BEGINNING_BYTES, until=b"\n")
        self.foreign_format = "" if self.is_parquet else foreign_format(beginning)
        """What the file is, and what to do, if it cannot hold events; empty if it can."""
        if (read := transcoded(beginning, plain.read_some)) is not None:
            plain = _Lookahead(read)
        # One line is enough to detect the format, and a pipe may be slow to deliver more.
        self.head = plain.peek(_HEAD_BYTES, until=b"}\n")
        """The first bytes, to detect the format; `stream` starts with them too."""
        content = self.head.removeprefix(codecs.BOM_UTF8).strip()
        self.is_empty = len(self.head) < _HEAD_BYTES and not content and not self.is_parquet
        """Whether nothing but white space is in it."""
        self.stream: BinaryIO = io.BufferedReader(plain, _BUFFER_BYTES)

    def open_whole(self) -> BinaryIO:
        """The bytes on disk, of which any can be read."""
        self.bytes_read = 0
        return io.BufferedReader(_WholeFile(self._raw, on_read=self._count), _BUFFER_BYTES)

    def _count(self, size: int) -> None:
        self.bytes_read += size

    def _read_raw(self, size: int) -> bytes:
        self.before_read()
        block: bytes = self._raw.read(size) or b""
        self.bytes_read += len(block)
        return block


def _do_nothing() -> None:
    pass


@contextmanager
def open_input(path: str) -> Iterator[InputFile]:
    """The input at a path, or standard input for `-`."""
    if path == STDIN:
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as raw:
            yield InputFile(raw, name="stdin")
    else:
        with open(path, "rb", buffering=0) as raw:
            yield InputFile(raw, name=os.path.basename(path))


class UnreadableInputError(Exception):
    """An input cannot be opened; the message says why."""


@contextmanager
def open_listed(one: InputPath) -> Iterator[InputFile]:
    """The input that was found under a path. Raises UnreadableInputError if it cannot be opened."""
    if one.problem:
        raise UnreadableInputError(f"it cannot be read: {one.problem}")
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open_input(one.path))
        except OSError as error:
            raise UnreadableInputError(f"it cannot be read: {error.strerror}") from error
        yield file


class _Lookahead(io.RawIOBase):
    """A stream whose beginning can be inspected before it is read."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._head = b""
        self._failure: Exception | None = None

    def peek(self, size: int, *, until: bytes = b"") -> bytes:
        """The first `size` bytes; fewer if the stream has `until`, ends or fails before."""
        try:
            while len(self._head) < size and not (until and until in self._head):
                block = self._read(_BUFFER_BYTES)
                if not block:
                    break
                self._head += block
        except DAMAGE as failure:
            self._failure = failure
        return self._head[:size]

    def readable(self) -> bool:
        """True, as io requires."""
        return True

    def read_some(self, size: int) -> bytes:
        """The inspected bytes, or the next ones of the stream: at most `size`, none at the end."""
        block, self._head = self._head[:size], self._head[size:]
        if not block and self._failure is not None:
            raise self._failure
        return block or self._read(size)

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # the base takes any buffer
        """Fills the buffer once."""
        block = self.read_some(len(buffer))
        buffer[: len(block)] = block
        return len(block)


class _WholeFile(io.RawIOBase):
    """A file on disk that stays open when this is closed."""

    def __init__(self, raw: io.RawIOBase, *, on_read: Callable[[int], None]) -> None:
        self._raw = raw
        self._on_read = on_read
        self._raw.seek(0)

    def readable(self) -> bool:
        """True, as io requires."""
        return True

    def seekable(self) -> bool:
        """True, as io requires."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """As io describes."""
        return self._raw.seek(offset, whence)

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # the base takes any buffer
        """Fills the buffer once."""
        block = self._raw.read(len(buffer)) or b""
        buffer[: len(block)] = block
        self._on_read(len(block))
        return len(block)
