"""`engagement backup` and `restore`: copy a store. They import the server itself only when they are run."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engagement_server.commands.reports import ProgressLine, contents_text, count_text, size_text
from engagement_server.errors import ConfigurationError, DataDamagedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engagement_server.store.backup import Copied

_FAILED = 2
_DAMAGED = 1
_BACKUP_EPILOG = """\b
Examples:
  engagement backup data backup.db
  engagement check backup.db

Exit status: 0 copied, 2 nothing was copied.
"""
_RESTORE_EPILOG = """\b
Examples:
  engagement restore backup.db restored
  engagement serve --data restored

Exit status: 0 restored, 1 restored with damage, 2 nothing was restored.
"""
_json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one line of JSON.")


class BackupError(click.ClickException):
    """The store cannot be copied; the message says why."""

    exit_code = _FAILED


@click.command(epilog=_BACKUP_EPILOG)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_json_option
def backup(folder: Path, *, file: Path, as_json: bool) -> int:
    """Copy the store in FOLDER into FILE, while its server runs or not.

    The copy is the state of one moment, without free space and without bytes of
    erased events. A damaged store is not copied, and an existing FILE is kept.
    """
    from engagement_server.store.backup import back_up  # noqa: PLC0415 - the server is an extra

    began = time.monotonic()
    with _explained(folder, "copied"):
        copied = back_up(folder, file)
    seconds = time.monotonic() - began
    if as_json:
        click.echo(_to_json(copied, seconds=seconds, folder=folder, file=file))
    else:
        _print(copied, "copied", to=file, seconds=seconds)
    return 0


@click.command(epilog=_RESTORE_EPILOG)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--accept-damage", is_flag=True, help="Restore a damaged copy too; what is damaged stays so.")
@_json_option
def restore(file: Path, *, folder: Path, accept_damage: bool, as_json: bool) -> int:
    """Make a store in FOLDER of the copy in FILE.

    Checks the checksums of all pages first, and refuses a damaged copy.
    Cursors and page tokens from before are refused afterwards, because those
    issued after the copy could point at other events.
    """
    from engagement_server.store.backup import restore as restore_store  # noqa: PLC0415 - the server is an extra

    began = time.monotonic()
    progress = ProgressLine()
    with _explained(file, "restored"):
        copied = restore_store(
            file,
            folder,
            accepts_damage=accept_damage,
            on_progress=lambda done, total: progress.show("pages", done, total),
        )
    progress.clear()
    seconds = time.monotonic() - began
    if as_json:
        click.echo(_to_json(copied, seconds=seconds, file=file, folder=folder))
    else:
        _print(copied, "restored", to=folder, seconds=seconds)
    return _DAMAGED if copied.damaged_pages else 0


@contextlib.contextmanager
def _explained(source: Path, verb: str) -> Iterator[None]:
    """Ends the command with a sentence if the copy fails. Raises BackupError."""
    outcome = f"{source} was not {verb}"
    try:
        yield
    except ConfigurationError as error:
        raise BackupError(str(error)) from error
    except DataDamagedError as error:
        raise BackupError(
            f"{outcome}: it is damaged. Stop its server; `engagement check {source}` says what can be done"
        ) from error
    except UnavailableError as error:
        raise BackupError(f"{outcome}: {error.fault}") from error
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise BackupError(f"{outcome}: {place}{error.strerror}") from error


def _print(copied: Copied, verb: str, *, to: Path, seconds: float) -> None:
    contents = "what can be read"
    if copied.events is not None and copied.accounts is not None:
        contents = contents_text(events=copied.events, accounts=copied.accounts)
    size = size_text(copied.size_bytes)
    damage = f"; damaged: {count_text(copied.damaged_pages, 'page')}" if copied.damaged_pages else ""
    click.echo(f"{verb} {contents} to {to} ({size}) in {seconds:.1f} s{damage}")


def _to_json(copied: Copied, *, seconds: float, **places: Path) -> str:
    named = {name: str(path) for name, path in places.items()}
    contents = {"bytes": copied.size_bytes, "accounts": copied.accounts, "events": copied.events}
    return json.dumps(
        {"seconds": round(seconds, 3), **named, **contents, "damaged_pages": copied.damaged_pages}
    )
