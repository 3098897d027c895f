"""Binds handlers to the methods of a service: reads requests, and turns every error into a status."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias

import grpc
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message_factory import GetMessageClass

from engagement.limits import MAX_MESSAGE_BYTES
from engagement.rules import Violation
from engagement_server.access.scopes import ACCOUNT_FIELD, requirement_of
from engagement_server.api.grpc.admission import ASKS_NOBODY
from engagement_server.api.grpc.call import GrpcCall
from engagement_server.api.grpc.call_lines import CallLines, current_facts
from engagement_server.api.grpc.counting import GONE, MethodCounts
from engagement_server.api.grpc.tracing import MethodTracing
from engagement_server.errors import BatchTooLargeError, ChunkTooLargeError, FieldInvalidError

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
    from google.protobuf.message import Message

    from engagement_server.access.call_quotas import CallQuotas
    from engagement_server.api.grpc.admission import Admission, Admitted
    from engagement_server.api.grpc.auditing import CallAudit
    from engagement_server.api.grpc.call import Context
    from engagement_server.api.grpc.parsing import Parse
    from engagement_server.api.grpc.running import RunningCalls
    from engagement_server.api.observers import Observers

# Any: handlers of all message types pass through here.
Handler: TypeAlias = Callable[[Any, GrpcCall], Awaitable[Any]]
Behavior: TypeAlias = Callable[[Any, Any], Awaitable[Any]]
Admit: TypeAlias = Callable[["Context"], "Admitted"]

SILENT_SECONDS = 600.0
"""How long a further message of a stream may take to arrive; then the stream is closed."""


def service_handler(  # noqa: PLR0913  # all but two are named at the call
    service: ServiceDescriptor,
    handlers: object,
    *,
    running: RunningCalls,
    observers: Observers,
    admission: Admission = ASKS_NOBODY,
    quotas: CallQuotas | None = None,
) -> grpc.GenericRpcHandler:
    """Serves a service with the methods of `handlers`: `RecordEvent` is its `record_event`.

    Without `quotas`, streams are not counted.
    """
    methods = {
        method.name: _method_handler(
            method,
            getattr(handlers, _snake_case(method.name)),
            running=running,
            counts=_counts_of(method, observers),
            audit=_audit_of(method, observers),
            admit=partial(admission.admit, requirement=requirement_of(method)),
            quotas=quotas,
        )
        for method in service.methods
    }
    return grpc.method_handlers_generic_handler(service.full_name, methods)


def _counts_of(method: MethodDescriptor, observers: Observers) -> MethodCounts:
    lines = CallLines(method, slow_seconds=observers.lines.slow_call_seconds)
    tracing = None if observers.tracer is None else MethodTracing(method, observers.tracer)
    return MethodCounts(method, observers.measures, lines, tracing)


def _audit_of(method: MethodDescriptor, observers: Observers) -> CallAudit | None:
    if observers.audit is None:
        return None
    from engagement_server.api.grpc.auditing import CallAudit  # noqa: PLC0415  # loads a library

    return CallAudit(method, observers.audit)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class _Method(NamedTuple):
    """A method with all that its calls need."""

    handler: Handler
    running: RunningCalls
    parse: Parse
    counts: MethodCounts
    audit: CallAudit | None
    admit: Admit
    quotas: CallQuotas | None
    is_read: bool

    def counted(self, admitted: Admitted) -> AbstractAsyncContextManager[None]:
        """Counts a stream while it is open. Raises QuotaExceededError if it is one too many."""
        principal = admitted.identity.principal
        if self.quotas is None or principal.quotas is None:
            return nullcontext()
        return self.quotas.stream(principal)


def _method_handler(  # noqa: PLR0913  # `service_handler` makes all of them
    method: MethodDescriptor,
    handler: Handler,
    *,
    running: RunningCalls,
    counts: MethodCounts,
    audit: CallAudit | None,
    admit: Admit,
    quotas: CallQuotas | None,
) -> grpc.RpcMethodHandler[Any, Any]:
    is_read = method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
    parse = running.parsing.parser(GetMessageClass(method.input_type))
    if audit is not None:
        handler = audit.wrapped(handler)
    bound = _Method(handler, running, parse, counts, audit, admit, quotas, is_read)
    # A single request is read as a stream of one, which looks the same to clients: the library would read it
    # before anything of ours could bound how long that takes, or end it.
    if not method.client_streaming and not method.server_streaming:
        call = counts.counted(_unary_unary(bound))
        return grpc.stream_unary_rpc_method_handler(call, response_serializer=_serialized)
    stream = _stream_stream(bound) if method.client_streaming else _unary_stream(bound)
    return grpc.stream_stream_rpc_method_handler(counts.counted(stream), response_serializer=_serialized)


def _serialized(response: Message | bytes) -> bytes:
    """The bytes of a response; one that is made of stored bytes is serialized already."""
    return response if isinstance(response, bytes) else response.SerializeToString()


def _unary_unary(method: _Method) -> Any:
    running = method.running

    async def answer(context: Context) -> Message | bytes:
        admitted = method.admit(context)
        request = await _single(context, method)
        _require_account(admitted, request)
        if not method.is_read:
            return await respond(context, request, admitted)
        async with running.turn_to_read(context, request):
            return await respond(context, request, admitted)

    async def respond(context: Context, request: object, admitted: Admitted) -> Message | bytes:
        grpc_call = running.begin(context, request, is_read=method.is_read)
        grpc_call.admitted = admitted
        response: Message | bytes = await method.handler(request, grpc_call)
        size_bytes = len(response) if isinstance(response, bytes) else response.ByteSize()
        running.note_answer(context, grpc_call, size_bytes=size_bytes, is_read=method.is_read)
        await grpc_call.prepare(size_bytes=size_bytes)
        return response

    async def call(_: object, context: Context) -> Message | bytes:
        try:
            return await answer(context)
        except Exception as error:  # every failure gets a status
            await _end(GrpcCall(context), error, method)

    return call


def _unary_stream(method: _Method) -> Any:
    running, counts = method.running, method.counts

    async def call(_: object, context: Context) -> object:
        try:
            admitted = method.admit(context)
            async with method.counted(admitted):
                request = await _single(context, method)
                _require_account(admitted, request)
                grpc_call = running.begin(context, request)
                grpc_call.admitted = admitted
                grpc_call.sent = counts.sent
                running.watch(context, grpc_call)
                await method.handler(request, grpc_call)
        except grpc.aio.InternalError:  # the library could not send
            GrpcCall(context).lose_client()
            return GONE
        except Exception as error:  # every failure gets a status
            await _end(GrpcCall(context), error, method)
        return None

    return call


def _stream_stream(method: _Method) -> Any:
    async def call(_: object, context: Context) -> object:
        grpc_call = GrpcCall(context, has_more_messages=True)
        grpc_call.sent = method.counts.sent
        try:
            grpc_call.admitted = method.admit(context)
            async with method.counted(grpc_call.admitted):
                await method.handler(_readable(grpc_call, context, method), grpc_call)
        except grpc.aio.InternalError:  # the library could not send
            grpc_call.lose_client()
            return GONE
        except Exception as error:  # every failure gets a status
            await _end(grpc_call, error, method)
        return None

    return call


def _require_account(admitted: Admitted, request: object) -> None:
    """Compares the account of a request with that of the metadata. Raises AccountMismatchError."""
    account_id: str | None = getattr(request, ACCOUNT_FIELD, None)
    if account_id is not None:
        admitted.require_account(account_id)


async def _end(call: GrpcCall, error: Exception, method: _Method) -> NoReturn:
    method.counts.note_error(error)
    if method.audit is not None:
        method.audit.note_denied(call, error)
    await call.end(error)


async def _single(context: Context, method: _Method) -> Any:
    """The only message of a call. Raises the error of one that cannot be read."""
    data = await method.running.receive(context)
    if data is None:
        raise FieldInvalidError([Violation("", "server.message.missing", "the call has no message")])
    method.counts.received.value += 1
    current_facts().received += 1
    return await method.parse(context, data)


async def _readable(call: GrpcCall, context: Context, method: _Method) -> AsyncIterator[Any]:
    data: Any = await method.running.receive(context)
    method.running.watch(context, call)
    while data is not None and data is not grpc.aio.EOF:
        method.counts.received.value += 1
        call.facts.received += 1
        try:
            request = await method.parse(context, data)
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
