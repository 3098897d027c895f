"""Entries of a replicated log: how each is laid out in a message of the stream, compressed, and read.

An entry is a commit, a part of a commit that is larger than a message may be, the list of such parts, the
founding entry that a log begins with, a vote on the digest of views, or a list of messages to skip. Parts
come before their list; the commit takes effect with the list.
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

from engagement_server.errors import DamagedMessageError, StaleViewError, UnreadableCommitError
from engagement_server.log.encoding import decode_commit, encode_commit
from engagement_server.log.nats.marks import PREFIX, checksum, is_foreign, require_intact
from engagement_server.log_entries import DigestVote, LogEntry, SkipList
from engagement_server.store.database import Identity

if TYPE_CHECKING:
    from engagement_server.log.nats.delivery import Message
    from engagement_server.log.nats.stream import NatsStream
    from engagement_server.operations import Commit

T = TypeVar("T")

COMMIT = PREFIX + b"C"
"""Followed by a commit, encoded and compressed."""
PART = PREFIX + b"P"
"""Followed by a piece of such an entry."""
PART_LIST = PREFIX + b"L"
"""Followed by the sequences of the messages with the parts of an entry, in their order."""
FOUNDING = PREFIX + b"F"
"""Followed by the `Founding` of the log."""
DIGEST = PREFIX + b"D"
"""Followed by a `DigestVote`."""
SKIPS = PREFIX + b"S"
"""Followed by a `SkipList`; on a subject of its own, where nodes find the latest list before they read."""
_KIND_BYTES = len(COMMIT)
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


def encode_vote(vote: DigestVote) -> bytes:
    """Encodes a vote on the digest of views."""
    return DIGEST + msgspec.msgpack.encode(vote)


def encode_skips(skips: SkipList) -> bytes:
    """Encodes the list of messages to skip."""
    return SKIPS + msgspec.msgpack.encode(skips)


def decode_skips(message: Message) -> SkipList:
    """Decodes the list of messages to skip. Raises DamagedMessageError and UnreadableCommitError."""
    require_intact(message)
    return _decode(message.data, SkipList)


def encode_founding(founding: Founding) -> bytes:
    """Encodes the first entry of a log."""
    return FOUNDING + msgspec.msgpack.encode(founding)


def decode_founding(message: Message) -> Founding:
    """Decodes the first entry of a log. Raises UnreadableCommitError and DamagedMessageError."""
    if is_foreign(message):
        raise UnreadableCommitError(
            "the first message of the stream is not of a log, or of format 2 or older"
        )
    require_intact(message)
    if not message.data.startswith(FOUNDING):
        raise UnreadableCommitError("the first message of the stream is not the founding entry of a log")
    return _decode(message.data, Founding)


def skipped_entry(sequence: int, message_id: str = "") -> LogEntry:
    """The entry for a message that all views skip; it may be missing."""
    return LogEntry(sequence, message_id, "", 0, None, is_skipped=True)


async def read_entry(stream: NatsStream, message: Message, *, known: Commit | None) -> LogEntry:
    """Turns a message into the entry that a view applies; `known` is its commit if this process published it.

    Raises UnreadableCommitError, DamagedMessageError if it is damaged or a part of it is missing or damaged,
    and StaleViewError if a part has aged out.
    """
    sum_ = checksum(message.message_id, message.data)
    entry = LogEntry(message.sequence, message.message_id, "", 0, None, sum_)
    if is_foreign(message):
        return entry
    require_intact(message)
    data, kind = message.data, message.data[:_KIND_BYTES]
    if kind in {PART, FOUNDING}:
        return entry
    if kind == DIGEST:
        return entry._replace(note=_decode(data, DigestVote))
    if kind == SKIPS:
        return entry._replace(note=_decode(data, SkipList))
    publisher, number = MessageId.parse(message.message_id)
    if known is None:
        if kind == PART_LIST:
            data = await _read_parts(stream, message.sequence, _decode(data, list[int]))
        known = _decompress(data[_KIND_BYTES:])
    return entry._replace(publisher=publisher, number=number, commit=known)


def _decompress(data: bytes) -> Commit:
    try:
        return decode_commit(zstd.decompress(data))
    except zstd.ZstdError as error:
        raise UnreadableCommitError(str(error)) from error


async def _read_parts(stream: NatsStream, sequence: int, parts: Sequence[int]) -> bytes:
    """Reads an entry from its parts."""
    data = []
    for part in parts:
        message = await stream.read_anywhere(part)
        if message is None:
            await require_kept(stream, part)
            raise DamagedMessageError(sequence, f"has a part that is missing, message {part}")
        try:
            require_intact(message)
        except DamagedMessageError as error:  # of a message before, which views may skip
            raise DamagedMessageError(sequence, f"has a part that is damaged, message {part}") from error
        data.append(message.data[_KIND_BYTES:])
    return b"".join(data)


async def require_kept(stream: NatsStream, sequence: int) -> None:
    """Raises StaleViewError if the log has dropped a message because of its age."""
    first = (await stream.state()).first_sequence
    if first > sequence:
        raise StaleViewError(f"the log begins with message {first}, but this view needs {sequence}")


def _decode(entry: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(entry[_KIND_BYTES:], type=kind)
    except msgspec.MsgspecError as error:
        raise UnreadableCommitError(str(error)) from error
