"""Failures of SQLite, as callers and operators are told about them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import apsw

from engagement_server.errors import ConfigurationError, DataDamagedError, StoreUnavailableError
from engagement_server.store.checksums import is_damage
from engagement_server.store.data_folder import take_over

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def failure_of(error: apsw.Error) -> StoreUnavailableError | DataDamagedError:
    """The error to raise when SQLite fails: it names the kind of failure, no paths or statements."""
    if is_damage(error):
        return DataDamagedError()
    return StoreUnavailableError(_CAUSES.get(type(error), type(error).__name__))


def obstacle_of(error: Exception) -> str:
    """Why a commit can never be applied, as callers are told too: nothing that may quote what it holds."""
    match error:
        case DataDamagedError():
            return "cannot be applied, because the view is damaged: replace it with `engagement log repair`"
        case StoreUnavailableError():
            return f"cannot be applied: {error.fault}"
        case _:
            return f"cannot be applied: {type(error).__name__}"


_CAUSES: dict[type[apsw.Error], str] = {
    apsw.FullError: "disk full",
    apsw.IOError: "input/output error",
    apsw.BusyError: "busy",
    apsw.ReadOnlyError: "read-only file system",
}


@contextmanager
def usable(path: Path) -> Iterator[None]:
    """Says what is wrong with a store that a start cannot use. Raises ConfigurationError."""
    try:
        yield
    except DataDamagedError as error:
        raise _damaged(path) from error
    except apsw.NotADBError as error:
        raise ConfigurationError(
            f"{path} cannot be used: {error}. If it was a store, it is damaged: restore a backup"
        ) from error
    except (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError) as error:
        raise not_writable(path) from error
    except apsw.Error as error:
        if is_damage(error):
            raise _damaged(path) from error
        raise ConfigurationError(f"{path} cannot be used: {error}") from error


def _damaged(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is damaged: a page that the start needs is not as it was written. Run `engagement check"
        f" {path.parent}` to see what is damaged and what can be done"
    )


def not_writable(path: Path) -> ConfigurationError:
    """The error of a start that cannot write."""
    return ConfigurationError(
        f"{path} cannot be written. Make its disk writable, and give it to the user of this process:"
        f" {take_over(path.parent)}"
    )
