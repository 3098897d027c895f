"""The statements that add the words of events to the search index and remove them."""

from __future__ import annotations

from typing import Final

_COLUMNS: Final = "attributes, consumer_id, conversation_id, customer_id"
_ADDED: Final = "(?, ?, ?, ?, ?)"
_REMOVED: Final = "('delete', ?, ?, ?, ?, ?)"


def insert_words(rows: int) -> str:
    """Adds rows: each is a position and the indexed texts."""
    return f"INSERT INTO search (rowid, {_COLUMNS}) VALUES {','.join([_ADDED] * rows)}"  # noqa: S608  # constants


def delete_words(rows: int) -> str:
    """Removes rows: each is a position and the texts with which it was added."""
    return f"INSERT INTO search (search, rowid, {_COLUMNS}) VALUES {','.join([_REMOVED] * rows)}"  # noqa: S608  # constants
