"""Every call of the contract, by every kind of caller: it is decided before anything is looked up."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from engagement import v1
from engagement_server.access.scopes import SCOPES, requirement_of, scope_name
from engagement_server.access.secrets import new_token
from engagement_server.access.watch import AccessWatch
from engagement_server.api.observers import Observers
from engagement_server.config import Config
from engagement_server.governor.turns import Caller
from engagement_server.metrics import catalogue
from engagement_server.metrics.measures import Measures
from engagement_server.node import Server
from engagement_server.store.readers import INTERNAL, Readers
from tests.support.contract import Method, methods
from tests.support.events import customer_event
from tests.support.known_callers import KnownCallers, principal, shown
from tests.support.refused_call import RefusedCall, expect_refused
from tests.support.waiting import DEADLINE_SECONDS, eventually

Metadata = tuple[tuple[str, str], ...]
ADMITTED = "ADMITTED"
ACCESS_REASONS = {
    "TOKEN_MISSING", "TOKEN_INVALID", "TOKEN_EXPIRED",
    "SCOPE_MISSING", "ACCOUNT_FORBIDDEN", "ACCOUNT_MISMATCH",
}  # fmt: skip
_KINDS = {
    (False, False): "unary_unary",
    (False, True): "unary_stream",
    (True, True): "stream_stream",
}


@dataclass(frozen=True)
class Setting:
    """A server that knows some callers."""

    channel: grpc.aio.Channel
    tokens: dict[str, str]
    """By the names of the callers."""
    measures: Measures
    reads: list[object] = field(default_factory=list)
    """What the server has looked up."""


@pytest.fixture
async def setting(tmp_path: Path, new_store: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Setting]:
    """A server that knows a caller with all scopes, one with each, and some that do nothing."""
    callers = KnownCallers(tmp_path / "access")
    everything = {"accounts": ["acme", "other"], "scopes": sorted(SCOPES)}
    callers.grant(
        principal("all", **everything),
        principal("elsewhere", **{**everything, "accounts": ["acme2", "ac", "acm-*"]}),
        principal("expired", **everything),
        principal("revoked", **everything),
        *(principal(f"only.{scope}", scopes=[scope]) for scope in SCOPES),
        principal("scopeless", accounts=["acme"], scopes=[]),
    )
    now_ms = time.time_ns() // 1_000_000
    names = ("all", "elsewhere", "revoked", "scopeless", "ungranted", *(f"only.{scope}" for scope in SCOPES))
    tokens = {name: callers.token(name) for name in names}
    tokens["expired"] = callers.token("expired", expire_ms=now_ms - 1)
    callers.tokens.revoke("revoked", is_old_only=False)
    shutil.copytree(new_store, tmp_path / "data")
    measures = Measures()
    watch = AccessWatch(callers.config)
    server = await Server.start(
        Config(listen="127.0.0.1:0", data=tmp_path / "data", heartbeat_seconds=0.05),
        observers=Observers(measures),
        access=watch,
    )
    run = Readers.run

    async with grpc.aio.insecure_channel(server.address) as channel:
        ready = Setting(channel, tokens, measures)

        async def counted(self: Readers, read: Any, *, caller: Caller = INTERNAL) -> Any:
            if caller is not INTERNAL:  # as background jobs are
                ready.reads.append(read)
            return await run(self, read, caller=caller)

        monkeypatch.setattr(Readers, "run", counted)
        yield ready
    await server.stop()


def request_to(method: Method, account_id: str) -> Message:
    """A first message that names an account, if it can."""
    request: Any = GetMessageClass(method.input_type)()
    if method.client_streaming:
        request.open.account_id = account_id
        request.open.upload_id = "an-upload"
    elif "account_id" in method.input_type.fields_by_name:
        request.account_id = account_id
    return request  # type: ignore[no-any-return]


async def outcome(
    channel: grpc.aio.Channel, method: Method, metadata: Metadata, *, account_id: str = "acme"
) -> RefusedCall | None:
    """How the server refuses a call because of its caller; None if it does not."""
    request = request_to(method, account_id)
    kind = _KINDS[method.client_streaming, method.server_streaming]
    call = getattr(channel, kind)(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )([request] if method.client_streaming else request, metadata=metadata, timeout=DEADLINE_SECONDS)
    try:
        await (call.read() if method.server_streaming else call)
    except grpc.aio.AioRpcError as error:
        refused = RefusedCall.of(error)
        return refused if refused.reason in ACCESS_REASONS else None
    finally:
        call.cancel()
    return None


def has_account(method: Method) -> bool:
    return requirement_of(method).has_account


def needs_scope(method: Method) -> bool:
    return bool(requirement_of(method).any_of)


@dataclass(frozen=True)
class Case:
    """What a caller shows, and what becomes of the calls of methods."""

    metadata: Callable[[dict[str, str]], Metadata]
    reason: str
    only: Callable[[Method], bool] = lambda _: True
    """The methods that are refused; others are not."""
    reads_message: bool = False


def _mistyped(token: str) -> str:
    return token[:-1] + ("0" if token[-1] != "0" else "1")


CASES = {
    "no token": Case(lambda _: shown(None, "acme"), "TOKEN_MISSING"),
    "an empty token": Case(lambda _: shown("", "acme"), "TOKEN_INVALID"),
    "a malformed token": Case(lambda _: shown("eng_all", "acme"), "TOKEN_INVALID"),
    "another scheme": Case(
        lambda _: (("authorization", "Basic YWxsOmFsbA=="), *shown(None, "acme")), "TOKEN_INVALID"
    ),
    "two tokens": Case(lambda of: (*shown(of["all"], "acme"), *shown(of["all"])), "TOKEN_INVALID"),
    "a mistyped token": Case(lambda of: shown(_mistyped(of["all"]), "acme"), "TOKEN_INVALID"),
    "an unknown secret": Case(lambda _: shown(new_token("all"), "acme"), "TOKEN_INVALID"),
    "a revoked token": Case(lambda of: shown(of["revoked"], "acme"), "TOKEN_INVALID"),
    "an expired token": Case(lambda of: shown(of["expired"], "acme"), "TOKEN_EXPIRED"),
    "a token without a grant": Case(lambda of: shown(of["ungranted"], "acme"), "TOKEN_INVALID"),
    "no scope": Case(lambda of: shown(of["scopeless"], "acme"), "SCOPE_MISSING", only=needs_scope),
    "another account": Case(lambda of: shown(of["elsewhere"], "acme"), "ACCOUNT_FORBIDDEN", only=has_account),
    "no account": Case(lambda of: shown(of["all"]), "ACCOUNT_FORBIDDEN", only=has_account),
    "two accounts": Case(lambda of: shown(of["all"], "acme", "other"), "ACCOUNT_MISMATCH"),
    "the same account twice": Case(lambda of: shown(of["all"], "acme", "acme"), "ACCOUNT_MISMATCH"),
    "not the account of the request": Case(
        lambda of: shown(of["all"], "other"), "ACCOUNT_MISMATCH", only=has_account, reads_message=True
    ),
}  # fmt: skip


async def outcomes(setting: Setting, case: Case, asked: Iterable[Method]) -> dict[str, str]:
    """What becomes of a call to each method, by its name."""
    chosen = list(asked)
    found = await asyncio.gather(
        *(outcome(setting.channel, each, case.metadata(setting.tokens)) for each in chosen)
    )
    return {
        method.name: ADMITTED if refused is None else refused.reason
        for method, refused in zip(chosen, found, strict=True)
    }


def received(measures: Measures) -> float:
    """How many messages of clients the server has read."""
    return sum(
        measures.count(
            catalogue.RECEIVED,
            f"{'bidi' if each.client_streaming else 'server'}_stream" if each.server_streaming else "unary",
            each.containing_service.full_name,
            each.name,
        ).value
        for each in methods()
    )


@pytest.mark.parametrize("name", CASES)
async def test_a_call_is_refused_before_anything_is_read(setting: Setting, name: str) -> None:
    case = CASES[name]
    refused = [method for method in methods() if case.only(method)]
    assert refused
    assert await outcomes(setting, case, refused) == {method.name: case.reason for method in refused}
    assert setting.reads == []
    assert case.reads_message or received(setting.measures) == 0
    assert setting.measures.count(catalogue.REFUSED, case.reason).value == len(refused)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.only is needs_scope])
async def test_methods_without_scopes_are_for_everybody_who_is_known(setting: Setting, name: str) -> None:
    others = [method for method in methods() if not needs_scope(method)]
    assert {method.name for method in others} == {"GetServerInfo", "GetIdentity"}
    assert set((await outcomes(setting, CASES[name], others)).values()) == {ADMITTED}


async def test_whoever_has_a_right_is_let_in(setting: Setting) -> None:
    case = Case(lambda of: shown(of["all"], "acme"), ADMITTED)
    assert set((await outcomes(setting, case, methods())).values()) == {ADMITTED}
    assert setting.reads != []  # otherwise the tests above would show nothing


@pytest.mark.parametrize("scope", SCOPES)
async def test_one_of_the_scopes_of_a_method_is_enough_and_needed(setting: Setting, scope: str) -> None:
    case = Case(lambda of: shown(of[f"only.{scope}"], "acme"), "SCOPE_MISSING")
    found = await outcomes(setting, case, methods())
    enough = {method.name for method in methods() if SCOPES[scope] in requirement_of(method).any_of}
    free = {method.name for method in methods() if not needs_scope(method)}
    assert {name for name, reason in found.items() if reason == ADMITTED} == enough | free
    assert {found[name] for name in found.keys() - enough - free} == {"SCOPE_MISSING"}


async def test_nobody_learns_why_a_token_is_not_accepted(setting: Setting) -> None:
    stub = v1.ServerServiceStub(setting.channel)
    answers = set()
    for case in CASES.values():
        if case.reason == "TOKEN_INVALID":
            call = stub.GetIdentity(v1.GetIdentityRequest(), metadata=case.metadata(setting.tokens))
            refused = await expect_refused(call)
            answers.add((refused.code, refused.message, *refused.metadata.items()))
    assert len(answers) == 1


async def test_what_does_not_exist_is_answered_like_what_is_not_granted(setting: Setting) -> None:
    stub = v1.EventServiceStub(setting.channel)
    await v1.IngestServiceStub(setting.channel).RecordEvent(
        v1.RecordEventRequest(account_id="acme", event=customer_event("e-1")),
        metadata=shown(setting.tokens["all"], "acme"),
    )
    answers = [
        await expect_refused(
            stub.GetEvent(
                v1.GetEventRequest(account_id=account, event_id="e-1"),
                metadata=shown(setting.tokens["elsewhere"], account),
            )
        )
        for account in ("acme", "nobody-has-this")
    ]
    for answer, account in zip(answers, ("acme", "nobody-has-this"), strict=True):
        assert answer.metadata == {"accountId": account}
    assert (answers[0].code, answers[0].message) == (answers[1].code, answers[1].message)


async def test_health_asks_nobody_and_reflection_everybody(setting: Setting) -> None:
    health: Any = health_pb2_grpc.HealthStub(setting.channel)  # Any: the stubs are synchronous
    answer = await health.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(setting.channel)  # type: ignore[arg-type]
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await anext(aiter(reflection.ServerReflectionInfo(iter([request]))))
    assert RefusedCall.of(refused.value).reason == "TOKEN_MISSING"
    known = reflection.ServerReflectionInfo(iter([request]), metadata=shown(setting.tokens["scopeless"]))
    assert (await anext(aiter(known))).list_services_response.service


async def test_unknown_methods_stay_unknown(setting: Setting) -> None:
    for metadata in (shown(None), shown(setting.tokens["all"])):
        call: Any = setting.channel.unary_unary("/engagement.v1.ServerService/GetNothing")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"", metadata=metadata)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_callers_see_who_they_are(setting: Setting) -> None:
    stub = v1.ServerServiceStub(setting.channel)
    metadata = shown(setting.tokens["all"])
    identity = await stub.GetIdentity(v1.GetIdentityRequest(), metadata=metadata)
    assert (identity.principal, identity.credential) == ("all", "token")
    assert list(identity.accounts) == ["acme", "other"]
    assert {scope_name(scope) for scope in identity.scopes} == SCOPES.keys()
    assert not identity.HasField("expire_time")
    assert (await stub.GetServerInfo(v1.GetServerInfoRequest(), metadata=metadata)).identity_required


async def test_the_log_says_why_a_token_is_not_accepted(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    stub = v1.ServerServiceStub(setting.channel)
    token = setting.tokens["revoked"]

    def lines() -> list[dict[str, Any]]:  # Any: fields of several types
        return [
            vars(record)["fields"] for record in caplog.records if record.name == "engagement_server.calls"
        ]

    with caplog.at_level("INFO", logger="engagement_server.calls"):
        await expect_refused(stub.GetIdentity(v1.GetIdentityRequest(), metadata=shown(token)))
        await eventually(lambda: bool(lines()), "the line is written, which follows the status")
    (fields,) = lines()
    assert fields["cause"] == "it is none of the secrets of 'revoked'"
    assert token not in str(fields)
