"""Entries of a replicated log: how each is laid out in a message of the stream, compressed, and read.

An entry is a commit, a part of a commit that is larger than a message may be, the list of such parts, or the
founding entry that a log begins with. Parts come before their list; the commit takes effect with the list.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from engagement_server.errors import LogUnreachableError, UnreadableCommitError
from engagement_server.log.encoding import decode_commit, encode_commit
from engagement_server.operations import LogEntry
from engagement_server.store.database import Identity

if TYPE_CHECKING:
    from engagement_server.log.nats.delivery import Message
    from engagement_server.log.nats.stream import NatsStream
    from engagement_server.operations import Commit

T = TypeVar("T")

FORMAT = 2
"""The number that every entry begins with; docs/decisions/0028-format-of-commits.md says when it rises."""
_PREFIX = bytes([FORMAT])
COMMIT = _PREFIX + b"C"
"""Followed by a commit, encoded and compressed."""
PART = _PREFIX + b"P"
"""Followed by a piece of such an entry."""
PART_LIST = _PREFIX + b"L"
"""Followed by the sequences of the messages with the parts of an entry, in their order."""
FOUNDING = _PREFIX + b"F"
"""Followed by the `Founding` of the log."""
_KIND_BYTES = len(COMMIT)
_UNNUMBERED = b"CPLF"
"""First bytes of the entries of format 1, which do not have the number."""
# Higher levels cost more time than the saved bytes are worth.
_LEVEL = 1
# Compressing less takes no longer than starting a thread.
_MIN_THREAD_BYTES = 64 * 1024


class Founding(NamedTuple):
    """The contents of the first entry of a log."""

    identity: Identity
    has_store: bool
    """Whether the log continues the store of a single node: then a new view needs a snapshot of it."""


class MessageId(NamedTuple):
    """The id of a commit, or of a part of one."""

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


def check_format(entry: bytes) -> None:
    """Raises UnreadableCommitError unless the entry has the format of this version."""
    found = 1 if entry[:1] in _UNNUMBERED else entry[0]
    if found != FORMAT:
        raise UnreadableCommitError(
            f"the log has format {found}, but this server has format {FORMAT}: run the version that wrote the"
            " log, or start a new log with another --log-name and empty folders"
        )


async def encode_entry(commit: Commit) -> bytes:
    """Encodes a commit as one entry, however large."""
    data = encode_commit(commit)
    if len(data) < _MIN_THREAD_BYTES:
        return COMMIT + zstd.compress(data, _LEVEL)
    return COMMIT + await asyncio.to_thread(zstd.compress, data, _LEVEL)


def split(entry: bytes, *, max_bytes: int) -> Iterator[bytes]:
    """Splits an entry that is too large for one message into parts."""
    step = max_bytes - _KIND_BYTES
    for start in range(0, len(entry), step):
        yield PART + entry[start : start + step]


def encode_part_list(sequences: Sequence[int]) -> bytes:
    """Encodes the list of the parts of an entry."""
    return PART_LIST + msgspec.msgpack.encode(sequences)


def encode_founding(founding: Founding) -> bytes:
    """Encodes the first entry of a log."""
    return FOUNDING + msgspec.msgpack.encode(founding)


def decode_founding(entry: bytes) -> Founding:
    """Decodes the first entry of a log. Raises UnreadableCommitError."""
    if not entry.startswith(FOUNDING):
        raise UnreadableCommitError("the first message of the stream is not the founding entry of a log")
    return _decode(entry, Founding)


async def read_entry(stream: NatsStream, message: Message, *, known: Commit | None) -> LogEntry:
    """Turns a message into the entry that a view applies; `known` is its commit if this process published it.

    Raises UnreadableCommitError, and LogUnreachableError if a part of a large commit is missing.
    """
    check_format(message.data)
    entry, kind = message.data, message.data[:_KIND_BYTES]
    if kind in {PART, FOUNDING}:
        return LogEntry(message.sequence, message.message_id, "", 0, None)
    publisher, number = MessageId.parse(message.message_id)
    if known is None:
        if kind == PART_LIST:
            entry = await _read_parts(stream, _decode(entry, list[int]))
        known = _decompress(entry[_KIND_BYTES:])
    return LogEntry(message.sequence, message.message_id, publisher, number, known)


def _decompress(data: bytes) -> Commit:
    try:
        return decode_commit(zstd.decompress(data))
    except zstd.ZstdError as error:
        raise UnreadableCommitError(str(error)) from error


async def _read_parts(stream: NatsStream, sequences: Sequence[int]) -> bytes:
    """Reads an entry from its parts."""
    parts = []
    for sequence in sequences:
        message = await stream.read(sequence)
        if message is None:
            raise LogUnreachableError(f"part {sequence} of a commit is no longer in the log")
        parts.append(message.data[_KIND_BYTES:])
    return b"".join(parts)


def _decode(entry: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(entry[_KIND_BYTES:], type=kind)
    except msgspec.MsgspecError as error:
        raise UnreadableCommitError(str(error)) from error
