"""The data folder: created if missing, and locked against other servers."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import socket
from typing import TYPE_CHECKING

from engagement_server.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

_HOLDER_FILE = "lock"
_MAX_HOLDER_CHARACTERS = 100


class DataFolder:
    """A locked folder. The lock is on the folder itself: removing files in it does not release it."""

    def __init__(self, path: Path) -> None:
        """Creates the folder if missing, and locks it. Raises ConfigurationError."""
        self._note = path / _HOLDER_FILE
        try:
            self._created = [each for each in (path, *path.parents) if not each.exists()]
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise unusable(path, error) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            raise ConfigurationError(
                f"the data folder {path} is in use by another server ({_read_holder(path)}); stop it, or"
                " choose another with --data DIR"
            ) from error
        self._has_new_note = not self._note.exists()
        try:
            _write_holder(path)
        except OSError as error:
            self.undo()
            raise unusable(path, error) from error

    def close(self) -> None:
        """Unlocks the folder."""
        os.close(self._descriptor)

    def undo(self) -> None:
        """Removes what locking has created, unless the folder has other files by now, and unlocks it."""
        if self._has_new_note:
            self._note.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            for folder in self._created:
                folder.rmdir()
        self.close()


def require_unlocked(path: Path) -> None:
    """Raises ConfigurationError while a server has a folder. Leaves no trace in it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        raise ConfigurationError(
            f"{path} is in use by a server ({_read_holder(path)}); stop it, or check a backup"
        ) from error
    finally:
        os.close(descriptor)


def unusable(path: Path, error: OSError) -> ConfigurationError:
    """The error of a start that cannot use a folder."""
    cause = "it is not a folder" if isinstance(error, FileExistsError) else error.strerror
    text = f"the data folder {path} cannot be used: {cause}; choose another with --data DIR"
    if isinstance(error, PermissionError):
        text += f", or give this one to the user of this process: {take_over(path)}"
    return ConfigurationError(text)


def take_over(folder: Path) -> str:
    """The command that gives a folder to the user of this process, who need not have a name."""
    user: str | int = os.geteuid()
    with contextlib.suppress(KeyError):
        user = pwd.getpwuid(os.geteuid()).pw_name
    return f"chown -R {user} {folder}"


def _write_holder(path: Path) -> None:
    """Leaves a note for a server that finds the folder locked; the note itself locks nothing."""
    descriptor = os.open(path / _HOLDER_FILE, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    finally:
        os.close(descriptor)


def _read_holder(path: Path) -> str:
    try:
        text = (path / _HOLDER_FILE).read_text(errors="replace")
    except OSError:
        return "unknown process"
    return text[:_MAX_HOLDER_CHARACTERS].strip() or "unknown process"
