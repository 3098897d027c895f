"""Detects a log that has diverged from a view, and marks it with a new epoch."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from engagement_server.clock import now_ms
from engagement_server.errors import LogReplacedError, LogUnreachableError, StaleViewError
from engagement_server.log.nats.entries import MessageId, encode_entry
from engagement_server.log.nats.marks import check_format
from engagement_server.log.nats.stream import PUBLISH_SECONDS
from engagement_server.operations import ChangeEpoch, Commit

if TYPE_CHECKING:
    from engagement_server.log.nats.stream import NatsStream, StreamState
    from engagement_server.store.log_position import LogPosition

PATIENCE_SECONDS = 10.0
"""How long a log may seem too short: a new leader may not know its length yet."""
_RETRY_SECONDS = 0.5


async def check_position(stream: NatsStream, position: LogPosition) -> None:
    """Checks that the log contains the last entry that a view has applied.

    Raises LogReplacedError, StaleViewError, UnreadableCommitError and LogUnreachableError.
    """
    if position.sequence == 0:
        return
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while (state := await require_quorum(stream)).last_sequence < position.sequence:
        if asyncio.get_running_loop().time() > deadline:
            raise LogReplacedError(
                f"the log ends with message {state.last_sequence}, but this view has applied"
                f" {position.sequence}"
            )
        await asyncio.sleep(_RETRY_SECONDS)
    message = await stream.read_anywhere(position.sequence)
    if message is not None:
        # A message that was missing when the view skipped it had no id.
        if position.message_id and message.message_id != position.message_id:
            raise LogReplacedError(
                f"message {position.sequence} of the log is not the one that this view has applied"
            )
        check_format(message)
    elif state.first_sequence > position.sequence != state.last_sequence:
        raise StaleViewError(
            f"the log begins with message {state.first_sequence}, but this view ends with {position.sequence}"
        )


async def require_quorum(stream: NatsStream) -> StreamState:
    """Returns the extent of the log. Raises LogUnreachableError if the server that answers has no quorum."""
    state = await stream.state()
    if not state.has_quorum:
        raise LogUnreachableError("the log has no quorum")
    return state


async def continues_from(stream: NatsStream, position: LogPosition) -> bool:
    """Whether the log contains a position now, without patience. Raises LogUnreachableError."""
    message = await stream.read_anywhere(position.sequence)
    if message is None:
        state = await require_quorum(stream)
        return state.first_sequence <= position.sequence <= state.last_sequence
    return message.message_id == position.message_id


async def change_epoch(stream: NatsStream, *, epoch: int) -> None:
    """Gives the log a new epoch if it still has this one, which invalidates all earlier cursors."""
    commit = Commit([ChangeEpoch(epoch, secrets.randbits(32))], now_ms())
    await stream.publish(
        str(MessageId(secrets.token_hex(8), 1)), await encode_entry(commit), timeout_seconds=PUBLISH_SECONDS
    )
