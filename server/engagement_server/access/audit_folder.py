"""The folder of the audit log: locked by one server, with files for each kind of lines."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from engagement_server.access.audit_file import AuditFile
from engagement_server.errors import ConfigurationError


class AuditFolder:
    """All methods block, belong in one thread, and raise OSError while the folder cannot be written."""

    def __init__(self, path: Path, kinds: Iterable[str], *, max_file_bytes: int, max_files: int) -> None:
        """Creates the folder if it is missing, and locks it. Raises ConfigurationError."""
        self.path = path
        self._files = {
            kind: AuditFile(path, kind, max_bytes=max_file_bytes, max_files=max_files) for kind in kinds
        }
        self._lock: int | None = None
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._require_lock()
            for file in self._files.values():
                file.open()
        except BlockingIOError as error:
            raise ConfigurationError(
                f"--audit {path} is in use by another server, or for other files; choose another folder"
            ) from error
        except OSError as error:
            self.close()
            raise ConfigurationError(
                f"--audit {path} cannot be written: {error.strerror}; choose another folder"
            ) from error

    def append(self, kind: str, lines: Sequence[bytes]) -> Iterator[int]:
        """Appends lines of a kind; yields how many are on disk by now, again and again."""
        self._require_lock()
        yield from self._files[kind].append(lines)

    def reopen(self) -> None:
        """Opens the files again by their names: others may have moved them."""
        for file in self._files.values():
            file.close()
            with contextlib.suppress(OSError):  # the next line tells
                file.open()

    def close(self) -> None:
        """Closes all files, and unlocks the folder."""
        for file in self._files.values():
            file.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _require_lock(self) -> None:
        """Locks the folder that has the name now; another one may have taken the place of the first."""
        if self._lock is not None:
            named, locked = os.stat(self.path), os.fstat(self._lock)
            if (named.st_dev, named.st_ino) == (locked.st_dev, locked.st_ino):
                return
            self.close()
        lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise
        self._lock = lock
