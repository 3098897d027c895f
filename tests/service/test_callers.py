"""Whose turn a call takes: one function says it, for reads, commits and streams alike."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from engagement import v1
from engagement.v1 import (
    entity_service_pb2,
    event_service_pb2,
    ingest_service_pb2,
    privacy_service_pb2,
    server_service_pb2,
)
from engagement_server.api.grpc import call as grpc_call
from engagement_server.api.grpc import running
from engagement_server.governor.turns import Caller
from engagement_server.log.committer import Committer
from engagement_server.node import Server
from engagement_server.store.readers import Readers
from tests.support.child_process import REPOSITORY
from tests.support.events import customer_event
from tests.support.raw_upload import chunk, finish, opening
from tests.support.waiting import deadline

SOMEONE = "someone"
ACME = "acme"
_CONSUMER = v1.Subject(consumer_id="ada")
_KIND = v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS
_DAY = {"seconds": 86_400}
REQUESTS: dict[str, Message] = {
    "RecordEvent": v1.RecordEventRequest(account_id=ACME, event=customer_event("a")),
    "RecordEvents": v1.RecordEventsRequest(account_id=ACME, events=[customer_event("b")]),
    "UploadEvents": opening(),
    "GetUpload": v1.GetUploadRequest(account_id=ACME, upload_id="upload"),
    "ListUploads": v1.ListUploadsRequest(account_id=ACME),
    "GetEvent": v1.GetEventRequest(account_id=ACME, event_id="a"),
    "ListEvents": v1.ListEventsRequest(account_id=ACME),
    "SubscribeEvents": v1.SubscribeEventsRequest(account_id=ACME, earliest=True, stop_at_tail=True),
    "GetProfile": v1.GetProfileRequest(account_id=ACME, consumer_id="ada"),
    "PutEntities": v1.PutEntitiesRequest(account_id=ACME, kind=_KIND, names=["gold"]),
    "ListEntities": v1.ListEntitiesRequest(account_id=ACME, kind=_KIND),
    "DeleteEntity": v1.DeleteEntityRequest(account_id=ACME, kind=_KIND, name="gold"),
    "GetPerson": v1.GetPersonRequest(account_id=ACME, id="ada"),
    "EraseConsumer": v1.EraseConsumerRequest(
        account_id=ACME, subjects=[_CONSUMER], request_id="r", suppress=True
    ),
    "GetErasure": v1.GetErasureRequest(account_id=ACME, erasure_id="none"),
    "ListErasures": v1.ListErasuresRequest(account_id=ACME),
    "LiftSuppression": v1.LiftSuppressionRequest(account_id=ACME, subject=_CONSUMER),
    "GetSuppression": v1.GetSuppressionRequest(account_id=ACME, subject=_CONSUMER),
    "ListAccounts": v1.ListAccountsRequest(),
    "GetServerInfo": v1.GetServerInfoRequest(),
    "SetRetention": v1.SetRetentionRequest(retention=_DAY),
    "ReleaseExpiry": v1.ReleaseExpiryRequest(),
}
IN_MEMORY = {"ListRejections", "GetServerStats", "GetIdentity"}
"""Methods that are answered without reading the store."""
METHODS = [
    (service, method)
    for services in (
        ingest_service_pb2,
        event_service_pb2,
        entity_service_pb2,
        privacy_service_pb2,
        server_service_pb2,
    )
    for service in services.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Caller]:
    """The callers in whose turn reads and commits were asked for; a server's own work is left out."""
    found: list[Caller] = []

    def watch(owner: type, name: str) -> None:
        ask = getattr(owner, name)

        def asked(self: object, *args: object, caller: Caller | None = None, **others: object) -> object:
            if caller is not None:
                found.append(caller)
                others["caller"] = caller
            return ask(self, *args, **others)

        monkeypatch.setattr(owner, name, asked)

    watch(Readers, "run")
    for name in ("submit", "enqueue", "enqueue_in_turn"):
        watch(Committer, name)
    return found


async def test_each_call_takes_its_turn_under_the_key_that_one_function_makes(
    seen: list[Caller], server: Server, channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (grpc_call, running):
        monkeypatch.setattr(module, "caller_of", lambda _, account_id: Caller(SOMEONE, account_id))
    assert {method.name for _, method in METHODS} == REQUESTS.keys() | IN_MEMORY
    methods = {method.name: f"/{service.full_name}/{method.name}" for service, method in METHODS}
    for name, request in REQUESTS.items():
        seen.clear()
        async with deadline(f"{name} was answered"):
            await call(channel, methods[name], request)
        account_id = getattr(request, "account_id", "") or ("acme" if name == "UploadEvents" else "")
        assert set(seen) == {Caller(SOMEONE, account_id)}, name


async def call(channel: grpc.aio.Channel, method: str, request: Message) -> None:
    """Makes a call to its end; it may be refused for what it asks for."""
    messages = [request, chunk(1, customer_event("c")), finish(1)] if "Upload" in method else [request]
    if method.endswith("/UploadEvents"):
        stream: Any = channel.stream_stream(method)
        answers = stream(iter([message.SerializeToString() for message in messages]))
    else:
        one: Any = channel.unary_stream(method)
        answers = one(request.SerializeToString())
    with suppress(grpc.aio.AioRpcError):
        async for _ in answers:
            pass
    assert await answers.code() in {grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND}, await answers.details()


def test_the_key_is_made_in_one_place() -> None:
    made = [
        function.name
        for function in nodes("api")
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Caller"
    ]
    assert made == ["caller_of"]


def test_every_read_and_commit_on_behalf_of_a_call_says_whose_turn_it_takes() -> None:
    asked = [
        node
        for node in nodes("api", "streams", "persons.py", "profiles.py", "jobs/expiry.py")
        if isinstance(node, ast.Call)
        and re.search(r"(readers\.run|committer\.(submit|enqueue|enqueue_in_turn))$", ast.unparse(node.func))
    ]
    assert len(asked) > 30
    for node in asked:
        assert "caller" in {keyword.arg for keyword in node.keywords}, ast.unparse(node)


def nodes(*places: str) -> Iterator[ast.AST]:
    """The syntax of some rooms and files of the server."""
    for place in places:
        path = REPOSITORY / "server/engagement_server" / place
        for file in path.rglob("*.py") if path.is_dir() else [path]:
            yield from ast.walk(ast.parse(file.read_text()))
