"""Whether a log is still the one that a view was made from, and what is done where it is not."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from engagement_server.clock import now_ms
from engagement_server.faults import LogReplacedError, LogUnreachableError, StaleViewError
from engagement_server.log.encoding import encode_commit
from engagement_server.log.nats import framing
from engagement_server.log.nats.compression import compress
from engagement_server.log.nats.framing import MessageId
from engagement_server.log.nats.stream import PUBLISH_SECONDS
from engagement_server.operations import ChangeEpoch, Commit

if TYPE_CHECKING:
    from engagement_server.log.nats.stream import NatsStream, StreamState
    from engagement_server.store.log_position import LogPosition

PATIENCE_SECONDS = 10.0
"""How long a log may seem too short: a leader that was just elected may not know yet how far it reaches."""
_RETRY_SECONDS = 0.5


async def check_position(stream: NatsStream, position: LogPosition) -> None:
    """Makes sure that the log holds what a view has applied.

    Raises LogReplacedError, StaleViewError and LogUnreachableError.
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
    message = await stream.read(position.sequence)
    if message is not None:
        if message.message_id != position.message_id:
            raise LogReplacedError(
                f"message {position.sequence} of the log is not the one that this view has applied"
            )
    elif state.last_sequence != position.sequence:
        raise StaleViewError(
            f"the log begins with message {state.first_sequence}, but this view ends with {position.sequence}"
        )


async def require_quorum(stream: NatsStream) -> StreamState:
    """How far the log reaches. Raises LogUnreachableError where a server that is cut off would tell."""
    state = await stream.state()
    if not state.has_quorum:
        raise LogUnreachableError("the log has no quorum")
    return state


async def goes_on_from(stream: NatsStream, position: LogPosition) -> bool:
    """The same as a question about now. Raises LogUnreachableError."""
    message = await stream.read(position.sequence)
    if message is None:
        return (await require_quorum(stream)).last_sequence == position.sequence
    return message.message_id == position.message_id


async def declare_replaced(stream: NatsStream, *, epoch: int) -> None:
    """Gives the log another epoch, unless that was done, so that no cursor of what is lost is believed."""
    commit = Commit([ChangeEpoch(epoch, secrets.randbits(32))], now_ms())
    await stream.publish(
        str(MessageId(secrets.token_hex(8), 1)),
        framing.COMMIT + await compress(encode_commit(commit)),
        timeout_seconds=PUBLISH_SECONDS,
    )
