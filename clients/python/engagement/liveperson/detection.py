"""Distinguishes the files of other platforms from our own by their first bytes."""

from __future__ import annotations

import io
from typing import Final

from engagement import v1
from engagement.liveperson.errors import CorruptInputError
from engagement.liveperson.scanner import Scanner
from engagement.liveperson.surroundings import KNOWN_LISTS, SUBJECTS, TIMES

_SETS: Final = frozenset({"customerInfo", "personalInfo"})
_SHARED: Final = frozenset({"accountId", "conversationId", "originalTimeStamp", "original_time_stamp"})
"""Names that both have beside a set, in events or in the requests around them."""
_OURS: Final = (
    {name for field in v1.Event.DESCRIPTOR.fields for name in (field.name, field.json_name)} - _SETS - _SHARED
)
THEIRS: Final = (KNOWN_LISTS | SUBJECTS | TIMES.keys()) - _OURS - _SHARED | {
    "_metadata",
    "auth",
    "data",
    "events",
    "info",
    "isAuthenticated",
    "personal",
    "sdeType",
    "timestamp",
    "type",
}


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
    """Whether the first object is one of our events, by the first name that only one of both has.

    A set alone is ours, unless it is nested as in an export.
    """
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
