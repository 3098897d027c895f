"""Gets views and logs going again after damage: replaces a view, and has all views skip a message."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING, NamedTuple

from engagement_server.errors import (
    ConfigurationError,
    DamagedMessageError,
    EngagementError,
    LogReplacedError,
    LogUnreachableError,
    StaleViewError,
    UnreadableCommitError,
)
from engagement_server.log.nats.divergence import check_position, require_quorum
from engagement_server.log.nats.entries import encode_skips, read_entry
from engagement_server.log.nats.incoming import Incoming, read_skips
from engagement_server.log.nats.racing import until_first
from engagement_server.log.nats.snapshots.restoring import restore_latest
from engagement_server.log_entries import SkipList
from engagement_server.store.schema import OLDEST_VERSION, SCHEMA_VERSION
from engagement_server.store.view_copy import (
    appoint_voter,
    import_copy,
    read_copy,
    read_voter,
    remove_copy,
    set_aside,
)

if TYPE_CHECKING:
    from pathlib import Path

    from engagement_server.log.nats.stream import NatsStream
    from engagement_server.store.database import DatabaseFile
    from engagement_server.store.log_position import LogPosition

MAX_SKIPS = 1_000
"""Limit on the messages that are skipped, of those that the log still keeps."""
_INCOMING_NAME = "incoming-copy.db"


class Replaced(NamedTuple):
    """A view that was replaced."""

    position: LogPosition
    last_sequence: int
    obstacle: DamagedMessageError | None
    """The message that still stops the new view; None: it can apply the rest of the log."""


async def replace_view(stream: NatsStream, database: DatabaseFile, source: Path | None) -> Replaced:
    """Replaces the view by a copy of another node's, or by the latest snapshot; keeps the old files aside.

    Raises ConfigurationError if there is nothing to replace it by, or the copy is not of this log, and
    LogUnreachableError. The view is as before then.
    """
    state = await require_quorum(stream)
    voter = read_voter(database.folder)
    with set_aside(database.folder) as restore:
        if source is None:
            if not await restore_latest(stream, database):
                raise ConfigurationError("the log has no snapshot that it continues from")
        else:
            await _take_over(stream, database, source)
        appoint_voter(database.folder, voter)
        restore.pop_all()
    view = database.inspect()
    assert view is not None
    obstacle = await first_obstacle(stream, after=view.position.sequence, through=state.last_sequence)
    return Replaced(view.position, state.last_sequence, obstacle)


async def first_obstacle(stream: NatsStream, *, after: int, through: int) -> DamagedMessageError | None:
    """The first message after one that stops every view; None if the log is whole up to the other."""
    if after >= through:
        return None
    incoming = Incoming(stream, after=after, commit_of=lambda _: None, on_foreign=lambda _: None)

    async def read() -> None:
        async with contextlib.aclosing(incoming.entries()) as batches:
            async for entries, _ in batches:
                if entries[-1].sequence >= through:
                    return

    try:
        await until_first(read(), incoming.watch_end(lambda: through))
    except DamagedMessageError as error:
        return error
    return None


async def skip_message(stream: NatsStream, sequence: int, *, is_forced: bool) -> None:
    """Has all views skip a message; what it held is lost.

    Raises ConfigurationError if there is no need: the log has it intact, and it `is_forced` not. Raises
    LogUnreachableError, also if another operator skips a message now.
    """
    state = await require_quorum(stream)
    if not state.first_sequence <= sequence <= state.last_sequence:
        raise ConfigurationError(
            f"message {sequence} is not in the log, which has messages {state.first_sequence} to"
            f" {state.last_sequence}"
        )
    latest = await stream.read_skips()
    skips = await read_skips(stream, is_damage_ignored=True)
    if sequence in skips:
        raise ConfigurationError(f"message {sequence} is skipped already")
    if not is_forced and await _is_usable(stream, sequence):
        raise ConfigurationError(
            f"message {sequence} is in the log, intact; with --intact it is skipped nevertheless, and what it"
            " holds is lost"
        )
    kept = sorted({*(each for each in skips if each >= state.first_sequence), sequence})
    if len(kept) > MAX_SKIPS:
        raise ConfigurationError(f"at most {MAX_SKIPS} messages can be skipped: found a new log on a view")
    try:
        await stream.publish_skips(
            f"skips.{secrets.token_hex(8)}",
            encode_skips(SkipList(kept)),
            replaces=0 if latest is None else latest.sequence,
        )
    except LogUnreachableError as error:
        raise LogUnreachableError(f"message {sequence} may not be skipped yet, try again: {error}") from error


async def _is_usable(stream: NatsStream, sequence: int) -> bool:
    """Whether the log has a message intact, and all parts of it."""
    message = await stream.read_anywhere(sequence)
    if message is None:
        return False
    try:
        await read_entry(stream, message, known=None)
    except DamagedMessageError:
        return False
    except UnreadableCommitError:  # of another version, perhaps
        return True
    return True


async def _take_over(stream: NatsStream, database: DatabaseFile, source: Path) -> None:
    """Replaces the view by a copy from which the log continues. Raises ConfigurationError."""
    incoming = database.folder / _INCOMING_NAME
    try:
        await asyncio.to_thread(import_copy, source, incoming)
        state = read_copy(incoming)
        if state.position.sequence == 0:
            raise ConfigurationError(f"{source} is not a view of a replicated log")
        if not OLDEST_VERSION <= state.schema_version <= SCHEMA_VERSION:
            raise ConfigurationError(
                f"{source} has schema version {state.schema_version}; this server reads {SCHEMA_VERSION}."
                " Copy the view of a node of the same version"
            )
        await check_position(stream, state.position)
        database.replace(incoming)
    except (LogReplacedError, StaleViewError) as error:
        raise ConfigurationError(f"{source} cannot be used: {error}") from error
    except OSError as error:
        raise ConfigurationError(f"{source} cannot be used: {error.strerror}") from error
    except EngagementError as error:
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(f"{source} cannot be used: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            remove_copy(incoming)
