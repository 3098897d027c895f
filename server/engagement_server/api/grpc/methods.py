"""Binds handlers to the methods of a service: reads requests, and turns every error into a status."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import grpc
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message_factory import GetMessageClass

from engagement.limits import MAX_MESSAGE_BYTES
from engagement.rules import Violation
from engagement_server.api.grpc.call import GrpcCall
from engagement_server.api.grpc.call_lines import CallLines, current_facts
from engagement_server.api.grpc.counting import GONE, MethodCounts
from engagement_server.api.grpc.tracing import MethodTracing
from engagement_server.errors import BatchTooLargeError, ChunkTooLargeError, FieldInvalidError

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
    from google.protobuf.message import Message

    from engagement_server.api.grpc.call import Context
    from engagement_server.api.grpc.parsing import Parse
    from engagement_server.api.grpc.running import RunningCalls
    from engagement_server.api.observers import Observers

# Any: handlers of all message types pass through here.
Handler: TypeAlias = Callable[[Any, GrpcCall], Awaitable[Any]]
Behavior: TypeAlias = Callable[[Any, Any], Awaitable[Any]]

SILENT_SECONDS = 600.0
"""How long a further message of a stream may take to arrive; then the stream is closed."""


def service_handler(
    service: ServiceDescriptor,
    handlers: object,
    *,
    running: RunningCalls,
    observers: Observers,
) -> grpc.GenericRpcHandler:
    """Serves a service with the methods of `handlers`: `RecordEvent` is its `record_event`."""
    methods = {
        method.name: _method_handler(
            method,
            getattr(handlers, _snake_case(method.name)),
            running,
            _counts_of(method, observers),
        )
        for method in service.methods
    }
    return grpc.method_handlers_generic_handler(service.full_name, methods)


def _counts_of(method: MethodDescriptor, observers: Observers) -> MethodCounts:
    lines = CallLines(method, slow_seconds=observers.lines.slow_call_seconds)
    tracing = None if observers.tracer is None else MethodTracing(method, observers.tracer)
    return MethodCounts(method, observers.measures, lines, tracing)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _method_handler(
    method: MethodDescriptor, handler: Handler, running: RunningCalls, counts: MethodCounts
) -> grpc.RpcMethodHandler[Any, Any]:
    is_read = method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
    parse = running.parsing.parser(GetMessageClass(method.input_type))
    # A single request is read as a stream of one, which looks the same to clients: the library would read it
    # before anything of ours could bound how long that takes, or end it.
    if method.client_streaming:
        call = _stream_stream(handler, running, parse, counts)
        return grpc.stream_stream_rpc_method_handler(counts.counted(call), response_serializer=_serialized)
    if method.server_streaming:
        call = _unary_stream(handler, running, parse, counts)
        return grpc.stream_stream_rpc_method_handler(counts.counted(call), response_serializer=_serialized)
    call = _unary_unary(handler, running, parse, counts, is_read=is_read)
    return grpc.stream_unary_rpc_method_handler(counts.counted(call), response_serializer=_serialized)


def _serialized(response: Message | bytes) -> bytes:
    """The bytes of a response; one that is made of stored bytes is serialized already."""
    return response if isinstance(response, bytes) else response.SerializeToString()


def _unary_unary(
    handler: Handler, running: RunningCalls, parse: Parse, counts: MethodCounts, *, is_read: bool
) -> Any:
    async def answer(context: Context) -> Message | bytes:
        request = await _single(context, running, parse, counts)
        if not is_read:
            return await respond(context, request)
        async with running.turn_to_read(context, request):
            return await respond(context, request)

    async def respond(context: Context, request: object) -> Message | bytes:
        grpc_call = running.begin(context, request, is_read=is_read)
        response: Message | bytes = await handler(request, grpc_call)
        size_bytes = len(response) if isinstance(response, bytes) else response.ByteSize()
        running.note_answer(context, grpc_call, size_bytes=size_bytes, is_read=is_read)
        await grpc_call.prepare(size_bytes=size_bytes)
        return response

    async def call(_: object, context: Context) -> Message | bytes:
        try:
            return await answer(context)
        except Exception as error:  # every failure gets a status
            await _end(GrpcCall(context), error, counts)

    return call


def _unary_stream(handler: Handler, running: RunningCalls, parse: Parse, counts: MethodCounts) -> Any:
    async def call(_: object, context: Context) -> object:
        try:
            request = await _single(context, running, parse, counts)
            grpc_call = running.begin(context, request)
            grpc_call.sent = counts.sent
            running.watch(context, grpc_call)
            await handler(request, grpc_call)
        except grpc.aio.InternalError:  # the library could not send
            GrpcCall(context).lose_client()
            return GONE
        except Exception as error:  # every failure gets a status
            await _end(GrpcCall(context), error, counts)
        return None

    return call


def _stream_stream(handler: Handler, running: RunningCalls, parse: Parse, counts: MethodCounts) -> Any:
    async def call(_: object, context: Context) -> object:
        grpc_call = GrpcCall(context, has_more_messages=True)
        grpc_call.sent = counts.sent
        try:
            await handler(_readable(grpc_call, context, running, parse, counts), grpc_call)
        except grpc.aio.InternalError:  # the library could not send
            grpc_call.lose_client()
            return GONE
        except Exception as error:  # every failure gets a status
            await _end(grpc_call, error, counts)
        return None

    return call


async def _end(call: GrpcCall, error: Exception, counts: MethodCounts) -> NoReturn:
    counts.note_error(error)
    await call.end(error)


async def _single(context: Context, running: RunningCalls, parse: Parse, counts: MethodCounts) -> Any:
    """The only message of a call. Raises the error of one that cannot be read."""
    data = await running.receive(context)
    if data is None:
        raise FieldInvalidError([Violation("", "server.message.missing", "the call has no message")])
    counts.received.value += 1
    current_facts().received += 1
    return await parse(context, data)


async def _readable(
    call: GrpcCall, context: Context, running: RunningCalls, parse: Parse, counts: MethodCounts
) -> AsyncIterator[Any]:
    data: Any = await running.receive(context)
    running.watch(context, call)
    while data is not None and data is not grpc.aio.EOF:
        counts.received.value += 1
        call.facts.received += 1
        try:
            request = await parse(context, data)
        except BatchTooLargeError as error:
            size_bytes = int(error.metadata["count"])
            raise ChunkTooLargeError(count=size_bytes, limit=MAX_MESSAGE_BYTES, unit="bytes") from error
        del data  # it may hold megabytes, and the next one may take long to arrive
        yield request
        del request
        silence = asyncio.get_running_loop().call_later(SILENT_SECONDS, call.yield_to_others)
        try:
            data = await context.read()
        finally:
            silence.cancel()
