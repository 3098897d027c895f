"""A gRPC call as handlers see it."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import grpc

from engagement_server.access.identities import NOBODY_ASKED
from engagement_server.api.grpc.admission import ACCOUNT_KEY, Admitted
from engagement_server.api.grpc.call_lines import REQUEST_ID_KEY, caller_request_id, current_facts
from engagement_server.api.grpc.reset import reset_call
from engagement_server.api.grpc.status import describe, describe_internal
from engagement_server.errors import RequestError, TokenInvalidError
from engagement_server.governor.turns import Caller
from engagement_server.streams.closing import Cause
from engagement_server.telemetry.correlation import correlation

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from engagement_server.access.identities import Identity
    from engagement_server.api.grpc.status import Metadata
    from engagement_server.metrics.measures import Count

_log = logging.getLogger(__name__)
# Compressing a smaller message takes both sides longer than finding and sending it.
_MIN_COMPRESSED_BYTES = 64 * 1024
UNREAD_SECONDS = 600.0
"""How long the client of a stream may take for one message; then the stream is reset."""


# Any: calls of all message types pass through here.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class GrpcCall:
    """A `Call` over gRPC."""

    def __init__(
        self,
        context: Context,
        *,
        account_id: str = "",
        age: Metadata | None = None,
        has_more_messages: bool = False,
    ) -> None:
        """`age` tells how old answers may be; it is sent before the first message.

        `has_more_messages`: the client may send others after the first one.
        """
        self.facts = current_facts()
        """What the line of the call says, shared with others for the same call."""
        if account_id:
            self.facts.account_id = account_id
        self._context = context
        self._age = age
        self._task = asyncio.current_task()
        self._is_reset = False
        self._close: Callable[[Cause], None] | None = None
        self._cause: Cause | None = None
        """Why the stream was asked to end."""
        self._has_more_messages = has_more_messages
        self._is_sending = False
        self._caller: Caller | None = None
        self.admitted = Admitted(NOBODY_ASKED)
        self.sent: Count | None = None
        """Counts the messages of a stream."""

    @property
    def account_id(self) -> str:
        """See `Call.account_id`."""
        return self.facts.account_id

    @account_id.setter
    def account_id(self, account_id: str) -> None:
        self.admitted.require_account(account_id)
        self.facts.account_id = account_id

    @property
    def identity(self) -> Identity:
        """See `Call.identity`."""
        return self.admitted.identity

    @property
    def caller(self) -> Caller:
        """See `Call.caller`."""
        if self._caller is None:
            self._caller = caller_of(self._context, self.account_id)
        return self._caller

    @property
    def metadata(self) -> Mapping[str, str]:
        """See `Call.metadata`."""
        sent = self._context.invocation_metadata() or ()
        return {key: value for key, value in sent if isinstance(value, str)}

    @property
    def seconds_left(self) -> float | None:
        """See `Call.seconds_left`."""
        return self._context.time_remaining()

    @property
    def is_busy(self) -> bool:
        """Whether the stream may hold a message: one that its client leaves unread, or a part of the next."""
        return self._is_sending or self._has_more_messages

    async def send(self, message: Message | bytes) -> None:
        """See `Call.send`."""
        unread = asyncio.get_running_loop().call_later(UNREAD_SECONDS, self.reset)
        self._is_sending = True
        try:
            await self._send_age()
            if isinstance(message, bytes) or message.ByteSize() < _MIN_COMPRESSED_BYTES:
                self._context.disable_next_message_compression()
            if self.sent is not None:
                self.sent.value += (
                    1  # before: its client may have it, and cancel, while the library still writes
                )
            self.facts.sent += 1
            await self._context.write(message)
        finally:
            self._is_sending = False
            unread.cancel()

    @property
    def peer(self) -> str:
        """The address that the call comes from, as the library writes it."""
        return self._context.peer()

    @property
    def request_id(self) -> str:
        """The id of the request: the caller's, or else one that is made for it."""
        ids = correlation.get()
        if not ids.request_id:
            ids = ids._replace(request_id=caller_request_id(self._context) or secrets.token_hex(8))
            correlation.set(ids)
        return ids.request_id

    @property
    def named_account(self) -> str:
        """The account that the metadata names, or else the request; anything may stand there."""
        return self.metadata.get(ACCOUNT_KEY, self.account_id)

    def note_events(self, count: int) -> None:
        """See `Call.note_events`."""
        self.facts.events += count

    def on_close(self, close: Callable[[Cause], None]) -> None:
        """See `Call.on_close`."""
        self._close = close
        if self._cause is not None:
            close(self._cause)

    def close(self, cause: Cause) -> None:
        """Ends the stream as it has registered, or will register. Lost rights come before all else."""
        if self._cause in {cause, Cause.UNAUTHENTICATED}:
            return
        self._cause = cause
        if self._close is not None:
            self._close(cause)

    def yield_to_others(self) -> None:
        """Ends a stream that takes what others need."""
        self.close(Cause.OVERLOADED)

    def reset(self) -> None:
        """See `Call.reset`."""
        if not self._is_reset:
            self._is_reset = True
            end_call(self._context, self._task)

    async def prepare(self, *, size_bytes: int) -> None:
        """Prepares the call for its only response, which takes that many bytes."""
        # Only with an answer: a client's library does not retry a refusal that comes after metadata.
        await self._send_age()
        if size_bytes < _MIN_COMPRESSED_BYTES:
            self._context.disable_next_message_compression()

    async def end(self, error: Exception) -> NoReturn:
        """Ends the call with the status of an error."""
        if isinstance(error, grpc.aio.AbortError):
            raise error
        request_id = self.request_id
        if isinstance(error, RequestError):
            self.facts.reason = error.reason
            self.facts.cause = error.cause if isinstance(error, TokenInvalidError) else ""
            code, message, trailing = describe(error)
        else:
            self.facts.reason = "INTERNAL"
            _log.error("a call failed unexpectedly", exc_info=error)
            code, message, trailing = describe_internal(request_id)
        # The library keeps what is raised in a cycle; the frames of the call hold its messages.
        error.__traceback__ = error.__cause__ = error.__context__ = None
        await self._context.abort(code, message, (*trailing, (REQUEST_ID_KEY, request_id)))

    def lose_client(self) -> None:
        """Notes that the client has gone away, which needs no status and no alarm."""
        _log.debug("the client went away")

    async def _send_age(self) -> None:
        if self._age is not None:
            age, self._age = self._age, None
            await self._context.send_initial_metadata(age)


def caller_of(context: Context, account_id: str) -> Caller:
    """Whose turn a call takes."""
    return Caller(context.peer(), account_id)


def end_call(context: Context, task: asyncio.Task[Any] | None) -> None:
    """Resets a call and cancels the task that handles it."""
    if task is None:
        return
    try:
        reset_call(context, message="the server has ended the call; go on with a new one")
    except Exception:
        _log.exception("cannot reset a call; its client may still receive a message")
    else:
        task.cancel()  # before the library logs that a write has failed
