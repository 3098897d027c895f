"""Every call of the contract is served, checked and reachable; the contract says which calls there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc

from engagement import EngagementClient
from engagement.errors import error_from_rpc
from engagement.retry import SERVICE_CONFIG
from engagement_server.node import Server
from tests.support.contract import Method, methods, services
from tests.support.document import DOCUMENTED_ADDRESS, read_blocks
from tests.support.waiting import DEADLINE_SECONDS

CLIENTS = Path(__file__).parents[2] / "clients"
# How the source of each client that has a member for each service makes it.
MAKES_SERVICE = {
    "go/client.go": r"\bNew{service}Client\(",
    "typescript/src/client.ts": r"\bcreateStub\({service},",
    "rust/src/client.rs": r"\b{service}Client::new\(",
}
# Requests without an account that are invalid when they are empty.
NEEDS_VALUES = {"SetRetention"}
METHODS = [pytest.param(method, id=method.name) for method in methods()]


async def answer(server: Server, method: Method, request: Message) -> grpc.StatusCode | str:
    """What becomes of a call: its code, or the reason where there is one."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        kind = (
            f"{'stream' if method.client_streaming else 'unary'}_"
            f"{'stream' if method.server_streaming else 'unary'}"
        )
        call = getattr(channel, kind)(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )([request] if method.client_streaming else request, timeout=DEADLINE_SECONDS)
        try:
            if method.server_streaming:
                async for _ in call:
                    pass
            else:
                await call
        except grpc.aio.AioRpcError as error:
            return error_from_rpc(error).reason or error.code()
    return grpc.StatusCode.OK


def with_account(message: Message, account_id: str) -> bool:
    """Sets the account of a request, which may be in a message of it; whether it has one."""
    for field in message.DESCRIPTOR.fields:
        if field.name == "account_id":
            setattr(message, field.name, account_id)
            return True
    first = message.DESCRIPTOR.fields[0] if message.DESCRIPTOR.fields else None
    return (
        first is not None
        and first.message_type is not None
        and with_account(_set(message, first), account_id)
    )


def _set(message: Message, field: Any) -> Message:  # Any: the stubs have two types for descriptors
    member: Message = getattr(message, field.name)
    member.SetInParent()
    return member


@pytest.mark.parametrize("method", METHODS)
async def test_it_is_served_and_refuses_a_request_that_breaks_a_rule(server: Server, method: Method) -> None:
    request = GetMessageClass(method.input_type)()
    has_account = with_account(request, "no account")
    is_invalid = has_account or method.name in NEEDS_VALUES
    expected = "FIELD_INVALID" if is_invalid else grpc.StatusCode.OK
    assert await answer(server, method, request) == expected


async def test_health_is_told_for_its_service(server: Server) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)  # Any: the stubs describe synchronous calls
        for service in services():
            status = await health.Check(health_pb2.HealthCheckRequest(service=service.full_name))
            assert status.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("before_method", [f"{DOCUMENTED_ADDRESS} ", f"http://{DOCUMENTED_ADDRESS}/"])
def test_there_is_a_recipe_for_it_with_both_tools(before_method: str) -> None:
    """Recipes are run by tests/e2e/test_readme.py, against the reflection of a real server."""
    recipes = "".join(block.text for block in read_blocks(CLIENTS.parent / "docs/grpcurl.md") if block.is_run)
    for method in methods():
        name = f"{method.containing_service.full_name}/{method.name}"
        assert re.search(rf"{re.escape(before_method)}{name}\b", recipes), name


@pytest.mark.parametrize("method", METHODS)
def test_the_python_client_has_a_method_for_it(method: Method) -> None:
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", method.name).lower()
    assert callable(getattr(EngagementClient, name, None)), f"EngagementClient has no {name}"


@pytest.mark.parametrize("source", MAKES_SERVICE)
def test_the_other_clients_lead_to_its_service(source: str) -> None:
    text = (CLIENTS / source).read_text()
    for service in services():
        assert re.search(MAKES_SERVICE[source].format(service=service.name), text), service.name


def test_the_library_repeats_it_unless_it_is_a_stream() -> None:
    _, not_repeated = json.loads(SERVICE_CONFIG)["methodConfig"]
    assert {(each["service"], each["method"]) for each in not_repeated["name"]} == {
        (method.containing_service.full_name, method.name)
        for method in methods()
        if method.client_streaming or method.server_streaming
    }
