"""The service through public tools, which learn the contract from the server."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.server_process import ServerProcess

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="the packaged grpcurl is a program for Linux on x86-64",
)
_BIN = Path(sys.executable).parent
_TIMEOUT_SECONDS = 20
_RECORD_EVENT = "engagement.v1.IngestService/RecordEvent"
_UPLOAD_EVENTS = "engagement.v1.IngestService/UploadEvents"
_GET_EVENT = "engagement.v1.EventService/GetEvent"
_LIST_EVENTS = "engagement.v1.EventService/ListEvents"
_HEALTH = "grpc.health.v1.Health/Check"
_SERVICES = {
    "engagement.v1.EntityService",
    "engagement.v1.EventService",
    "engagement.v1.IngestService",
    "engagement.v1.PrivacyService",
    "engagement.v1.ServerService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
}
_EVENT = {
    "event_id": "event-1",
    "consumer_id": "consumer-1",
    "customer_info": {"balance": "-400.99", "registration_date": {"year": 2013, "month": 9, "day": 3}},
}
_BAD_EVENT = {
    "event_id": "bad",
    "customer_info": {"registration_date": {"year": 2013, "month": 13, "day": 3}},
}
_BAD_FIELD = "event.customer_info.registration_date.month"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process = ServerProcess(tmp_path_factory.mktemp("server") / "data").start()
    yield process.address
    process.kill()


def _run(tool: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [_BIN / tool, *arguments],
        check=False,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
    )


@dataclass(frozen=True)
class Grpcurl:
    """`grpcurl` against one server."""

    address: str

    def ask(self, *arguments: str) -> str:
        """The description of a service, method or message."""
        done = _run("grpcurl", "-plaintext", self.address, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def call(self, method: str, *messages: object) -> list[Any]:
        """The responses to a call with these messages."""
        done = self.try_call(method, *messages)
        assert done.returncode == 0, done.stderr
        return _read_messages(done.stdout)

    def try_call(self, method: str, *messages: object) -> subprocess.CompletedProcess[str]:
        """The output of a call that may fail."""
        stdin = "\n".join(json.dumps(message) for message in messages)
        return _run("grpcurl", "-plaintext", "-d", "@", self.address, method, stdin=stdin)


@pytest.fixture
def grpcurl(address: str) -> Grpcurl:
    return Grpcurl(address)


def _read_messages(text: str) -> list[Any]:
    """Concatenated messages, with the contract's JSON names in any version of the tool."""
    decoder = json.JSONDecoder(object_hook=lambda item: {_camel(name): value for name, value in item.items()})
    messages = []
    while text := text.lstrip():
        message, end = decoder.raw_decode(text)
        messages.append(message)
        text = text[end:]
    return messages


def _camel(name: str) -> str:
    return re.sub("_([a-z])", lambda match: match[1].upper(), name)


def test_the_services_are_listed(grpcurl: Grpcurl) -> None:
    assert set(grpcurl.ask("list").split()) == _SERVICES


def test_the_messages_are_described_with_their_rules(grpcurl: Grpcurl) -> None:
    described = grpcurl.ask("describe", "engagement.v1.CustomerInfo")
    assert "optional string balance = 4" in described
    assert "max_len:50000" in described
    assert ".engagement.v1.Date registration_date = 12" in described


@pytest.mark.parametrize(
    ("symbol", "described"),
    [
        ("engagement.v1.IngestService.RecordEvent", "rpc RecordEvent"),
        ("engagement.v1.CustomerInfo.balance", "optional string balance = 4"),
        ("engagement.v1.SubscribeEventsRequest.start", "oneof start"),
        ("engagement.v1.Outcome.OUTCOME_ACCEPTED", "OUTCOME_ACCEPTED = 1"),
        ("engagement.v1.Upload.State", "enum State"),
        ("buf.validate.field", "extend .google.protobuf.FieldOptions"),
        ("grpc.reflection.v1.ServerReflection", "rpc ServerReflectionInfo"),
    ],
)
def test_names_of_each_kind_are_described(grpcurl: Grpcurl, symbol: str, described: str) -> None:
    assert described in grpcurl.ask("describe", symbol)


def test_all_that_is_listed_is_described(grpcurl: Grpcurl) -> None:
    described = grpcurl.ask("describe")
    assert {service for service in _SERVICES if f"{service} is a service" in described} == _SERVICES


def test_an_unknown_name_is_a_sentence(grpcurl: Grpcurl) -> None:
    done = _run("grpcurl", "-plaintext", grpcurl.address, "describe", "engagement.v1.Nothing")
    assert done.returncode != 0
    assert "Symbol not found: engagement.v1.Nothing" in done.stderr


