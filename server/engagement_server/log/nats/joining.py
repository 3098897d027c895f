"""How a node joins a log: it founds one that is empty, or makes sure that its view is one of this log."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING

from engagement_server.faults import ConfigurationError, LogReplacedError, LogUnreachableError, StaleViewError
from engagement_server.log.nats import framing
from engagement_server.log.nats.connection import Servers
from engagement_server.log.nats.continuity import check_position, declare_replaced, require_quorum
from engagement_server.log.nats.framing import Founding, MessageId
from engagement_server.log.nats.snapshots.restoring import restore_latest
from engagement_server.log.nats.stream import PUBLISH_SECONDS, connect
from engagement_server.store.database import Identity

if TYPE_CHECKING:
    from pathlib import Path

    from engagement_server.log.nats.connection import NatsSettings
    from engagement_server.log.nats.stream import NatsStream
    from engagement_server.store.database import DatabaseFile, StoreState

_log = logging.getLogger(__name__)

_FOUNDING_SEQUENCE = 1
_NO_SNAPSHOT = "there is no snapshot yet to begin with; another node is to take one"


async def join(settings: NatsSettings, database: DatabaseFile) -> Identity | None:
    """Makes the folder ready to follow the log; the identity of a view that is to be made there.

    Raises LogUnreachableError where the log does not answer or has no snapshot that is needed, and
    ConfigurationError where the folder holds something else.
    """
    store = database.inspect()
    creates = store is None or store.position.sequence == 0
    async with connect(Servers(settings), creates=creates) as stream:
        is_empty = (await require_quorum(stream)).last_sequence == 0
        if is_empty and creates:
            await found(stream, store)
        if store is None:
            return await _begin(stream, database)
        if store.position.sequence == 0:
            await _require_founder(stream, store.identity, database.folder)
            return None
        try:
            await check_position(stream, store.position)
        except LogReplacedError as error:
            if not is_empty:
                await declare_replaced(stream, epoch=store.identity.epoch)
            raise ConfigurationError(
                f"{error}: the log was replaced, or restored from a backup, or is not the one that"
                f" {database.folder} belongs to. Look at --log, or move the folder away: an empty one is"
                " filled from the log"
            ) from error
        except StaleViewError as error:
            _log.warning("%s: the view is made anew", error)
            if not await restore_latest(stream, database):
                raise LogUnreachableError(_NO_SNAPSHOT) from error
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
    raise LogUnreachableError(_NO_SNAPSHOT)


async def _require_founder(stream: NatsStream, identity: Identity, folder: Path) -> None:
    """Lets the store that the log was founded on go on. Raises ConfigurationError for others."""
    first = await stream.read(_FOUNDING_SEQUENCE)
    if first is None or framing.decode_founding(first.data).identity != identity:
        raise ConfigurationError(
            f"{folder} holds a store that is not of this log, and a log cannot take in another store."
            " Start with an empty folder"
        )


async def found(stream: NatsStream, store: StoreState | None) -> None:
    """Gives an empty log its identity, that of the store where there is one; the first node's counts."""
    founding = Founding(Identity.new() if store is None else store.identity, has_store=store is not None)
    message_id = str(MessageId(secrets.token_hex(8), 0))
    try:
        await stream.publish(
            message_id,
            framing.encode_founding(founding),
            timeout_seconds=PUBLISH_SECONDS,
            must_be_first=True,
        )
        _log.info("founded a log")
    except LogUnreachableError as error:
        if (await stream.state()).last_sequence == 0:
            raise
        _log.info("another node founded the log: %s", error)
