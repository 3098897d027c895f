"""`engagement backup` and `restore`: copy a store. They import the server itself only when they are run."""

from __future__ import annotations

from pathlib import Path

import click

from engagement_server.errors import ConfigurationError, RequestError, UnavailableError

_FAILED = 2
_BACKUP_EPILOG = """\b
Examples:
  engagement backup data backup.db
  engagement check backup.db
"""
_RESTORE_EPILOG = """\b
Examples:
  engagement restore backup.db restored
  engagement serve --data restored
"""


class BackupError(click.ClickException):
    """The store cannot be copied; the message says why."""

    exit_code = _FAILED


@click.command(epilog=_BACKUP_EPILOG)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(folder: Path, *, file: Path) -> int:
    """Copy the store in FOLDER into FILE, while its server runs or not.

    The copy is the state of one moment, without free space and without bytes of
    erased events. A damaged store is not copied.
    """
    from engagement_server.store.backup import back_up  # noqa: PLC0415 - the server is an extra

    try:
        back_up(folder, file)
    except UnavailableError as error:
        raise BackupError(error.fault) from error
    except (ConfigurationError, RequestError) as error:
        raise BackupError(str(error)) from error
    return 0


@click.command(epilog=_RESTORE_EPILOG)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def restore(file: Path, *, folder: Path) -> int:
    """Make a store in FOLDER of the copy in FILE.

    Cursors and page tokens from before are refused afterwards, because those
    issued after the copy could point at other events.
    """
    from engagement_server.store.backup import restore as restore_store  # noqa: PLC0415 - the server is an extra

    try:
        restore_store(file, folder)
    except ConfigurationError as error:
        raise BackupError(str(error)) from error
    return 0