def test_an_event_is_recorded_and_found_by_the_printed_cursor(grpcurl: Grpcurl) -> None:
    (recorded,) = grpcurl.call(_RECORD_EVENT, {"account_id": "one", "event": _EVENT})
    assert recorded["result"]["outcome"] == "OUTCOME_ACCEPTED"
    cursor = recorded["result"]["cursor"]
    (found,) = grpcurl.call(_GET_EVENT, {"account_id": "one", "cursor": cursor})
    customer_info = found["event"]["event"]["customerInfo"]
    assert customer_info["balance"] == "-400.99"
    assert customer_info["registrationDate"] == {"year": 2013, "month": 9, "day": 3}
    assert found["event"]["cursor"] == cursor


def test_a_refused_event_is_explained_in_readable_details(grpcurl: Grpcurl) -> None:
    refused = grpcurl.try_call(_RECORD_EVENT, {"account_id": "one", "event": _BAD_EVENT})
    assert refused.returncode != 0
    assert "Code: InvalidArgument" in refused.stderr
    info, bad_request = (_read_messages(detail)[0] for detail in re.findall(r"\{.*\}", refused.stderr))
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert (info["reason"], info["domain"]) == ("FIELD_INVALID", "engagement.v1")
    assert info["metadata"]["field"] == _BAD_FIELD
    assert bad_request["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    (violation,) = bad_request["fieldViolations"]
    assert violation["field"] == _BAD_FIELD
    assert "less than or equal to 12" in violation["description"]


def test_an_upload_is_typed_in(grpcurl: Grpcurl) -> None:
    opened, *acks, finished = grpcurl.call(
        _UPLOAD_EVENTS,
        {"open": {"account_id": "upload", "upload_id": "u-1"}},
        {"chunk": {"sequence": 1, "events": [_EVENT]}},
        {"chunk": {"sequence": 2, "events": [_EVENT, _BAD_EVENT]}},
        {"finish": {"last_sequence": 2}},
    )
    assert opened["opened"]["maxChunkEvents"] == 500
    results = [result for ack in acks for result in ack["ack"].get("results", ())]
    assert [result["result"]["outcome"] for result in results] == ["OUTCOME_DUPLICATE", "OUTCOME_REJECTED"]
    upload = finished["finished"]["upload"]
    assert upload["state"] == "STATE_FINISHED"
    assert upload["tally"] == {"accepted": "1", "duplicate": "1", "rejected": "1"}


def test_events_are_listed_by_a_filter(grpcurl: Grpcurl) -> None:
    for number, status in enumerate(["Cancelled", "active", "CANCELLED"]):
        event = {"event_id": f"event-{number}", "customer_info": {"customer_status": status}}
        grpcurl.call(_RECORD_EVENT, {"account_id": "list", "event": event})
    wanted = {"customer_statuses": ["cancelled"]}
    (page,) = grpcurl.call(_LIST_EVENTS, {"account_id": "list", "filter": wanted, "newest_first": True})
    assert [stored["event"]["eventId"] for stored in page["events"]] == ["event-2", "event-0"]


@pytest.mark.parametrize(
    "service", ["", *sorted(name for name in _SERVICES if name.startswith("engagement"))]
)
def test_health_is_told_for_the_server_and_for_each_service(grpcurl: Grpcurl, service: str) -> None:
    assert grpcurl.call(_HEALTH, {"service": service}) == [{"status": "SERVING"}]


def test_the_health_of_an_unknown_service_is_not_found(grpcurl: Grpcurl) -> None:
    assert "Code: NotFound" in grpcurl.try_call(_HEALTH, {"service": "nobody"}).stderr


@pytest.mark.parametrize("version", ["grpc-v1", "grpc-v1alpha"])
def test_both_versions_of_reflection_serve_a_call(address: str, version: str) -> None:
    request = json.dumps({"accountId": version, "event": _EVENT})
    done = _buf_curl(address, _RECORD_EVENT, version=version, data=request)
    assert done.returncode == 0, done.stderr
    (recorded,) = _read_messages(done.stdout)
    assert recorded["result"]["outcome"] == "OUTCOME_ACCEPTED"


@pytest.mark.parametrize("version", ["grpc-v1", "grpc-v1alpha"])
def test_buf_lists_all_methods_by_reflection_alone(address: str, version: str) -> None:
    options = ("--http2-prior-knowledge", "--protocol", "grpc", "--reflect-protocol", version)
    done = _run("buf", "curl", *options, "--list-methods", f"http://{address}")
    assert done.returncode == 0, done.stderr
    assert {line.partition("/")[0] for line in done.stdout.split()} == _SERVICES
    assert _RECORD_EVENT in done.stdout


def _buf_curl(address: str, method: str, *, version: str, data: str) -> subprocess.CompletedProcess[str]:
    options = ("--http2-prior-knowledge", "--protocol", "grpc", "--reflect-protocol", version)
    return _run("buf", "curl", *options, "--data", data, f"http://{address}/{method}")
