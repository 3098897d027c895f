"""Creates the current schema in a new store and upgrades the schemas of earlier versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from typing import TYPE_CHECKING, TypeAlias

import apsw

from engagement_server.errors import ConfigurationError
from engagement_server.store.index_rebuild import create_index

if TYPE_CHECKING:
    from engagement_server.store.database import Identity

Upgrade: TypeAlias = Callable[[apsw.Connection], None]
"""Turns a store of one version into one of the next, inside the caller's transaction."""

OLDEST_VERSION = 6
"""Stores of earlier versions cannot be upgraded."""
UPGRADES: Sequence[Upgrade] = ()
"""The upgrades from the oldest version on, in order; `schema.sql` is the result."""
SCHEMA_VERSION = OLDEST_VERSION + len(UPGRADES)


def prepare(connection: apsw.Connection, identity: Identity, *, upgrades: Sequence[Upgrade]) -> None:
    """Creates or upgrades the schema, in one transaction.

    A new store gets the identity. Raises ConfigurationError if the store is too old or too new to open,
    without changing it.
    """
    version, current = connection.pragma("user_version"), OLDEST_VERSION + len(upgrades)
    if version == current:
        return
    if version and not OLDEST_VERSION <= version < current:
        raise ConfigurationError(
            f"{connection.db_filename('main')} has schema version {version}, which is too"
            f" {'old' if version < OLDEST_VERSION else 'new'} for this server; start the server version that"
            " wrote it, or choose another folder"
        )
    with connection:
        if version == 0:
            _create(connection, identity)
        else:
            for upgrade in upgrades[version - OLDEST_VERSION :]:
                upgrade(connection)
        connection.pragma("user_version", current)


def _create(connection: apsw.Connection, identity: Identity) -> None:
    connection.execute(resources.files(__package__).joinpath("schema.sql").read_text())
    create_index(connection)
    connection.execute(
        "INSERT INTO settings VALUES ('log_epoch', ?), ('token_key', ?), ('erasure_salt', ?)", identity
    )
