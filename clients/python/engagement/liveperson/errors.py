"""The errors of an import.

Exception
├── CorruptInputError   the input itself is damaged; ends the import
└── UnreadableError     the contract cannot express an event; becomes an UnreadableEvent
"""

from __future__ import annotations

from engagement.violation import Violation


class CorruptInputError(Exception):
    """The input is damaged at this place; everything before it was read.

    Importing the repaired input from the beginning is safe: no event is stored twice.
    `line` counts from 1, `byte_offset` from 0, both in the decompressed input.
    """

    def __init__(self, reason: str, *, line: int, byte_offset: int) -> None:
        super().__init__(f"line {line}, byte {byte_offset}: {reason}")
        self.reason = reason
        self.line = line
        self.byte_offset = byte_offset


class UnreadableError(Exception):
    """An event has content that the contract cannot express."""

    def __init__(self, field: str, *, rule: str, description: str) -> None:
        super().__init__(f"{field}: {description}")
        self.violation = Violation(field, rule, description)
