"""What a message of a replicated log is: a commit, a part of a large one, or the log's identity.

The first byte tells. Of a commit that is larger than a message may be, the parts stand before the message
that names them; the commit takes effect with that one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from engagement_server.faults import UnreadableCommitError
from engagement_server.store.database import Identity

T = TypeVar("T")

COMMIT = b"C"
"""Then a commit, encoded and compressed."""
PART = b"P"
"""Then a piece of such a commit."""
PARTS = b"L"
"""Then the sequences of the messages that hold the parts of a commit, in their order."""
FOUNDING = b"F"
"""Then what the log begins with."""


class Founding(NamedTuple):
    """The first message of a log."""

    identity: Identity
    has_store: bool
    """Whether the log goes on from a store that one node had: then a new view needs a snapshot of it."""


class MessageId(NamedTuple):
    """Names a commit, or a part of one."""

    publisher: str
    number: int

    @classmethod
    def parse(cls, text: str) -> MessageId:
        """Reads the id of a commit. Raises UnreadableCommitError."""
        publisher, _, number = text.partition(".")
        if not number.isdecimal():
            raise UnreadableCommitError(f"a commit has no number in its id {text!r}")
        return cls(publisher, int(number))

    def __str__(self) -> str:
        return f"{self.publisher}.{self.number}"

    def part(self, index: int) -> str:
        """The id of a part."""
        return f"{self}.{index}"


def split(data: bytes, *, max_bytes: int) -> Iterator[bytes]:
    """The parts of a commit that is too large for one message."""
    for start in range(0, len(data), max_bytes - 1):
        yield PART + data[start : start + max_bytes - 1]


def encode_sequences(sequences: Sequence[int]) -> bytes:
    """The message that names the parts of a commit."""
    return PARTS + msgspec.msgpack.encode(sequences)


def decode_sequences(data: bytes) -> list[int]:
    """The sequences of the parts. Raises UnreadableCommitError."""
    return _decode(data, list[int])


def encode_founding(founding: Founding) -> bytes:
    """The first message of a log."""
    return FOUNDING + msgspec.msgpack.encode(founding)


def decode_founding(data: bytes) -> Founding:
    """What the log begins with. Raises UnreadableCommitError."""
    if data[:1] != FOUNDING:
        raise UnreadableCommitError("the stream does not begin as a log of this server does")
    return _decode(data, Founding)


def _decode(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(data[1:], type=kind)
    except msgspec.MsgspecError as error:
        raise UnreadableCommitError(str(error)) from error
