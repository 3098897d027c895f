"""The contents of a view, for comparing views of one log."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import apsw

from tests.support.store_file import open_store

# Purges that a node still has to do in its own files, and its id in votes.
_LOCAL_SETTINGS = "('purge', 'index_purge', 'log_voter', 'log_voter_since')"
_TABLES = (
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
    " AND name NOT LIKE 'search\\_%' ESCAPE '\\' ORDER BY name"
)


class Rows(NamedTuple):
    """The number of rows, and a digest of them in the order of their values."""

    number: int
    digest: str


def view_rows(data_dir: Path) -> dict[str, Rows]:
    """The rows of each table of the view in a folder, and the words of its index as `search`."""
    with (
        contextlib.closing(open_store(data_dir, flags=apsw.SQLITE_OPEN_READONLY)) as connection,
        connection,
    ):
        tables = [str(table) for (table,) in connection.execute(_TABLES)]
        rows = {table: _table_rows(connection, table) for table in tables}
        # Segments and merges differ from node to node; words and their positions do not.
        connection.execute("CREATE VIRTUAL TABLE temp.words USING fts5vocab(main, search, instance)")
        # Ordered by words and then by events.
        rows["search"] = _digest(connection.execute('SELECT term, doc, col, "offset" FROM temp.words'))
        connection.execute("DROP TABLE temp.words")
    return rows


@contextlib.contextmanager
def held_view(data_dir: Path, begin: str) -> Iterator[None]:
    """Keeps a view from being written (BEGIN IMMEDIATE) or purged (BEGIN)."""
    with contextlib.closing(open_store(data_dir)) as holder:
        holder.execute(begin)
        holder.execute("SELECT count(*) FROM events").fetchall()
        yield
        holder.execute("ROLLBACK")


def _table_rows(connection: apsw.Connection, table: str) -> Rows:
    columns = [f'"{row[1]}"' for row in connection.execute(f'PRAGMA table_info("{table}")')]
    condition = f" WHERE name NOT IN {_LOCAL_SETTINGS}" if table == "settings" else ""
    names = ", ".join(columns)
    return _digest(connection.execute(f'SELECT {names} FROM "{table}"{condition} ORDER BY {names}'))


def _digest(rows: Iterable[tuple[object, ...]]) -> Rows:
    digest, count = hashlib.sha256(), 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - the last one counts
        digest.update(repr(row).encode())
    return Rows(count, digest.hexdigest())
