"""Server reflection under both of its names, so that old and new tools work without the protos.

The library's own finds no methods, knows v1 by its name only, and lets streams stay open for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import grpc
from google.protobuf.message import DecodeError

# Without these messages tools cannot show the details of errors.
from google.rpc import error_details_pb2  # noqa: F401
from grpc_reflection.v1alpha import reflection_pb2

from engagement_server.api.grpc.call import caller_of, end_call
from engagement_server.api.grpc.contract_files import (
    declare_copy,
    extension_numbers,
    file_declaring,
    file_extending,
    file_named,
)
from engagement_server.api.grpc.gate import OPEN_GATE
from engagement_server.governor.turns import Room

if TYPE_CHECKING:
    from engagement_server.api.grpc.call import Context
    from engagement_server.api.grpc.gate import Gate
    from engagement_server.streams.closing import Cause

V1: Final = "grpc.reflection.v1.ServerReflection"
V1_ALPHA: Final = "grpc.reflection.v1alpha.ServerReflection"
MAX_STREAMS: Final = 100
"""Streams at a time; more are refused. A connection gets a third of them at most."""
MAX_REQUESTS: Final = 1_000
"""Requests of one stream; then it ends, and tools open another."""
MAX_REQUEST_BYTES: Final = 64 * 1024
"""The answer repeats the request."""
IDLE_SECONDS: Final = 60.0
"""How long a client may take for its next request, or to read an answer; then its stream ends."""
_V1_PATH = "grpc/reflection/v1/reflection.proto"

_Request = reflection_pb2.ServerReflectionRequest
_Response = reflection_pb2.ServerReflectionResponse


def add_reflection(
    services: Sequence[str],
    server: grpc.aio.Server,
    *,
    gate: Gate = OPEN_GATE,
    idle_seconds: float = IDLE_SECONDS,
) -> None:
    """Serves reflection over `services`, and over itself.

    Both versions are the same on the wire, so one servicer answers for both.
    """
    declare_copy(_V1_PATH, package=V1.rpartition(".")[0], original=reflection_pb2.DESCRIPTOR.name)
    reflection = Reflection((*services, V1, V1_ALPHA), gate=gate, idle_seconds=idle_seconds)
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(reflection.serve)
    server.add_generic_rpc_handlers(
        tuple(
            grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler})
            for name in (V1, V1_ALPHA)
        )
    )


class Reflection:
    """Tells which services there are, and what the contract says about each name."""

    def __init__(self, services: Sequence[str], *, gate: Gate, idle_seconds: float) -> None:
        self._gate = gate
        self._services = sorted(services)
        self._idle_seconds = idle_seconds
        self._room = Room(MAX_STREAMS)

    async def serve(self, _messages: object, context: Context) -> None:
        """Answers the requests of one stream, for everybody whom the server knows."""
        call = await self._gate.pass_known(context)
        caller = caller_of(context, "")
        if not self._room.is_free_for(caller):
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "too many streams of reflection are open; close some"
            )
        reading = _Reading(self._idle_seconds)
        call.on_close(reading.end)
        with self._room.taken(caller, 1), self._gate.watching(call):
            for _ in range(MAX_REQUESTS):
                message = await reading.next(context)
                if message is None:
                    return
                await self._write(context, self._answer(await _parse(message, context)))

    async def _write(self, context: Context, response: _Response) -> None:
        unread = asyncio.get_running_loop().call_later(
            self._idle_seconds, end_call, context, asyncio.current_task()
        )
        try:
            await context.write(response.SerializeToString())
        finally:
            unread.cancel()

    def _answer(self, request: _Request) -> _Response:
        response = _Response(valid_host=request.host, original_request=request)
        try:
            self._fill(response, request)
        except KeyError:  # without the name, which may be anything
            response.error_response.error_code = grpc.StatusCode.NOT_FOUND.value[0]
            response.error_response.error_message = "the server's contract has nothing of this name"
        return response

    def _fill(self, response: _Response, request: _Request) -> None:
        """Fills in the answer. Raises KeyError."""
        files = response.file_descriptor_response.file_descriptor_proto
        match request.WhichOneof("message_request"):
            case "list_services":
                services = response.list_services_response.service
                services.extend(reflection_pb2.ServiceResponse(name=name) for name in self._services)
            case "file_by_filename":
                files.extend(file_named(request.file_by_filename))
            case "file_containing_symbol":
                files.extend(file_declaring(request.file_containing_symbol))
            case "file_containing_extension":
                extension = request.file_containing_extension
                files.extend(file_extending(extension.containing_type, extension.extension_number))
            case "all_extension_numbers_of_type":
                message = request.all_extension_numbers_of_type
                numbers = extension_numbers(message)
                response.all_extension_numbers_response.base_type_name = message
                response.all_extension_numbers_response.extension_number.extend(numbers)
            case _:
                response.error_response.error_code = grpc.StatusCode.INVALID_ARGUMENT.value[0]
                response.error_response.error_message = "the request names nothing to look up"


class _Reading:
    """Reads the requests of a stream, each within some seconds, until it is to end."""

    def __init__(self, idle_seconds: float) -> None:
        self._idle_seconds = idle_seconds
        self._is_over = False
        self._limit: asyncio.Timeout | None = None

    def end(self, _: Cause) -> None:
        """Reads nothing more."""
        self._is_over = True
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(0)

    async def next(self, context: Context) -> bytes | None:
        """The next message; None if there is none, or not in time."""
        if self._is_over:
            return None
        try:
            async with asyncio.timeout(self._idle_seconds) as self._limit:
                message = await context.read()
        except TimeoutError:
            return None
        finally:
            self._limit = None
        return None if message is grpc.aio.EOF or self._is_over else bytes(message)


async def _parse(message: bytes, context: Context) -> _Request:
    """Parses a request; ends the call if it is none, or too large."""
    if len(message) > MAX_REQUEST_BYTES:
        await context.abort(
            grpc.StatusCode.INVALID_ARGUMENT, f"a request may take {MAX_REQUEST_BYTES} bytes at most"
        )
    try:
        return _Request.FromString(message)
    except DecodeError:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request is no message of reflection")
