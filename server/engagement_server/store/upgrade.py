"""Brings a store that an earlier server wrote to the present schema, inside the transaction of the caller."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from importlib import resources
from typing import TYPE_CHECKING

from engagement import v1
from engagement_server.store.index_merges import IndexMerges
from engagement_server.store.search import indexed_texts

if TYPE_CHECKING:
    import apsw

_log = logging.getLogger(__name__)

OLDEST_VERSION = 1
"""Stores before this version cannot be upgraded."""
_ROWS_A_PART = 500
# One event may have as much text as thousands of others.
_MAX_PART_CHARACTERS = 1_000_000
_EVENTS_A_LOG_LINE = 100_000

_Row = tuple[int, str, str, str, str]


def upgrade(connection: apsw.Connection, *, version: int) -> None:
    """Upgrades from `version` on; from 1, it takes time for every event, and memory for a few."""
    if version < 2:
        _upgrade_to_2(connection)
    if version < 3:
        connection.execute(resources.files(__package__).joinpath("upgrade_3.sql").read_text())


def _upgrade_to_2(connection: apsw.Connection) -> None:
    """Adds tables and columns, and makes the search index anew: what it holds of ids has changed."""
    connection.execute(resources.files(__package__).joinpath("upgrade_2.sql").read_text())
    connection.execute("INSERT INTO settings VALUES ('erasure_salt', ?)", (secrets.token_bytes(32),))
    ((total,),) = connection.execute("SELECT count(*) FROM events")
    _log.info("upgrading the store to schema version 2: %d events to index", total)
    merges = IndexMerges(connection)
    indexed = 0
    for part in _parts(connection):
        connection.executemany(
            "INSERT INTO search (rowid, attributes, consumer_id, conversation_id, customer_id)"
            " VALUES (?, ?, ?, ?, ?)",
            part,
        )
        merges.after_insert(rows=len(part), text_characters=sum(map(_characters, part)))
        before, indexed = indexed, indexed + len(part)
        if before // _EVENTS_A_LOG_LINE != indexed // _EVENTS_A_LOG_LINE:
            _log.info("%d of %d events are indexed", indexed, total)


def _parts(connection: apsw.Connection) -> Iterator[list[_Row]]:
    """The rows of the index, in the order of their positions, some at a time."""
    part: list[_Row] = []
    characters = 0
    for position, payload in connection.execute("SELECT position, payload FROM events ORDER BY position"):
        row = (position, *indexed_texts(v1.Event.FromString(payload)))
        part.append(row)
        characters += _characters(row)
        if len(part) == _ROWS_A_PART or characters > _MAX_PART_CHARACTERS:
            yield part
            part, characters = [], 0
    if part:
        yield part


def _characters(row: _Row) -> int:
    return sum(map(len, row[1:]))
