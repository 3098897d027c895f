"""What surrounds every call: a request id, readable input, and errors with details."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message

from engagement.limits import MAX_MESSAGE_BYTES
from engagement.rules import Violation
from engagement_server.api.grpc.status import Metadata, describe, describe_internal
from engagement_server.errors import (
    BatchTooLargeError,
    ChunkTooLargeError,
    DrainingError,
    FieldInvalidError,
    RequestError,
)

_log = logging.getLogger(__name__)
REQUEST_ID_KEY = "x-request-id"
VIEW_AGE_KEY = "engagement-view-age-ms"
_MAX_REQUEST_ID_CHARACTERS = 64
# Compressing a smaller response costs more than it saves.
_MIN_COMPRESSED_BYTES = 1024
_FAREWELL_SECONDS = 0.2

# Any: handlers of all message types pass through here, and the stubs describe synchronous ones only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Behavior: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
ViewTime: TypeAlias = Callable[[str], int | None]
"""Until when answers about an account are complete, in epoch milliseconds; None where that is now."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a message that could not be parsed, until the call can be refused properly."""

    error: RequestError


class RunningCalls:
    """The calls that run: each from its first message until its status is sent."""

    def __init__(self) -> None:
        self._contexts: set[Context] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_draining = False

    def begin(self, context: Context) -> None:
        """Counts a call, once, until it is done. Raises DrainingError."""
        if context in self._contexts:
            return
        if self._is_draining:
            raise DrainingError
        self._contexts.add(context)
        self._idle.clear()
        context.add_done_callback(self._end)  # type: ignore[arg-type]  # any function is one

    async def drain(self) -> None:
        """Refuses new calls, and waits until the running ones have their answers."""
        self._is_draining = True
        if self._contexts:
            await self._idle.wait()
            # Who just got an answer calls again, and is to hear why that is refused.
            await asyncio.sleep(_FAREWELL_SECONDS)

    def _end(self, context: Context) -> None:
        self._contexts.remove(context)
        if not self._contexts:
            self._idle.set()


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Refuses what cannot be read and turns every error into a status with details."""

    def __init__(self, *, view_time_ms: ViewTime) -> None:
        self.running = RunningCalls()
        self._view_time_ms = view_time_ms
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Wraps the handlers of this contract's methods, each once; others pass as they are."""
        method = handler_call_details.method
        if (wrapped := self._wrapped.get(method)) is not None:
            return wrapped
        handler = await continuation(handler_call_details)
        if handler is not None and method.startswith("/engagement."):
            handler = self._wrapped[method] = self._wrap(handler)
        return handler

    def _wrap(self, handler: Handler) -> Handler:
        parse = _safe_deserializer(handler.request_deserializer)
        stream: Any = handler.stream_stream
        if stream is not None:
            call = _wrap_stream(stream, running=self.running)
            return grpc.stream_stream_rpc_method_handler(call, parse, handler.response_serializer)
        source: Any = handler.unary_stream
        if source is not None:
            call = _wrap_source(self._with_age(source), running=self.running)
            return grpc.unary_stream_rpc_method_handler(call, parse, _serialized)
        unary: Any = handler.unary_unary
        call = _wrap_unary(unary, running=self.running, age_of=self._age)
        return grpc.unary_unary_rpc_method_handler(call, parse, handler.response_serializer)

    def _with_age(self, behavior: Behavior) -> Behavior:
        """Says before the first message of a stream how old it may be."""

        async def call(request: Any, context: Any) -> Any:
            age = self._age(request)
            if age is not None:
                context = _AgedContext(context, age)
            return await behavior(request, context)

        return call

    def _age(self, request: Any) -> Metadata | None:
        account_id: str | None = getattr(request, "account_id", None)
        time_ms = None if account_id is None else self._view_time_ms(account_id)
        if time_ms is None:
            return None
        return ((VIEW_AGE_KEY, str(max(0, time.time_ns() // 1_000_000 - time_ms))),)


class _AgedContext:
    """The context of a stream whose first message says how old it may be."""

    def __init__(self, context: Context, age: Metadata) -> None:
        self._context = context
        self._age: Metadata | None = age

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def write(self, message: Any) -> None:
        """Sends a message."""
        if self._age is not None:
            age, self._age = self._age, None
            await self._context.send_initial_metadata(age)
        await self._context.write(message)


def _safe_deserializer(parse: Callable[[bytes], Message] | None) -> Callable[[bytes], Message | Unreadable]:
    """The library answers a failed parse with an INTERNAL error that tells nothing."""
    assert parse is not None, "generated handlers have one"

    def read(data: bytes) -> Message | Unreadable:
        if len(data) > MAX_MESSAGE_BYTES:
            return Unreadable(BatchTooLargeError(count=len(data), limit=MAX_MESSAGE_BYTES, unit="bytes"))
        try:
            return parse(data)
        except DecodeError:
            text = "is not a message of this contract: truncated, malformed, or text that is not UTF-8"
            return Unreadable(FieldInvalidError([Violation("", "server.message.malformed", text)]))

    return read


def _wrap_unary(
    behavior: Behavior, *, running: RunningCalls, age_of: Callable[[Any], Metadata | None]
) -> Any:
    async def call(request: Any, context: Context) -> Any:
        try:
            running.begin(context)
            if isinstance(request, Unreadable):
                raise request.error  # noqa: TRY301  # as any other refusal
            response: Message = await behavior(request, context)
            # Only with an answer: a refusal that has it could not be repeated by the client's library.
            if (age := age_of(request)) is not None:
                await context.send_initial_metadata(age)
        except Exception as error:  # every failure gets a status
            await _abort(context, error)
        if response.ByteSize() < _MIN_COMPRESSED_BYTES:
            context.disable_next_message_compression()
        return response

    return call


def _wrap_source(behavior: Behavior, *, running: RunningCalls) -> Any:
    async def call(request: Any, context: Context) -> None:
        try:
            running.begin(context)
            if isinstance(request, Unreadable):
                raise request.error  # noqa: TRY301  # as any other refusal
            await behavior(request, context)
        except grpc.aio.InternalError:
            _log_gone(context)
        except Exception as error:  # every failure gets a status
            await _abort(context, error)

    return call


def _serialized(response: Message | bytes) -> bytes:
    """A response as bytes, which one that is sent to many is already."""
    return response if isinstance(response, bytes) else response.SerializeToString()


def _wrap_stream(behavior: Behavior, *, running: RunningCalls) -> Any:
    async def call(requests: Any, context: Context) -> None:
        try:
            await behavior(_readable(requests, context, running=running), context)
        except grpc.aio.InternalError:
            _log_gone(context)
        except Exception as error:  # every failure gets a status
            await _abort(context, error)

    return call


async def _readable(requests: Any, context: Context, *, running: RunningCalls) -> Any:
    async for request in requests:
        running.begin(context)
        if not isinstance(request, Unreadable):
            yield request
            continue
        if isinstance(request.error, BatchTooLargeError):
            size_bytes = int(request.error.metadata["count"])
            raise ChunkTooLargeError(count=size_bytes, limit=MAX_MESSAGE_BYTES, unit="bytes")
        raise request.error


def _log_gone(context: Context) -> None:
    """The library could not send: the client has gone away, which needs no status and no alarm."""
    _log.info("the client of request %s went away", _request_id(context))


async def _abort(context: Context, error: Exception) -> None:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    request_id = _request_id(context)
    trailing: Metadata
    if isinstance(error, RequestError):
        code, message, trailing = describe(error)
    else:
        _log.error("request %s failed", request_id, exc_info=error)
        code, message, trailing = describe_internal(request_id)
    await context.abort(code, message, (*trailing, (REQUEST_ID_KEY, request_id)))


def _request_id(context: Context) -> str:
    """The caller's id of the request, or a new one."""
    sent = dict(context.invocation_metadata() or ()).get(REQUEST_ID_KEY)
    if isinstance(sent, str) and 0 < len(sent) <= _MAX_REQUEST_ID_CHARACTERS:
        return sent
    return secrets.token_hex(8)
