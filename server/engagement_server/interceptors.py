"""What surrounds every call: a request id, readable input, and errors with details."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message

from engagement.limits import MAX_MESSAGE_BYTES
from engagement.rules import Violation
from engagement_server.errors import (
    BatchTooLargeError,
    ChunkTooLargeError,
    FieldInvalidError,
    RequestError,
)
from engagement_server.status import Metadata, describe, describe_internal

_log = logging.getLogger(__name__)
REQUEST_ID_KEY = "x-request-id"
_MAX_REQUEST_ID_CHARACTERS = 64

# Handlers of any message types pass through here.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a message that could not be parsed, until the call can be refused properly."""

    error: RequestError


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Refuses what cannot be read and turns every error into a status with details."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Wraps the handler of a call to this service; others pass as they are."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith("/engagement."):
            return handler
        reader = _safe_deserializer(handler.request_deserializer)
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(
                _wrap_stream(handler.stream_stream), reader, handler.response_serializer
            )
        return grpc.unary_unary_rpc_method_handler(
            _wrap_unary(handler.unary_unary), reader, handler.response_serializer
        )


def _safe_deserializer(parse: Callable[[bytes], Message]) -> Callable[[bytes], Message | Unreadable]:
    """The library answers a failed parse with an INTERNAL error that tells nothing."""

    def read(data: bytes) -> Message | Unreadable:
        if len(data) > MAX_MESSAGE_BYTES:
            return Unreadable(BatchTooLargeError(count=len(data), limit=MAX_MESSAGE_BYTES, unit="bytes"))
        try:
            return parse(data)
        except DecodeError:
            text = "is not a message of this contract: truncated, malformed, or text that is not UTF-8"
            return Unreadable(FieldInvalidError([Violation("", "server.message.malformed", text)]))

    return read


def _wrap_unary(behavior: Callable[[Any, Context], Awaitable[Any]]) -> Callable[[Any, Context], Awaitable[Any]]:
    async def call(request: Any, context: Context) -> Any:  # Any: messages of every call
        try:
            if isinstance(request, Unreadable):
                raise request.error
            return await behavior(request, context)
        except Exception as error:  # noqa: BLE001: every failure gets a status
            await _abort(context, error)

    return call


def _wrap_stream(behavior: Callable[[Any, Context], Awaitable[None]]) -> Callable[[Any, Context], Awaitable[None]]:
    async def readable(requests: Any) -> Any:  # Any: an async generator over messages of every call
        async for request in requests:
            if isinstance(request, Unreadable):
                error = request.error
                if isinstance(error, BatchTooLargeError):
                    raise ChunkTooLargeError(
                        count=int(error.metadata["count"]), limit=MAX_MESSAGE_BYTES, unit="bytes"
                    )
                raise error
            yield request

    async def call(requests: Any, context: Context) -> None:  # Any: messages of every call
        try:
            await behavior(readable(requests), context)
        except Exception as error:  # noqa: BLE001: every failure gets a status
            await _abort(context, error)

    return call


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
