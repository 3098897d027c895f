"""Distinguishes the files of other platforms from our own by their first bytes."""

from __future__ import annotations

import io
from typing import Final

from engagement import v1
from engagement.liveperson.errors import CorruptInputError
from engagement.liveperson.scanner import Scanner
from engagement.liveperson.surroundings import KNOWN_LISTS

THEIRS: Final = KNOWN_LISTS | {
    "_metadata",
    "auth",
    "data",
    "events",
    "info",
    "personal",
    "sdeType",
    "timestamp",
    "type",
}
_SETS: Final = frozenset({"customerInfo", "personalInfo"})
_OURS: Final = {
    name for field in v1.Event.DESCRIPTOR.fields for name in (field.name, field.json_name)
} - _SETS


def looks_like_import(head: bytes) -> bool:
    """Whether a file with this beginning is for the Importer, rather than one event of ours per line.

    The first few kilobytes are enough. JSON that is neither is for the Importer, which names it.
    """
    scanner = Scanner(io.BytesIO(head))
    try:
        return scanner.peek() == "[" or (scanner.peek() == "{" and not _is_ours(scanner))
    except CorruptInputError:
        return False


def _is_ours(scanner: Scanner) -> bool:
    """Whether the first object has members of our events, and none that others have."""
    has_flat_set = False
    try:
        for name in scanner.members():
            if name in THEIRS or name in _OURS:
                return name in _OURS
            if name not in _SETS or scanner.peek() != "{":
                scanner.value()
                continue
            has_flat_set = True
            for inner in scanner.members():
                if inner == name:
                    return False
                scanner.value()
    except CorruptInputError:  # most likely the end of the beginning
        pass
    return has_flat_set
