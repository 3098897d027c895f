"""The Python client runs the cases that clients of all languages share."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any  # options of any type

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from clients.vectors import make
from clients.vectors.cases.repetition import expand
from engagement import (
    ConflictError,
    DeadlineError,
    EngagementClient,
    EngagementError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    QuotaExceededError,
    RejectedEvent,
    SourceMismatchError,
    TakenOverError,
    UnauthenticatedError,
    UnavailableError,
    Uploader,
    v1,
)
from engagement.channel import tls_credentials
from engagement.errors import error_from_rpc
from engagement.retry import is_transient
from engagement.tokens import TokenAnswer
from engagement.upload.source import SourceDigester, canonical_form
from engagement_server.node import Server
from tests.support.vectors import VECTORS, Json, ScriptedServer, cases, name_of

_KINDS: dict[type[EngagementError], str] = {
    EngagementError: "other",
    InvalidArgumentError: "invalid_argument",
    ConflictError: "conflict",
    PreconditionError: "precondition",
    TakenOverError: "taken_over",
    NotFoundError: "not_found",
    UnauthenticatedError: "unauthenticated",
    PermissionDeniedError: "permission_denied",
    QuotaExceededError: "quota_exceeded",
    UnavailableError: "unavailable",
    DeadlineError: "deadline",
    InternalError: "internal",
    SourceMismatchError: "source_mismatch",
}
_TIMEOUT_SECONDS = 3.0


class SourceError(Exception):
    """An error of an upload's source."""


def test_the_files_are_those_that_are_made_today() -> None:
    for name, text in make.files().items():
        assert (VECTORS / name).read_text() == text, f"{name} is stale: run `make proto`"


@pytest.mark.parametrize("case", cases("events.json"), ids=name_of)
def test_messages_have_their_bytes_and_their_json(case: Json) -> None:
    message_type: type[Message] = getattr(v1, case["message"].removeprefix("engagement.v1."))
    wires = [base64.b64decode(wire) for wire in (case["wire"], *case.get("other_wires", ()))]
    message = message_type.FromString(wires[0])
    assert message.SerializeToString() in wires
    assert json_format.MessageToDict(message) == case["json"]
    if not case.get("json_is_lossy"):
        assert json_format.ParseDict(case["json"], message_type()).SerializeToString() in wires
    for wire in wires:
        assert message_type.FromString(wire) == message


@pytest.mark.parametrize("case", cases("texts.json"), ids=name_of)
async def test_texts_are_accepted_up_to_their_limit(case: Json, server: Server) -> None:
    balance = case["unit"] * case["times"]
    event = v1.Event(event_id=case["name"], customer_info=v1.CustomerInfo(balance=balance))
    wire = event.SerializeToString()
    assert (len(wire), hashlib.sha256(wire).hexdigest()) == (case["wire_bytes"], case["wire_sha256"])
    async with EngagementClient(server.address, account_id="texts") as client:
        if "rule" in case:
            with pytest.raises(InvalidArgumentError) as refused:
                await client.record_event(event)
            assert [violation.rule for violation in refused.value.violations] == [case["rule"]]
        else:
            await client.record_event(event)
            stored = await client.get_event(event_id=case["name"])
            assert stored.event.customer_info.balance == balance


@pytest.mark.parametrize("case", cases("errors.json"), ids=name_of)
def test_statuses_become_typed_errors(case: Json) -> None:
    metadata = []
    if case["details"] is not None:
        metadata.append(("grpc-status-details-bin", base64.b64decode(case["details"])))
    trailing = grpc.aio.Metadata(*metadata)
    status = grpc.aio.AioRpcError(
        grpc.StatusCode[case["code"]], grpc.aio.Metadata(), trailing, details=case["message"]
    )
    error = error_from_rpc(status)
    assert (error.code, error.message) == (grpc.StatusCode[case["code"]], case["message"])
    assert {
        "kind": _KINDS[type(error)],
        "reason": error.reason,
        "metadata": dict(error.metadata),
        "violations": [
            {"field": each.field, "rule": each.rule, "description": each.description}
            for each in error.violations
        ],
        "retry_delay_seconds": error.retry_delay_seconds,
        "is_transient": is_transient(error),
    } == case["expected"]


