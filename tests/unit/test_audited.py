"""Somebody has decided for each method whether the audit log is about it, and whom its requests name."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message_factory import GetMessageClass

from engagement import v1
from engagement.uuid7 import uuid7
from engagement_server.access.audit_kinds import Kind
from engagement_server.access.audited import AUDITED, erasure_id_of
from engagement_server.access.scopes import SCOPES, requirement_of
from tests.support.contract import Method, methods
from tests.support.filled_messages import fill

NOT_AUDITED = {
    "engagement.v1.EntityService.ListEntities": "names of statuses and types",
    "engagement.v1.IngestService.RecordEvent": "producers send, and see nothing",
    "engagement.v1.IngestService.RecordEvents": "producers send, and see nothing",
    "engagement.v1.IngestService.UploadEvents": "producers send, and see nothing",
    "engagement.v1.IngestService.ListUploads": "names of files, and numbers",
    "engagement.v1.ServerService.GetServerInfo": "the server's own",
    "engagement.v1.ServerService.GetIdentity": "the caller's own",
    "engagement.v1.ServerService.GetServerStats": "numbers",
    "engagement.v1.ServerService.ListAccounts": "accounts, and numbers",
}
BY_NAME = {method.full_name: method for method in methods()}


def test_somebody_has_decided_for_each_method() -> None:
    assert sorted([*AUDITED, *NOT_AUDITED]) == sorted(BY_NAME)


@pytest.mark.parametrize("name", AUDITED)
def test_what_needs_the_scope_erase_and_changes_something_waits_for_its_line(name: str) -> None:
    method: Method = BY_NAME[name]
    changes = method.GetOptions().idempotency_level != MethodOptions.NO_SIDE_EFFECTS
    erases = changes and SCOPES["erase"] in requirement_of(method).any_of
    assert AUDITED[name].is_safe is not erases
    assert (AUDITED[name].kind == Kind.ERASURES) is erases
    assert (AUDITED[name].kind in {Kind.ERASURES, Kind.CHANGES}) is changes


@pytest.mark.parametrize("name", AUDITED)
def test_a_request_names_the_ids_that_are_in_it(name: str) -> None:
    request: Any = GetMessageClass(BY_NAME[name].input_type)()
    assert [*AUDITED[name].ids(request)] == []
    fill(request, "somebody", account="acme")
    for field, others in (("subject", "erasure_id"), ("event_id", "cursor")):  # of one choice
        if hasattr(request, field) and hasattr(request, others):
            request.ClearField(others)
            if field == "subject":
                request.subject.consumer_id = "somebody"
            else:
                request.event_id = "somebody"
    found = set(AUDITED[name].ids(request))
    assert found <= {"somebody"}
    named = {"subject", "subjects", "subject_id", "id", "consumer_id", "event_id", "event_ids", "filter"}
    has_ids = bool(named & {field.name for field in BY_NAME[name].input_type.fields})
    assert bool(found) is has_ids


def test_every_id_of_an_erasure_is_named() -> None:
    request = v1.EraseConsumerRequest(
        subjects=[v1.Subject(consumer_id="a"), v1.Subject(customer_id="b"), v1.Subject(conversation_id="c")],
        event_ids=["d"],
    )
    audited = AUDITED["engagement.v1.PrivacyService.EraseConsumer"]
    assert [*audited.ids(request)] == ["a", "b", "c", "d"]
    assert audited.begins(request)
    request.validate_only = True
    assert not audited.begins(request)


def test_every_id_of_a_filter_is_named() -> None:
    request = v1.ListEventsRequest(
        filter=v1.EventFilter(
            subject_ids=["a"], consumer_ids=["b"], customer_ids=["c"], conversation_ids=["d"], text="words"
        )
    )
    assert [*AUDITED["engagement.v1.EventService.ListEvents"].ids(request)] == ["a", "b", "c", "d"]


def test_an_erasure_is_named_by_an_id_that_a_server_has_made_and_by_nothing_else() -> None:
    erasure_id = uuid7()
    assert erasure_id_of(v1.LiftSuppressionRequest(erasure_id=erasure_id)) == erasure_id
    assert erasure_id_of(v1.EraseConsumerResponse(erasure=v1.Erasure(erasure_id=erasure_id))) == erasure_id
    for message in (
        v1.GetErasureRequest(erasure_id="ada@example.com"),
        v1.GetPersonRequest(id=erasure_id),
        b"",
    ):
        assert erasure_id_of(message) == ""
