"""Turns messages of the stream into what a view applies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engagement_server.faults import LogUnreachableError
from engagement_server.log.encoding import decode_commit
from engagement_server.log.nats import framing
from engagement_server.log.nats.compression import decompress
from engagement_server.log.nats.framing import MessageId
from engagement_server.operations import LogEntry

if TYPE_CHECKING:
    from engagement_server.log.nats.stream import Message, NatsStream
    from engagement_server.operations import Commit


async def read_entry(stream: NatsStream, message: Message, *, known: Commit | None) -> LogEntry:
    """What a message does to the view; the commit is `known` where this process published it.

    Raises UnreadableCommitError, and LogUnreachableError where a part of a large commit cannot be had.
    """
    kind = message.data[:1]
    if kind in {framing.PART, framing.FOUNDING}:
        return LogEntry(message.sequence, message.message_id, "", 0, None)
    publisher, number = MessageId.parse(message.message_id)
    if known is not None:
        commit = known
    elif kind == framing.PARTS:
        data = await _joined(stream, framing.decode_sequences(message.data))
        commit = decode_commit(decompress(data))
    else:
        commit = decode_commit(decompress(message.data[1:]))
    return LogEntry(message.sequence, message.message_id, publisher, number, commit)


async def _joined(stream: NatsStream, sequences: Sequence[int]) -> bytes:
    """A commit out of its parts."""
    parts = []
    for sequence in sequences:
        message = await stream.read(sequence)
        if message is None:
            raise LogUnreachableError(f"the part {sequence} of a commit is not in the log any more")
        parts.append(message.data[1:])
    return b"".join(parts)
