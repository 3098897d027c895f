"""Conversations of unary calls."""

from __future__ import annotations

from clients.vectors.cases.script import (
    BROKEN_RULE,
    OVERLOADED,
    Json,
    event,
    events,
    receive,
    send,
    status,
    stored,
    unary,
)


def cases() -> list[Json]:
    """All conversations of unary calls."""
    got_new_id = receive(event={**event(), "eventId": "$uuid7:id"})
    duplicate = {"eventId": "$uuid7:id", "outcome": "OUTCOME_DUPLICATE", "cursor": "c1"}
    accepted = {"eventId": "e1", "outcome": "OUTCOME_ACCEPTED", "cursor": "c1"}
    answered = [receive(event=event("e1")), send(result=accepted)]
    lost = unary("RecordEvent", got_new_id, {"status": OVERLOADED})
    bare = {"record_event": {"event": event("e1")}}
    return [
        {
            "name": "record-retries-with-the-same-id",
            "rules": ["C4", "C8"],
            "call": {"record_event": {"event": event()}},
            "server": [lost, lost, unary("RecordEvent", got_new_id, send(result=duplicate))],
            "expected": {"result": {"outcome": "OUTCOME_DUPLICATE", "cursor": "c1"}},
        },
        {
            "name": "record-gives-up-after-five-attempts",
            "rules": ["C4", "E1"],
            "call": {"record_event": {"event": event()}},
            "server": [lost] * 5,
            "expected": {"error": {"kind": "unavailable", "reason": "OVERLOADED"}},
        },
        {
            "name": "record-honors-the-pushback",
            "rules": ["C4"],
            "call": bare,
            "server": [
                unary(
                    "RecordEvent", receive(event=event("e1")), {"status": {**OVERLOADED, "pushback_ms": 400}}
                ),
                unary("RecordEvent", *answered, not_before_seconds=0.35),
            ],
            "expected": {"result": accepted},
        },
        {
            "name": "record-does-not-retry-if-the-server-forbids-it",
            "rules": ["C4"],
            "call": bare,
            "server": [
                unary(
                    "RecordEvent", receive(event=event("e1")), {"status": {**OVERLOADED, "pushback_ms": -1}}
                )
            ],
            "expected": {"error": {"kind": "unavailable", "reason": "OVERLOADED"}},
        },
        {
            "name": "record-refused",
            "rules": ["E1", "E2"],
            "call": bare,
            "server": [
                unary(
                    "RecordEvent",
                    receive(event=event("e1")),
                    status("INVALID_ARGUMENT", message="balance: too long", reason="FIELD_INVALID"),
                )
            ],
            "expected": {"error": {"kind": "invalid_argument", "reason": "FIELD_INVALID"}},
        },
        {
            "name": "record-does-not-retry-at-a-node-without-the-partition",
            "rules": ["C4", "E6"],
            "call": bare,
            "server": [
                unary(
                    "RecordEvent",
                    receive(event=event("e1")),
                    status("FAILED_PRECONDITION", reason="PARTITION_NOT_SERVED"),
                )
            ],
            "expected": {"error": {"kind": "precondition", "reason": "PARTITION_NOT_SERVED"}},
        },
        {
            "name": "record-has-a-deadline",
            "rules": ["C5"],
            "call": bare,
            "server": [unary("RecordEvent", receive(event=event("e1")), {"silence": True})],
            "expected": {"error": {"kind": "deadline", "reason": ""}},
        },
        {
            "name": "record-without-token",
            "rules": ["C2"],
            "call": bare,
            "server": [unary("RecordEvent", *answered, metadata={"authorization": None})],
            "expected": {"result": accepted},
        },
        {
            "name": "record-with-token",
            "rules": ["C2"],
            "token": "secret",
            "call": bare,
            "server": [unary("RecordEvent", *answered, metadata={"authorization": "Bearer secret"})],
            "expected": {"result": accepted},
        },
        {
            "name": "record-over-tls-with-token",
            "rules": ["C1", "C2"],
            "tls": True,
            "token": "secret",
            "call": bare,
            "server": [unary("RecordEvent", *answered, metadata={"authorization": "Bearer secret"})],
            "expected": {"result": accepted},
        },
        {
            "name": "record-events-with-allow-partial",
            "rules": ["C8"],
            "call": {"record_events": {"events": [event("e1"), event()], "allow_partial": True}},
            "server": [
                unary(
                    "RecordEvents",
                    receive(events=[event("e1"), {**event(), "eventId": "$uuid7:id"}], allowPartial=True),
                    send(
                        results=[
                            accepted,
                            {
                                "index": 1,
                                "eventId": "$uuid7:id",
                                "outcome": "OUTCOME_REJECTED",
                                "error": BROKEN_RULE,
                            },
                        ],
                        tally={"accepted": "1", "rejected": "1"},
                    ),
                )
            ],
            "expected": {"tally": {"accepted": 1, "rejected": 1}},
        },
        {
            "name": "record-events-refused",
            "rules": ["E2"],
            "call": {"record_events": {"events": events("e1", "e2")}},
            "server": [
                unary(
                    "RecordEvents",
                    receive(events=events("e1", "e2"), allowPartial=None),
                    status("ALREADY_EXISTS", message="e2 is taken", reason="EVENT_ID_CONFLICT"),
                )
            ],
            "expected": {"error": {"kind": "conflict", "reason": "EVENT_ID_CONFLICT"}},
        },
        {
            "name": "list-continues-past-an-empty-page",
            "rules": [],
            "call": {"list_events": {}},
            "server": [
                unary(
                    "ListEvents",
                    receive(pageSize=2, pageToken=None),
                    send(events=[stored("e1", "c1"), stored("e2", "c2")], nextPageToken="t1"),
                ),
                unary("ListEvents", receive(pageToken="t1"), send(nextPageToken="t2")),
                unary("ListEvents", receive(pageToken="t2"), send(events=[stored("e3", "c3")])),
            ],
            "expected": {"event_ids": ["e1", "e2", "e3"]},
        },
    ]
