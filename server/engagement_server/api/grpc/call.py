"""A gRPC call as handlers see it, and the set of those that run."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import grpc

from engagement_server.api.grpc.reset import reset_call
from engagement_server.api.grpc.status import describe, describe_internal
from engagement_server.clock import now_ms
from engagement_server.errors import DrainingError, RequestError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from engagement_server.api.grpc.status import Metadata

_log = logging.getLogger(__name__)
REQUEST_ID_KEY = "x-request-id"
VIEW_AGE_KEY = "engagement-view-age-ms"
_MAX_REQUEST_ID_CHARACTERS = 64
# Compressing a smaller message costs more than it saves.
_MIN_COMPRESSED_BYTES = 1024
_FAREWELL_SECONDS = 0.2
SETTLE_SECONDS = 2.0
"""How long reads that began before an erasure may delay it; then they are reset."""

# Any: calls of all message types pass through here.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
ViewTime: TypeAlias = Callable[[str], int | None]
"""Until when answers about an account are complete, in epoch milliseconds; None if that is now."""


class GrpcCall:
    """A `Call` over gRPC."""

    def __init__(self, context: Context, *, account_id: str = "", age: Metadata | None = None) -> None:
        """`age` tells how old answers may be; it is sent before the first message."""
        self.account_id = account_id
        self._context = context
        self._age = age
        self._task = asyncio.current_task()
        self._is_reset = False

    @property
    def metadata(self) -> Mapping[str, str]:
        """See `Call.metadata`."""
        sent = self._context.invocation_metadata() or ()
        return {key: value for key, value in sent if isinstance(value, str)}

    @property
    def seconds_left(self) -> float | None:
        """See `Call.seconds_left`."""
        return self._context.time_remaining()

    async def send(self, message: Message | bytes) -> None:
        """See `Call.send`."""
        await self._send_age()
        if isinstance(message, bytes) or message.ByteSize() < _MIN_COMPRESSED_BYTES:
            self._context.disable_next_message_compression()
        await self._context.write(message)

    def reset(self) -> None:
        """See `Call.reset`."""
        if self._is_reset or self._task is None:
            return
        self._is_reset = True
        try:
            reset_call(self._context, message="the server has ended the call; go on with a new one")
        except Exception:
            _log.exception("cannot reset a call; its client may still receive a message")
        else:
            self._task.cancel()  # before the library logs that a write has failed

    async def answer(self, response: Message) -> Message:
        """The response of a unary call, ready to be returned."""
        # Only with an answer: a client's library does not retry a refusal that comes after metadata.
        await self._send_age()
        if response.ByteSize() < _MIN_COMPRESSED_BYTES:
            self._context.disable_next_message_compression()
        return response

    async def end(self, error: Exception) -> NoReturn:
        """Ends the call with the status of an error."""
        if isinstance(error, grpc.aio.AbortError):
            raise error
        request_id = self._request_id()
        if isinstance(error, RequestError):
            code, message, trailing = describe(error)
        else:
            _log.error("request %s failed", request_id, exc_info=error)
            code, message, trailing = describe_internal(request_id)
        await self._context.abort(code, message, (*trailing, (REQUEST_ID_KEY, request_id)))

    def lose_client(self) -> None:
        """Notes that the client has gone away, which needs no status and no alarm."""
        _log.info("the client of request %s went away", self._request_id())

    async def _send_age(self) -> None:
        if self._age is not None:
            age, self._age = self._age, None
            await self._context.send_initial_metadata(age)

    def _request_id(self) -> str:
        """The caller's id of the request, or a new one if it sent none that can be sent back."""
        sent = self.metadata.get(REQUEST_ID_KEY, "")
        # With others the library replaces the status.
        is_sendable = sent.isascii() and sent.isprintable() and sent == sent.strip()
        return sent if is_sendable and 0 < len(sent) <= _MAX_REQUEST_ID_CHARACTERS else secrets.token_hex(8)


class RunningCalls:
    """The calls that run: each from its first message until its status is sent."""

    def __init__(self, *, view_time_ms: ViewTime) -> None:
        self._view_time_ms = view_time_ms
        self._contexts: set[Context] = set()
        self._reads: dict[Context, GrpcCall] = {}
        self._stale: dict[Context, asyncio.Future[None]] = {}
        """Reads that began before an erasure of their account, each with a future of its end."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_draining = False

    def begin(self, context: Context, request: object, *, is_read: bool = False) -> GrpcCall:
        """Counts a call from its request on; reads are tracked as well. Raises DrainingError."""
        self.count(context)
        account_id: str | None = getattr(request, "account_id", None)
        if account_id is None:
            return GrpcCall(context)
        call = GrpcCall(context, account_id=account_id, age=self._age(account_id))
        if is_read:
            self._reads[context] = call
        return call

    def count(self, context: Context) -> None:
        """Counts a call, once, until it is done. Raises DrainingError."""
        if context in self._contexts:
            return
        if self._is_draining:
            raise DrainingError
        self._contexts.add(context)
        self._idle.clear()
        context.add_done_callback(self._end)  # type: ignore[arg-type]  # any function is one

    def note_erasures(self, account_ids: Collection[str]) -> None:
        """Notes erasures in these accounts: running reads may hold events that were erased."""
        for context, call in self._reads.items():
            if call.account_id in account_ids and context not in self._stale:
                self._stale[context] = asyncio.get_running_loop().create_future()

    async def settle(self) -> None:
        """Returns once no read that began before an erasure runs any more; resets slow ones."""
        stale = dict(self._stale)
        if not stale:
            return
        await asyncio.wait(stale.values(), timeout=SETTLE_SECONDS)
        for context in stale.keys() & self._stale.keys():
            self._reads[context].reset()

    async def drain(self) -> None:
        """Refuses new calls, and waits until the running ones have their answers."""
        self._is_draining = True
        if self._contexts:
            await self._idle.wait()
            # Callers that just got an answer call again, and should hear why that is refused.
            await asyncio.sleep(_FAREWELL_SECONDS)

    def _age(self, account_id: str) -> Metadata | None:
        time_ms = self._view_time_ms(account_id)
        if time_ms is None:
            return None
        return ((VIEW_AGE_KEY, str(max(0, now_ms() - time_ms))),)

    def _end(self, context: Context) -> None:
        self._contexts.remove(context)
        self._reads.pop(context, None)
        stale = self._stale.pop(context, None)
        if stale is not None:
            stale.set_result(None)
        if not self._contexts:
            self._idle.set()
