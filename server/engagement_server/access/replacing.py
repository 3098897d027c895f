"""Replaces a file as a whole: readers, and a crash, find either all of the new content or the old one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Replaces a file, or makes it, readable by its owner only. It keeps its owner. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            _keep_owner(path, file.fileno())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _keep_owner(path: Path, descriptor: int) -> None:
    """Lets a server go on reading its file when its operator, as root, has changed it."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        state = path.stat()
        os.fchown(descriptor, state.st_uid, state.st_gid)
