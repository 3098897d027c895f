"""Times in requests: the same check in every call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from engagement.rules import Violation
from engagement_server.errors import FieldInvalidError

if TYPE_CHECKING:
    from google.protobuf.message import Message

_NANOSECONDS = 1_000_000_000


def require_times(message: Message, *, path: str = "") -> None:
    """Raises FieldInvalidError if a time has nanoseconds of more than a second, or less than none."""
    for field, value in message.ListFields():
        if isinstance(value, Timestamp) and not 0 <= value.nanos < _NANOSECONDS:
            text = f"nanos must be from 0 to {_NANOSECONDS - 1}, not {value.nanos}"
            raise FieldInvalidError([Violation(f"{path}{field.name}", "server.timestamp.nanos", text)])
