"""The mark of a message: tells our messages from foreign ones, and intact ones from damaged ones.

The mark is a header with the format of the log and a checksum. The data begins with a mark of its own, so
that no single damaged byte makes a message of ours look like a foreign one.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from engagement_server.errors import DamagedMessageError, UnreadableCommitError
from engagement_server.operations import RULES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engagement_server.log.nats.delivery import Message

HEADER = "Engagement-Entry"
"""Header of our messages: the format and the checksum."""
FORMAT = 6
"""The number of the format; docs/decisions/0028-format-of-commits.md says when it rises."""
MAGIC = b"\xeaL"
"""The first bytes of our messages, followed by a byte with the format and one with the rules for state."""
PREFIX = MAGIC + bytes([FORMAT, RULES])
_FORMAT_AT = len(MAGIC)
_RULES_AT = _FORMAT_AT + 1
_FORMATS = 256
_OLD_FORMATS = {b"C": "1", b"P": "1", b"L": "1", b"F": "1", b"\x02": "2"}
"""Formats from before there were marks, by the first byte of an entry."""


def checksum(message_id: str, data: bytes) -> int:
    """The checksum of a message: 32 bits, which find every damage of up to four bytes in a row."""
    return zlib.crc32(data, zlib.crc32(message_id.encode()))


def mark(message_id: str, data: bytes) -> str:
    """The mark for the header of a new message."""
    return f"{data[_FORMAT_AT]}-{checksum(message_id, data):08x}"


def is_foreign(message: Message) -> bool:
    """Whether another program has written the message."""
    return not message.mark and not message.data.startswith(MAGIC)


def is_intact(message: Message) -> bool:
    """Whether a message is ours, of this format, and as it was written."""
    return (
        message.data.startswith(PREFIX[:_RULES_AT]) and mark(message.message_id, message.data) == message.mark
    )


def check_format(message: Message) -> None:
    """Raises UnreadableCommitError if a message of ours has another format."""
    found = message.mark.partition("-")[0]
    is_number = found.isdecimal() and int(found) < _FORMATS and int(found) != FORMAT
    if is_number and message.data.startswith(MAGIC + bytes([int(found)])):
        raise _other_format(found)


def check_old_format(message: Message) -> None:
    """Raises UnreadableCommitError if a message seems to be from before there were marks."""
    if is_foreign(message) and message.message_id and message.data[:1] in _OLD_FORMATS:
        raise _other_format(_OLD_FORMATS[message.data[:1]])


def require_intact(message: Message) -> None:
    """Raises DamagedMessageError, and UnreadableCommitError if the message has another format or other rules.

    The message is not foreign.
    """
    check_format(message)
    if not is_intact(message):
        raise DamagedMessageError(message.sequence, "is damaged: its checksum is wrong")
    if not message.data.startswith(PREFIX):
        raise UnreadableCommitError(
            f"message {message.sequence} is to be applied by rules {message.data[_RULES_AT]}, but this server"
            f" has rules {RULES}: run the version that wrote it on all nodes"
        )


def _other_format(found: str) -> UnreadableCommitError:
    return UnreadableCommitError(
        f"the log has format {found}, but this server has format {FORMAT}: run the version that wrote the"
        " log, or start a new log with another --log-name and empty folders"
    )


def mark_of(headers: Mapping[str, str] | None) -> str:
    """The mark in the headers of a message; empty if there is none."""
    return (headers or {}).get(HEADER, "")
