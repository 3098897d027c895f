"""Tells failures of the store that pass from those that do not."""

from __future__ import annotations

import apsw

from engagement_server.store.checksums import is_damage

_TRANSIENT = (
    apsw.FullError,
    apsw.IOError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.ReadOnlyError,
    apsw.CantOpenError,
    apsw.NoMemError,
    apsw.InterruptError,
)


def is_transient(error: BaseException | None) -> bool:
    """Whether the same statements may succeed later: the disk has room again, or another program is done."""
    return isinstance(error, _TRANSIENT) and not is_damage(error)
