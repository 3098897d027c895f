"""Finds the records in a stream of JSON documents: conversations, sessions, single events.

It knows which arrays may be huge, and streams those instead of loading them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from engagement.liveperson.scanner import Scanner
from engagement.liveperson.values import Json, Object

HUGE_LISTS = frozenset(
    {
        "conversationHistoryRecords",
        "interactionHistoryRecords",
        "appSessions",
        "engagementAttributes",
        "sdes",
        "lp_sdes",
    }
)
_AVRO_LISTS = frozenset({"array"})


@dataclass(frozen=True, slots=True)
class Record:
    """One conversation, session or event, and its place in the input."""

    place: str
    value: Json
    is_remainder: bool = False
    """Whether it is the rest of a document besides its huge lists: page numbers, links, claims of a token."""


def read_records(scanner: Scanner) -> Iterator[Record]:
    """All records of the input in order; it may have several documents, on separate lines or not.

    Places in the first document are paths; in later ones they also name the document.
    """
    number = 0
    while opening := scanner.peek():
        number += 1
        base = "" if number == 1 else f"document {number}: "
        if opening == "[":
            for index in scanner.elements():
                yield from _read_document(scanner, place=f"{base}[{index}]", prefix=f"{base}[{index}].")
        else:
            yield from _read_document(scanner, place=f"document {number}", prefix=base)


def _read_document(
    scanner: Scanner, *, place: str, prefix: str, lists: frozenset[str] = HUGE_LISTS
) -> Iterator[Record]:
    """The records of one document; the members beside its huge lists come last, as one record."""
    if scanner.peek() != "{":
        yield Record(place, scanner.value())
        return
    beside: Object = {}
    beside_characters = 0
    is_remainder = False
    for name in scanner.members():
        opening = scanner.peek()
        path = f"{prefix}{name}"
        if name in lists and opening == "[":
            is_remainder = True
            for index in scanner.elements():
                yield Record(f"{path}[{index}]", scanner.value())
        elif name == "engagementAttributes" and opening == "{" and lists is HUGE_LISTS:
            is_remainder = True
            yield from _read_document(scanner, place=path, prefix=f"{path}.", lists=_AVRO_LISTS)
        else:
            start = scanner.position
            beside[name] = scanner.value()
            beside_characters += scanner.position - start + len(name)
            if beside_characters > scanner.max_value_characters:
                raise scanner.too_large()
    if beside or not is_remainder:
        yield Record(place, beside, is_remainder)
