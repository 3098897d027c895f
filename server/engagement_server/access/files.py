"""Reads the files of access, whole and within limits. What they say is not known here."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

from engagement_server.access.grants import MAX_GRANTS_BYTES
from engagement_server.access.secrets import MAX_FILE_BYTES
from engagement_server.errors import ConfigurationError

GRANTS: Final = "grants"
TOKENS: Final = "tokens"
JWT_KEYS: Final = "jwt_keys"
MAX_KEYS_BYTES: Final = 1024 * 1024
MAX_KEY_FILES: Final = 100
_MAX_BYTES: Final = {GRANTS: MAX_GRANTS_BYTES, TOKENS: MAX_FILE_BYTES, JWT_KEYS: MAX_KEYS_BYTES}
_SETTLED_SECONDS: Final = 10.0
"""After so long a file with the same times and the same size has the same content."""

Contents: TypeAlias = tuple[bytes, ...]
"""Of one file, or of all files of a folder in the order of their names."""
AllContents: TypeAlias = Mapping[str, Contents]
"""By kind of file."""


class WatchedFile:
    """A file, or a folder of .json files, and what was last read of it."""

    def __init__(self, kind: str, path: Path) -> None:
        self.kind = kind
        self.path = path
        self.contents: Contents | None = None
        """As it was read last, whether or not it makes sense."""
        self._mark: tuple[object, ...] | None = None

    def read(self) -> Contents:
        """Reads all of it. Raises ConfigurationError."""
        limit_bytes = _MAX_BYTES[self.kind]
        try:
            paths = self._paths()
            contents = tuple(_read(path, limit_bytes) for path in paths)
        except OSError as error:
            raise ConfigurationError(
                f"cannot read {error.filename or self.path}: {error.strerror}"
            ) from error
        if len(paths) > MAX_KEY_FILES:
            raise ConfigurationError(f"{self.path} has more than {MAX_KEY_FILES} files")
        if sum(map(len, contents)) > limit_bytes:
            raise ConfigurationError(f"{self.path} has more than {limit_bytes:,} bytes")
        return contents

    def may_have_changed(self) -> bool:
        """Whether it has to be read to find out; a quick look, which may say yes of one that is the same.

        Secret mounts swap a link, so that what is behind the path has another inode.
        """
        mark = self._look()
        is_same = mark is not None and mark == self._mark
        self._mark = mark
        return not is_same

    def _look(self) -> tuple[object, ...] | None:
        """What changes with the content; None while it cannot be relied on."""
        try:
            states = [(path.name, path.stat()) for path in self._paths()]
        except OSError:
            return None
        # A second change within a tick of the clock leaves no trace.
        if any(time.time() - state.st_mtime < _SETTLED_SECONDS for _, state in states):
            return None
        return tuple(
            (name, state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
            for name, state in states
        )

    def _paths(self) -> list[Path]:
        if self.kind == JWT_KEYS and self.path.is_dir():
            return sorted(path for path in self.path.iterdir() if path.suffix == ".json")[: MAX_KEY_FILES + 1]
        return [self.path]


def _read(path: Path, limit_bytes: int) -> bytes:
    # A pipe would block here, and have nothing to say the second time.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ConfigurationError(f"{path} is no file; it is read again and again")
        return file.read(limit_bytes + 1)