def test_every_reason_has_a_case() -> None:
    seen = {case["expected"]["reason"] for case in cases("errors.json")}
    reasons = {name.removeprefix("ERROR_REASON_") for name in v1.ErrorReason.keys()}  # noqa: SIM118
    assert seen >= reasons - {"UNSPECIFIED"}


@pytest.mark.parametrize("case", cases("sources.json"), ids=name_of)
def test_a_source_has_its_digest(case: Json) -> None:
    digester = SourceDigester("upload", case["salt"])
    for wire in case["events"]:
        event = v1.Event.FromString(base64.b64decode(wire))
        digester.add(canonical_form(event, event.SerializeToString(deterministic=True)))
    assert digester.digest() == v1.SourceDigest(events=len(case["events"]), sha256=case["sha256"])


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedServer]:
    with ScriptedServer(tmp_path_factory.mktemp("scripted")) as running:
        yield running


async def test_conversations_go_as_written(scripted: ScriptedServer) -> None:
    # All at once: they mostly wait.
    played = cases("conversations.json")
    outcomes = await asyncio.gather(*(_play(case, scripted) for case in played))
    actual = {case["name"]: outcome for case, outcome in zip(played, outcomes, strict=True)}
    assert actual == {case["name"]: {**case["expected"], "problems": []} for case in played}


async def test_what_does_not_go_as_written_is_told(tmp_path: Path) -> None:
    with ScriptedServer(tmp_path) as scripted:
        client = EngagementClient(scripted.address, account_id="record-refused")
        with pytest.raises(EngagementError, match="not"):
            await client.record_event(v1.Event(event_id="another"))
        problems = await client.list_entities(v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS)
    assert list(problems.names) == ['RecordEventRequest.event.eventId is "another", not "e1"']


async def _play(case: Json, scripted: ScriptedServer) -> Json:
    """The outcome of a case, limited to the members that it expects."""
    tokens = ListedTokens(case["tokens"]) if "tokens" in case else None
    address, credentials = scripted.address, None
    if case.get("client_certificate"):
        address, credentials = scripted.mutual_tls_address, scripted.credentials(with_certificate=True)
    elif case.get("tls"):
        address, credentials = scripted.tls_address, scripted.credentials()
    async with EngagementClient(
        address,
        account_id=case["name"],
        credentials=credentials,
        token=tokens or case.get("token"),
        timeout_seconds=_TIMEOUT_SECONDS,
    ) as client:
        ((call, arguments),) = case["call"].items()
        outcome = await _CALLS[call](client, arguments, max_outage_seconds=case.get("max_outage_seconds", 10))
        if tokens is not None:
            outcome["token_asks"] = tokens.asks
        problems = await client.list_entities(v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS)
    if "result" in outcome:
        outcome["result"] = {key: outcome["result"].get(key) for key in case["expected"]["result"]}
    return {**outcome, "problems": list(problems.names)}


class ListedTokens:
    """A function for a token: it answers with those of a case in order, and then with the last one."""

    def __init__(self, answers: Sequence[Json]) -> None:
        self._answers = answers
        self.asks = 0

    async def __call__(self) -> TokenAnswer:
        answer = self._answers[min(self.asks, len(self._answers) - 1)]
        self.asks += 1
        token: str = answer["token"]
        if "expires_in_seconds" not in answer:
            return token
        return token, datetime.now(UTC) + timedelta(seconds=answer["expires_in_seconds"])


@pytest.mark.parametrize("case", cases("targets.json"), ids=name_of)
async def test_a_token_leaves_this_machine_in_plain_text_only_if_that_is_allowed(case: Json) -> None:
    def create(**options: Any) -> EngagementClient:  # those of EngagementClient
        return EngagementClient(case["name"], account_id="acme", token="secret", **options)

    if not case["is_this_machine"]:
        with pytest.raises(ValueError, match="in plain text"):
            create()
    allowed = {} if case["is_this_machine"] else {"allow_plaintext_token": True}
    await create(**allowed).close()
    await create(credentials=tls_credentials()).close()


