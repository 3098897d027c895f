"""What an import can fail with.

Exception
├── CorruptInputError   the input itself is damaged; ends the import
└── UnreadableError     one event cannot be expressed; becomes an UnreadableEvent
"""

from __future__ import annotations


class CorruptInputError(Exception):
    """The input is damaged at this place; everything before it was read.

    Importing the repaired input from its beginning is safe: what was stored is not stored twice.
    `line` counts from 1, `byte_offset` from 0, both in the decompressed input.
    """

    def __init__(self, reason: str, *, line: int, byte_offset: int) -> None:
        super().__init__(f"line {line}, byte {byte_offset}: {reason}")
        self.reason = reason
        self.line = line
        self.byte_offset = byte_offset


class UnreadableError(Exception):
    """An event holds something that the contract cannot express."""

    def __init__(self, field: str, *, rule: str, description: str) -> None:
        super().__init__(f"{field}: {description}")
        self.field = field
        self.rule = rule
        self.description = description
