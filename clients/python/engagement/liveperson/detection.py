"""Distinguishes the files of other platforms from our own by their first bytes."""

from __future__ import annotations

import io
from typing import Final

from engagement import v1
from engagement.liveperson.documents import HUGE_LISTS
from engagement.liveperson.errors import CorruptInputError
from engagement.liveperson.scanner import Scanner

THEIRS: Final = HUGE_LISTS | {
    "_metadata",
    "auth",
    "data",
    "events",
    "info",
    "personal",
    "sdeType",
    "timestamp",
    "type",
    "unAuthSdes",
}
_SETS: Final = frozenset({"customerInfo", "personalInfo"})
_OURS: Final = {
    name for field in v1.Event.DESCRIPTOR.fields for name in (field.name, field.json_name)
} - _SETS


def looks_like_import(head: bytes) -> bool:
    """Whether a file with this beginning is for the Importer, rather than one event per line.

    The first few kilobytes are enough. In doubt it is false.
    """
    scanner = Scanner(io.BytesIO(head))
    try:
        return scanner.peek() == "[" or (scanner.peek() == "{" and _is_theirs(scanner))
    except CorruptInputError:
        return False


def _is_theirs(scanner: Scanner) -> bool:
    """Whether the first distinctive name is one of theirs."""
    for name in scanner.members():
        if name in THEIRS or name in _OURS:
            return name in THEIRS
        value = scanner.value()
        if name in _SETS and isinstance(value, dict) and name in value:
            return True
    return False
