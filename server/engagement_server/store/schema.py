"""Creates the current schema in a new store and upgrades the schemas of earlier versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from typing import TYPE_CHECKING, TypeAlias

import apsw

from engagement_server.errors import ConfigurationError
from engagement_server.store.account_sizes import sum_stored_bytes
from engagement_server.store.index_rebuild import create_index

if TYPE_CHECKING:
    from engagement_server.store.database import Identity

Upgrade: TypeAlias = Callable[[apsw.Connection], None]
"""Turns a store of one version into one of the next, inside the caller's transaction."""

OLDEST_VERSION = 9
"""Stores of earlier versions cannot be upgraded."""


def _add_principals(connection: apsw.Connection) -> None:
    """Uploads belong to a principal; earlier ones to everybody of their account."""
    connection.execute("ALTER TABLE uploads ADD COLUMN principal TEXT NOT NULL DEFAULT ''")


def _add_use_of_accounts(connection: apsw.Connection) -> None:
    """Accounts know how many bytes they store, and whose first event made them: nobody's, so far."""
    connection.execute("ALTER TABLE accounts ADD COLUMN stored_bytes INTEGER NOT NULL DEFAULT 0")
    connection.execute("ALTER TABLE accounts ADD COLUMN principal TEXT NOT NULL DEFAULT ''")
    connection.execute("CREATE INDEX accounts_by_principal ON accounts (principal) WHERE principal <> ''")
    connection.executemany(
        "UPDATE accounts SET stored_bytes = ? WHERE number = ?",
        [(size_bytes, account) for account, size_bytes in sum_stored_bytes(connection).items()],
    )


UPGRADES: Sequence[Upgrade] = (_add_principals, _add_use_of_accounts)
"""The upgrades from the oldest version on, in order; `schema.sql` is the result."""
SCHEMA_VERSION = OLDEST_VERSION + len(UPGRADES)


APPLICATION_ID = 0x656E6761
"""In the header of each store; the files of other programs have another number there, or none."""


def require_own(connection: apsw.Connection, *, upgrades: Sequence[Upgrade]) -> bool:
    """Whether a file is a store; false if it is new and empty.

    Raises ConfigurationError if it is a file of another program, or a store that is too old or too new.
    """
    path = connection.db_filename("main")
    version = connection.pragma("user_version")
    current = OLDEST_VERSION + len(upgrades)
    if connection.pragma("application_id") != APPLICATION_ID:
        if connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_schema)").fetchone() == (0,):
            return False
        raise ConfigurationError(f"{path} is a file of another program; choose another folder")
    if not OLDEST_VERSION <= version <= current:
        raise ConfigurationError(
            f"{path} has schema version {version}, which is too"
            f" {'old' if version < OLDEST_VERSION else 'new'} for this server; start the server version that"
            " wrote it, or choose another folder"
        )
    return True


def prepare(connection: apsw.Connection, identity: Identity, *, upgrades: Sequence[Upgrade]) -> None:
    """Creates the schema of a new store, or upgrades that of an older one, in one transaction."""
    version, current = connection.pragma("user_version"), OLDEST_VERSION + len(upgrades)
    if version == current:
        return
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
    connection.pragma("application_id", APPLICATION_ID)
    connection.execute(
        "INSERT INTO settings VALUES ('log_epoch', ?), ('token_key', ?), ('erasure_salt', ?)", identity
    )
