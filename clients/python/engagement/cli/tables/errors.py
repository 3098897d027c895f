"""The errors of tables.

Exception
└── TableDamageError   ends the reading of a table
"""

from __future__ import annotations


class TableDamageError(Exception):
    """A table cannot be read any further; the rows before it are good. The message has the place."""
