"""Disks that fill up: for a database of this process, and for all files of a server."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import apsw

from engagement_server.store.database import DatabaseFile, Identity
from engagement_server.store.reserve import FILE_NAME as RESERVE
from tests.support.server_process import ServerProcess

_SPARE_PAGES = 8
_UNLIMITED_PAGES = 0xFFFF_FFFE


class BoundedDatabaseFile(DatabaseFile):
    """A database whose room a test limits."""

    _writer: apsw.Connection

    def open_writer(
        self, identity: Identity | None = None, *, is_stopped: Callable[[], bool] = lambda: False
    ) -> apsw.Connection:
        self._writer = super().open_writer(identity, is_stopped=is_stopped)
        return self._writer

    def fill(self) -> None:
        """Leaves room for a few small events only."""
        self._writer.pragma("max_page_count", self._writer.pragma("page_count") + _SPARE_PAGES)

    def free(self) -> None:
        """Removes this limit."""
        self._writer.pragma("max_page_count", _UNLIMITED_PAGES)


@contextmanager
def limited(process: ServerProcess, kind: int, value: int) -> Iterator[None]:
    """Limits a resource of a running server, which only Linux allows."""
    _, hard = usual = resource.prlimit(process.pid, kind)
    resource.prlimit(process.pid, kind, (value, hard))
    yield
    if process.is_running:
        resource.prlimit(process.pid, kind, usual)


@contextmanager
def full_disk(process: ServerProcess, *, room_bytes: int = 0) -> Iterator[None]:
    """Keeps each file of a server from growing beyond its largest one and the room."""
    files = (file for file in process.data_dir.glob("*") if file.name != RESERVE)
    sizes = [file.stat().st_size for file in files]
    with limited(process, resource.RLIMIT_FSIZE, max(sizes, default=0) + room_bytes):
        yield
