"""The files of one kind of audit lines: appended to, rotated by size, and bounded in number."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

FILE_ENDING: Final = ".jsonl"
_MODE: Final = 0o600


class AuditFile:
    """`KIND.jsonl`, and the earlier files of the same kind: `KIND.000001.jsonl` and so on.

    All methods block, and belong in one thread. They raise OSError.
    """

    def __init__(self, folder: Path, kind: str, *, max_bytes: int, max_files: int) -> None:
        self._path = folder / f"{kind}{FILE_ENDING}"
        self._earlier = re.compile(rf"{re.escape(kind)}\.([0-9]{{6,9}}){re.escape(FILE_ENDING)}")
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._descriptor: int | None = None
        self._size_bytes = 0

    def append(self, lines: Sequence[bytes]) -> Iterator[int]:
        """Appends lines; yields how many are on disk by now, again and again."""
        done = 0
        while done < len(lines):
            descriptor = self._open()
            if self._size_bytes and self._size_bytes + len(lines[done]) > self._max_bytes:
                self._rotate()
                continue
            end, size_bytes = done, self._size_bytes
            while end < len(lines) and (end == done or size_bytes + len(lines[end]) <= self._max_bytes):
                size_bytes += len(lines[end])
                end += 1
            self._write(descriptor, b"".join(lines[done:end]))
            done = end
            yield done

    def open(self) -> None:
        """Opens the file, so that it is known whether that is possible."""
        self._open()

    def close(self) -> None:
        """Closes the file; the next line opens it again, by its name."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _open(self) -> int:
        """The descriptor of the file that has the name now: others may have moved the one that had it."""
        if self._descriptor is not None:
            if _has_name(self._descriptor, self._path):
                return self._descriptor
            self.close()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, _MODE)
        try:
            state = os.fstat(descriptor)
            _require_regular(state.st_mode)
            _sync_folder(self._path.parent)
            self._size_bytes = state.st_size
            # A process that was killed leaves a part of a line.
            if self._size_bytes and os.pread(descriptor, 1, self._size_bytes - 1) != b"\n":
                self._write(descriptor, b"\n")
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return descriptor

    def _write(self, descriptor: int, data: bytes) -> None:
        """Writes all of it to the disk, or nothing."""
        try:
            written = 0
            while written < len(data):
                written += os.write(descriptor, data[written:])
            os.fdatasync(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, self._size_bytes)
            self.close()  # what a failed sync leaves behind, only the file system knows
            raise
        self._size_bytes += len(data)

    def _rotate(self) -> None:
        """Gives the file the next number, and makes room for a new one."""
        numbers = sorted(
            int(found[1])
            for name in os.listdir(self._path.parent)
            if (found := self._earlier.fullmatch(name))
        )
        # First: however this ends, there are never too many.
        for number in numbers[: max(0, len(numbers) - (self._max_files - 2))]:
            self._numbered(number).unlink(missing_ok=True)
        os.rename(self._path, self._numbered(numbers[-1] + 1 if numbers else 1))
        self.close()

    def _numbered(self, number: int) -> Path:
        return self._path.with_suffix(f".{number:06}{FILE_ENDING}")


def _require_regular(mode: int) -> None:
    """Raises OSError for what is no file."""
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no regular file")


def _has_name(descriptor: int, path: Path) -> bool:
    """Whether a file is the one that is found by a name now."""
    try:
        named = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)


def _sync_folder(path: Path) -> None:
    """Lets the names in a folder outlive a crash."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
