"""Errors as statuses: each family has its code, and the details fit into the metadata."""

from __future__ import annotations

from urllib.parse import quote

import grpc
import pytest
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from engagement.rules import Violation
from engagement_server.api.grpc.status import MAX_DETAILS_BYTES, Metadata, describe, describe_internal
from engagement_server.errors import (
    DrainingError,
    EventIdConflictError,
    EventNotFoundError,
    FieldInvalidError,
    LogEpochChangedError,
    OverloadedError,
    PartitionNotServedError,
    RequestError,
    StoreUnavailableError,
    UploadTakenOverError,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10).flatmap(
    lambda text: st.sampled_from([text, text * 30, text * 5_000])
)
violations = st.builds(Violation, texts.map(lambda text: text[:256]), st.just("string.max_len"), texts)


def details_of(trailing: Metadata) -> status_pb2.Status:
    serialized = dict(trailing)["grpc-status-details-bin"]
    assert isinstance(serialized, bytes)
    return status_pb2.Status.FromString(serialized)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FieldInvalidError([Violation("f", "r", "d")]), grpc.StatusCode.INVALID_ARGUMENT),
        (EventIdConflictError("a"), grpc.StatusCode.ALREADY_EXISTS),
        (LogEpochChangedError(), grpc.StatusCode.FAILED_PRECONDITION),
        (
            PartitionNotServedError(account_id="acme", partition=6, partition_count=8),
            grpc.StatusCode.FAILED_PRECONDITION,
        ),
        (UploadTakenOverError("u"), grpc.StatusCode.ABORTED),
        (EventNotFoundError(eventId="a"), grpc.StatusCode.NOT_FOUND),
        (StoreUnavailableError("disk full"), grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_each_family_has_its_code_and_its_reason(error: RequestError, code: grpc.StatusCode) -> None:
    given_code, message, trailing = describe(error)
    status = details_of(trailing)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (given_code, status.code, status.message) == (code, code.value[0], message)
    assert (info.reason, info.domain) == (error.reason, "engagement.v1")
    assert dict(info.metadata) == error.metadata


@pytest.mark.parametrize("error", [OverloadedError(), DrainingError(), StoreUnavailableError("busy")])
def test_who_may_retry_is_told_when_twice(error: RequestError) -> None:
    _, _, trailing = describe(error)
    retry = error_details_pb2.RetryInfo()
    assert details_of(trailing).details[1].Unpack(retry)
    assert retry.retry_delay == duration_pb2.Duration(seconds=1)
    assert dict(trailing)["grpc-retry-pushback-ms"] == "1000"


@given(found=st.lists(violations, min_size=1, max_size=40))
def test_details_of_any_violations_fit(found: list[Violation]) -> None:
    _, message, trailing = describe(FieldInvalidError(found))
    status = details_of(trailing)
    assert status.ByteSize() <= MAX_DETAILS_BYTES
    assert status.ByteSize() * 4 / 3 + len(quote(message)) < 7.5 * 1024
    listed = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(listed)
    assert [each.field for each in listed.field_violations] == [
        each.field for each in found[: len(listed.field_violations)]
    ]
    assert 1 <= len(listed.field_violations) <= 32


def test_an_unforeseen_failure_shows_where_its_cause_is_and_nothing_else() -> None:
    code, message, trailing = describe_internal("request-1")
    assert code is grpc.StatusCode.INTERNAL
    assert "request-1" in message
    assert "INTERNAL" in str(details_of(trailing))