async def _server_info(client: EngagementClient, arguments: Json, *, max_outage_seconds: float) -> Json:
    return {"version": (await client.get_server_info()).version}


async def _record_event(client: EngagementClient, arguments: Json, *, max_outage_seconds: float) -> Json:
    try:
        result = await client.record_event(_event(arguments["event"]))
    except EngagementError as error:
        return {"error": _describe(error)}
    return {"result": json_format.MessageToDict(result)}


async def _record_events(client: EngagementClient, arguments: Json, *, max_outage_seconds: float) -> Json:
    try:
        response = await client.record_events(
            list(map(_event, arguments["events"])), allow_partial=arguments.get("allow_partial", False)
        )
    except EngagementError as error:
        return {"error": _describe(error)}
    return {"tally": _counts(response.tally)}


async def _list_events(client: EngagementClient, arguments: Json, *, max_outage_seconds: float) -> Json:
    return {"event_ids": [stored.event.event_id async for stored in client.list_events(page_size=2)]}


async def _upload(client: EngagementClient, arguments: Json, *, max_outage_seconds: float) -> Json:
    rejections: list[RejectedEvent] = []
    uploader = Uploader(
        client,
        upload_id=arguments["upload_id"],
        chunk_events=arguments["chunk_events"],
        on_rejection=rejections.append,
        max_outage_seconds=max_outage_seconds,
        keep_going=arguments.get("keep_going", False),
    )
    outcome: Json = {}
    try:
        summary = await uploader.upload(_source(arguments["events"], arguments.get("fails_after")))
        outcome["summary"] = {
            "tally": _counts(summary.tally),
            "events": summary.events,
            "reconnects": summary.reconnects,
            "skipped_events": summary.skipped_events,
            "resumed_by_count": summary.resumed_by_count,
        }
    except SourceError:
        outcome["error"] = {"kind": "source", "reason": ""}
    except EngagementError as error:
        outcome["error"] = _describe(error)
    outcome["rejections"] = [
        {
            "position": each.position,
            "event_id": each.event.event_id,
            "reason": v1.ErrorReason.Name(each.error.reason).removeprefix("ERROR_REASON_"),
        }
        for each in rejections
    ]
    return outcome


def _source(events: Iterable[Json], fails_after: int | None) -> Iterator[v1.Event]:
    for number, event in enumerate(events):
        if number == fails_after:
            raise SourceError
        yield _event(event)


async def _follow(client: EngagementClient, arguments: Json, *, max_outage_seconds: float) -> Json:
    request = json_format.ParseDict(arguments["request"], v1.SubscribeEventsRequest())
    start = request.WhichOneof("start")
    assert start is not None
    erasures: list[str] = []
    follower = client.follow(
        request.filter if request.HasField("filter") else None,
        **{start: getattr(request, start)},
        stop_at_tail=request.stop_at_tail,
        max_outage_seconds=max_outage_seconds,
        on_erasure=lambda notice: erasures.append(notice.erasure_id),
    )
    steps: list[Json] = []
    failed: Json = {}
    async with follower:
        try:
            async for stored in follower:
                steps.append({"event_id": stored.event.event_id, "cursor": follower.cursor})
                if len(steps) == arguments.get("take"):
                    break
        except EngagementError as failure:
            failed["error"] = _describe(failure)
    return {"steps": steps, "cursor": follower.cursor, "erasures": erasures, **failed}


_CALLS = {
    "server_info": _server_info,
    "record_event": _record_event,
    "record_events": _record_events,
    "list_events": _list_events,
    "upload": _upload,
    "follow": _follow,
}


def _event(value: Json) -> v1.Event:
    return json_format.ParseDict(expand(value), v1.Event())


def _describe(error: EngagementError) -> Json:
    return {"kind": _KINDS[type(error)], "reason": error.reason}


def _counts(tally: v1.Tally) -> Json:
    return {field.name: value for field, value in tally.ListFields()}
