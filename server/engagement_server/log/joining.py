"""How a node joins a log: it founds one that is empty, or makes sure that its view is one of this log."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import TYPE_CHECKING

from engagement_server.errors import (
    ConfigurationError,
    LogReplacedError,
    LogUnreachableError,
    StaleViewError,
)
from engagement_server.log import framing
from engagement_server.log.encoding import encode_commit
from engagement_server.log.framing import Founding, MessageId
from engagement_server.log.nats_stream import connect
from engagement_server.log.snapshots import restore_latest
from engagement_server.operations import ChangeEpoch, Commit
from engagement_server.store.database import Identity

if TYPE_CHECKING:
    from pathlib import Path

    from engagement_server.log.nats_stream import NatsSettings, NatsStream
    from engagement_server.store.database import DatabaseFile, StoreState
    from engagement_server.store.log_position import LogPosition

_log = logging.getLogger(__name__)

_FOUNDING_SEQUENCE = 1
_PUBLISH_SECONDS = 15.0
# A leader that was elected just now may not know yet how far the log reaches.
_PATIENCE_SECONDS = 10.0
_RETRY_SECONDS = 0.5


async def join(settings: NatsSettings, database: DatabaseFile) -> Identity | None:
    """Makes the folder ready to follow the log; the identity of a view that is to be made there.

    Raises LogUnreachableError where the log does not answer or has no snapshot that is needed, and
    ConfigurationError where the folder holds something else.
    """
    store = database.look()
    async with connect(settings) as stream:
        if (await stream.state()).last_sequence == 0 and (store is None or store.position.sequence == 0):
            await found(stream, store)
        if store is None:
            return await _begin(stream, database)
        if store.position.sequence == 0:
            await _require_founder(stream, store.identity, database.folder)
            return None
        try:
            await check_position(stream, store.position)
        except LogReplacedError as error:
            await declare_replaced(stream, store.identity)
            raise ConfigurationError(
                f"{error}: the log was replaced, or restored from a backup, or is not the one that"
                f" {database.folder} belongs to. Look at --log, or move the folder away: an empty one is"
                " filled from the log"
            ) from error
        except StaleViewError as error:
            _log.warning("%s: the view is made anew", error)
            await restore_latest(stream, database)
    return None


async def _begin(stream: NatsStream, database: DatabaseFile) -> Identity | None:
    """Fills an empty folder from a snapshot, or leaves it to be filled from the log's first message on."""
    if await restore_latest(stream, database):
        return None
    first = await stream.read(_FOUNDING_SEQUENCE)
    if first is not None:
        founding = framing.decode_founding(first.data)
        if not founding.has_store:
            return founding.identity
    raise LogUnreachableError("there is no snapshot yet to begin with; another node is to take one")


async def _require_founder(stream: NatsStream, identity: Identity, folder: Path) -> None:
    """Lets the store that the log was founded on go on. Raises ConfigurationError for others."""
    first = await stream.read(_FOUNDING_SEQUENCE)
    if first is None or framing.decode_founding(first.data).identity != identity:
        raise ConfigurationError(
            f"{folder} holds a store that is not of this log, and a log cannot take in another store."
            " Start with an empty folder"
        )


async def check_position(stream: NatsStream, position: LogPosition) -> None:
    """Makes sure that the log holds what a view has applied.

    Raises LogReplacedError, StaleViewError and LogUnreachableError.
    """
    if position.sequence == 0:
        return
    deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
    while (state := await stream.state()).last_sequence < position.sequence:
        if asyncio.get_running_loop().time() > deadline:
            raise LogReplacedError(
                f"the log ends with message {state.last_sequence}, but this view has applied"
                f" {position.sequence}"
            )
        await asyncio.sleep(_RETRY_SECONDS)
    message = await stream.read(position.sequence)
    if message is not None:
        if message.message_id != position.message_id:
            raise LogReplacedError(
                f"message {position.sequence} of the log is not the one that this view has applied"
            )
    elif state.last_sequence != position.sequence:
        raise StaleViewError(
            f"the log begins with message {state.first_sequence}, but this view ends with {position.sequence}"
        )


async def found(stream: NatsStream, store: StoreState | None) -> None:
    """Gives an empty log its identity, that of the store where there is one; the first node's counts."""
    founding = Founding(Identity.new() if store is None else store.identity, has_store=store is not None)
    message_id = str(MessageId(secrets.token_hex(8), 0))
    try:
        await stream.publish(
            message_id,
            framing.encode_founding(founding),
            timeout_seconds=_PUBLISH_SECONDS,
            must_be_first=True,
        )
        _log.info("founded a log")
    except LogUnreachableError as error:
        if (await stream.state()).last_sequence == 0:
            raise
        _log.info("another node founded the log: %s", error)


async def declare_replaced(stream: NatsStream, identity: Identity) -> None:
    """Gives the log another epoch, unless that was done, so that no cursor of what is lost is believed."""
    commit = Commit([ChangeEpoch(identity.epoch, secrets.randbits(32))], time.time_ns() // 1_000_000)
    await stream.publish(
        str(MessageId(secrets.token_hex(8), 1)),
        framing.COMMIT + encode_commit(commit),
        timeout_seconds=_PUBLISH_SECONDS,
    )
