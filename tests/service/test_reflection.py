"""Reflection answers for every name of the contract, under both versions, and within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor, FileDescriptor
from grpc_reflection.v1alpha import reflection_pb2

from engagement import v1
from engagement_server.api.grpc.reflection import MAX_REQUEST_BYTES, MAX_REQUESTS, MAX_STREAMS, add_reflection
from engagement_server.node import Server
from tests.support.raw_http2 import END_STREAM, HEADERS, RST_STREAM, RawHttp2
from tests.support.waiting import deadline, eventually

_VERSIONS = ("v1", "v1alpha")
_FIELD_OPTIONS = "google.protobuf.FieldOptions"
_FIELD_RULES = 1159
_FILES = (
    v1.event_pb2,
    v1.attributes_pb2,
    v1.error_reason_pb2,
    v1.ingest_service_pb2,
    v1.event_service_pb2,
    v1.entity_service_pb2,
    v1.privacy_service_pb2,
    v1.server_service_pb2,
)
Request = reflection_pb2.ServerReflectionRequest
Response = reflection_pb2.ServerReflectionResponse
Call = grpc.aio.StreamStreamCall[Request, Response]


def _method(version: str) -> str:
    return f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"


def _open(channel: grpc.aio.Channel, version: str = "v1") -> Call:
    method: grpc.aio.StreamStreamMultiCallable[Request, Response] = channel.stream_stream(
        _method(version),
        request_serializer=Request.SerializeToString,
        response_deserializer=Response.FromString,
    )
    return method()


async def _ask(call: Call, request: Request) -> Response:
    # A stream that was refused may have ended before this write; reading then tells why.
    with suppress(asyncio.InvalidStateError):
        await call.write(request)
    async with deadline("reflection answered"):
        response = await call.read()
    assert isinstance(response, Response)
    assert response.original_request == request
    return response


def _names(response: Response) -> list[str]:
    files = response.file_descriptor_response.file_descriptor_proto
    return [descriptor_pb2.FileDescriptorProto.FromString(file).name for file in files]


def _symbols(file: FileDescriptor) -> Iterator[str]:
    """The names that a file declares."""
    for service in file.services_by_name.values():
        yield service.full_name
        yield from (method.full_name for method in service.methods)
    for enum in file.enum_types_by_name.values():
        yield enum.full_name
        for value in enum.values:
            yield f"{file.package}.{value.name}"
            yield f"{enum.full_name}.{value.name}"
    for message in file.message_types_by_name.values():
        yield from _symbols_of(message)


def _symbols_of(message: Descriptor) -> Iterator[str]:
    yield message.full_name
    yield from (field.full_name for field in message.fields)
    yield from (oneof.full_name for oneof in message.oneofs)
    for enum in message.enum_types:
        yield enum.full_name
        yield from (f"{message.full_name}.{value.name}" for value in enum.values)
    for nested in message.nested_types:
        yield from _symbols_of(nested)


@pytest.fixture
async def channel(server: Server) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield channel


@pytest.mark.parametrize("version", _VERSIONS)
async def test_every_name_of_the_contract_leads_to_its_file(channel: grpc.aio.Channel, version: str) -> None:
    asked = 0
    for module in _FILES:
        call = _open(channel, version)
        for symbol in _symbols(module.DESCRIPTOR):
            response = await _ask(call, Request(file_containing_symbol=symbol))
            assert _names(response)[:1] == [module.DESCRIPTOR.name], symbol
            asked += 1
    assert asked > 500


@pytest.mark.parametrize("version", _VERSIONS)
async def test_reflection_is_listed_and_knows_itself(channel: grpc.aio.Channel, version: str) -> None:
    call = _open(channel, version)
    listed = (await _ask(call, Request(list_services=""))).list_services_response.service
    assert "engagement.v1.IngestService" in {service.name for service in listed}
    for service in listed:
        assert _names(await _ask(call, Request(file_containing_symbol=service.name))), service.name


async def test_an_answer_is_all_that_a_tool_needs(channel: grpc.aio.Channel) -> None:
    asked = Request(file_containing_symbol="engagement.v1.IngestService.RecordEvent")
    response = await _ask(_open(channel), asked)
    pool = descriptor_pool.DescriptorPool()
    waiting = {
        file.name: file
        for file in map(
            descriptor_pb2.FileDescriptorProto.FromString,
            response.file_descriptor_response.file_descriptor_proto,
        )
    }
    assert len(waiting) == len(response.file_descriptor_response.file_descriptor_proto)
    while waiting:
        ready = [file for file in waiting.values() if waiting.keys().isdisjoint(file.dependency)]
        assert ready
        for file in ready:
            pool.Add(waiting.pop(file.name))
    assert pool.FindMethodByName("engagement.v1.IngestService.RecordEvent").input_type.fields_by_name


@pytest.mark.parametrize("version", _VERSIONS)
async def test_rules_are_found_as_extensions(channel: grpc.aio.Channel, version: str) -> None:
    call = _open(channel, version)
    extension = reflection_pb2.ExtensionRequest(containing_type=_FIELD_OPTIONS, extension_number=_FIELD_RULES)
    response = await _ask(call, Request(file_containing_extension=extension))
    assert _names(response)[0] == "buf/validate/validate.proto"
    numbers = await _ask(call, Request(all_extension_numbers_of_type=_FIELD_OPTIONS))
    assert numbers.all_extension_numbers_response.base_type_name == _FIELD_OPTIONS
    assert _FIELD_RULES in numbers.all_extension_numbers_response.extension_number
    none = await _ask(call, Request(all_extension_numbers_of_type="engagement.v1.Event"))
    assert list(none.all_extension_numbers_response.extension_number) == []
    by_name = await _ask(call, Request(file_by_filename="engagement/v1/event.proto", host="here"))
    assert _names(by_name)[0] == "engagement/v1/event.proto"
    assert by_name.valid_host == "here"


def _about(name: str) -> Iterator[Request]:
    """All requests about a name."""
    yield Request(file_containing_symbol=name)
    yield Request(file_by_filename=name)
    yield Request(all_extension_numbers_of_type=name)
    for number in (-(2**31), 0, _FIELD_RULES, 2**31 - 1):
        extension = reflection_pb2.ExtensionRequest(containing_type=name, extension_number=number)
        yield Request(file_containing_extension=extension)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "engagement",
        "engagement.v1",
        "engagement.v1.",
        "engagement.v1.Outcome.",
        "engagement.v1.Outcome.NONE",
        "engagement.v1.IngestService.Nothing",
        "x" * 10_000,
        "a." * 5_000,
        "a\0b\r\n\x1b[31m",
        "\N{BOM}\N{RIGHT-TO-LEFT OVERRIDE}",
        "../../etc/passwd",
        "%s%n",
    ],
)
async def test_an_unknown_name_is_not_found_and_the_stream_goes_on(
    channel: grpc.aio.Channel, name: str
) -> None:
    call = _open(channel)
    for request in _about(name):
        response = await _ask(call, request)
        assert response.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
        assert "nothing of this name" in response.error_response.error_message
    assert _names(await _ask(call, Request(file_containing_symbol="engagement.v1.Event")))


async def test_a_request_for_nothing_is_invalid_and_the_stream_goes_on(channel: grpc.aio.Channel) -> None:
    call = _open(channel)
    response = await _ask(call, Request(host="here"))
    assert response.error_response.error_code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert _names(await _ask(call, Request(file_containing_symbol="engagement.v1.Event")))


@pytest.mark.parametrize(
    "message",
    [
        Request(file_containing_symbol="x" * MAX_REQUEST_BYTES).SerializeToString(),
        b"\xff\xff",
        b"\x22\x01\xff",  # a symbol that is not UTF-8
    ],
    ids=["too large", "no message", "no text"],
)
async def test_what_is_no_request_ends_the_stream_with_a_sentence(
    channel: grpc.aio.Channel, message: bytes
) -> None:
    method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(_method("v1"))
    call = method()
    await call.write(message)
    async with deadline("the stream ended"):
        assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "request" in str(await call.details())


async def test_a_stream_that_has_asked_a_lot_ends_and_another_goes_on(channel: grpc.aio.Channel) -> None:
    call = _open(channel)
    for _ in range(MAX_REQUESTS):
        await _ask(call, Request(file_containing_symbol="nothing"))
    async with deadline("the stream ended"):
        assert await call.read() is grpc.aio.EOF
        assert await call.code() == grpc.StatusCode.OK
    assert _names(await _ask(_open(channel), Request(file_containing_symbol="engagement.v1.Event")))


async def _ask_each(calls: Sequence[Call]) -> None:
    for call in calls:
        await _ask(call, Request(list_services=""))


async def test_one_connection_cannot_take_all_streams(server: Server) -> None:
    async with AsyncExitStack() as stack:
        greedy, other = [
            await stack.enter_async_context(
                grpc.aio.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool", 1)])
            )
            for _ in range(2)
        ]
        calls = [_open(greedy) for _ in range(MAX_STREAMS)]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await _ask_each(calls)
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        await _ask(_open(other), Request(list_services=""))
        for call in calls:
            call.cancel()
        await eventually(lambda: _is_answered(greedy), "its streams are free again")


async def _is_answered(channel: grpc.aio.Channel) -> bool:
    try:
        await _ask(_open(channel), Request(list_services=""))
    except grpc.aio.AioRpcError:
        return False
    return True


@asynccontextmanager
async def _impatient() -> AsyncIterator[str]:
    """The address of a server whose streams of reflection end soon."""
    server = grpc.aio.server()
    add_reflection(("engagement.v1.IngestService",), server, idle_seconds=0.05)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def test_a_stream_that_is_silent_ends(channel: grpc.aio.Channel) -> None:
    async with _impatient() as address, grpc.aio.insecure_channel(address) as impatient:
        call = _open(impatient)
        async with deadline("the stream ended"):
            assert await call.read() is grpc.aio.EOF
            assert await call.code() == grpc.StatusCode.OK
    # The server's own is more patient.
    assert _names(await _ask(_open(channel), Request(file_containing_symbol="engagement.v1.Event")))


async def test_a_client_that_reads_nothing_loses_its_stream() -> None:
    def until_ended(address: str) -> bool:
        with RawHttp2(address, window_bytes=0) as deaf:
            deaf.call(_method("v1"), Request(file_containing_symbol="engagement.v1.IngestService"))
            return any(
                frame.kind == RST_STREAM or (frame.kind == HEADERS and frame.flags & END_STREAM)
                for frame in deaf.frames()
            )

    async with _impatient() as address, deadline("the stream was reset"):
        assert await asyncio.to_thread(until_ended, address)
