"""Every rule for events holds everywhere: in the Python validator, behind the quick check, and in the server.

The clients of the other languages run the same cases.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf import json_format

from clients.vectors.cases.repetition import expand
from engagement import limits, v1
from engagement.rules import check_events, check_limits, is_plainly_valid
from tests.support.calls import ACCEPTED, REJECTED, one, some
from tests.support.refused_call import expect_refused
from tests.support.vectors import Json, cases, name_of

if TYPE_CHECKING:
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

all_rules = pytest.mark.parametrize("case", cases("rules.json"), ids=name_of)


def broken_event(case: Json) -> v1.Event:
    return json_format.ParseDict(expand(case["event"]), v1.Event())


def valid_event(case: Json) -> v1.Event:
    return json_format.ParseDict(expand(case["valid_event"]), v1.Event())


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def breaks_rules_of_the_server(event: v1.Event) -> bool:
    return any(check_limits(event, size_bytes=event.ByteSize(), now_ms=now_ms()))


def assert_breaks(case: Json, field: str, rule: str) -> None:
    """The path of a case may end where the key of a map begins."""
    assert rule == case["rule"]
    assert field.startswith(case["field"]) if case["field"].endswith("[") else field == case["field"]


@all_rules
def test_the_validator_finds_the_broken_rule_alone(case: Json) -> None:
    broken, valid = check_events([broken_event(case), valid_event(case)], now_ms=now_ms())
    found = [(each.field, each.rule) for each in broken if not each.rule.startswith("server.")]
    assert len(found) == 1, "if it breaks other rules, see INSTEAD in clients/vectors/cases/rules.py"
    assert_breaks(case, *found[0])
    assert [each for each in valid if not each.rule.startswith("server.")] == []


@all_rules
def test_the_quick_check_knows_the_rule(case: Json) -> None:
    broken, valid = broken_event(case), valid_event(case)
    assert not is_plainly_valid(broken, broken.SerializeToString(), now_ms=now_ms())
    # So the rule keeps the event from being cleared, and nothing else about the example.
    if valid.ByteSize() <= limits.MAX_TEXT_CHARACTERS and not breaks_rules_of_the_server(valid):
        assert is_plainly_valid(valid, valid.SerializeToString(), now_ms=now_ms())


@all_rules
async def test_the_server_holds_the_rule_in_every_call(case: Json, ingest: IngestServiceAsyncStub) -> None:
    broken, valid = broken_event(case), valid_event(case)
    refused = await expect_refused(ingest.RecordEvent(one(broken)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    field, rule, _ = refused.violations[0]
    assert_breaks(case, field.removeprefix("event."), rule)

    response = await ingest.RecordEvents(some(broken, valid, allow_partial=True))
    results = response.results
    assert results[0].outcome == REJECTED
    assert_breaks(case, results[0].error.violations[0].field, results[0].error.violations[0].rule)
    assert (results[1].outcome == ACCEPTED) != breaks_rules_of_the_server(valid)
