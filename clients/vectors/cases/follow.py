"""Conversations of followers, which resume a subscription after every interruption."""

from __future__ import annotations

from clients.vectors.cases.script import LOST, OVERLOADED, Json, receive, send, status, stored


def started(cursor: str = "c0", *, heartbeat: str = "15s") -> Json:
    """The first message of a subscription."""
    return send(cursor=cursor, started={"heartbeatInterval": heartbeat, "maxBatchEvents": 500})


def batch(cursor: str, *members: tuple[str, str]) -> Json:
    """A batch of events, each given as its id and cursor."""
    return send(cursor=cursor, batch={"events": [stored(*member) for member in members]})


def subscribe(*steps: Json, **options: Json) -> Json:
    """One stream of the subscription."""
    return {"method": "SubscribeEvents", **options, "steps": list(steps)}


def follow(request: Json, **more: Json) -> Json:
    """The client's side of the subscription."""
    return {"follow": {"request": request, **more}}


def step(event_id: str, cursor: str) -> Json:
    """An event that the caller received, and the follower's cursor after it."""
    return {"event_id": event_id, "cursor": cursor}


_FROM_START = {"earliest": True}
_TO_TAIL = {"earliest": True, "stopAtTail": True}


def cases() -> list[Json]:
    """All conversations of followers."""
    from_start = receive(earliest=True, afterCursor=None)
    to_tail = receive(earliest=True, afterCursor=None, stopAtTail=True)

    def after(cursor: str) -> Json:
        return receive(afterCursor=cursor, earliest=None, latest=None, startTime=None)

    return [
        {
            "name": "follow-tracks-the-cursor",
            "rules": ["F2", "F6", "F9"],
            "call": follow(_TO_TAIL),
            "server": [
                subscribe(
                    to_tail,
                    started(),
                    batch("c3", ("e1", "c1"), ("e2", "c2")),
                    send(cursor="c4", progress={"lagEvents": "1"}),
                    batch("c5", ("e3", "c5")),
                    send(cursor="c6", caughtUp={}),
                )
            ],
            "expected": {
                "steps": [step("e1", "c1"), step("e2", "c3"), step("e3", "c5")],
                "cursor": "c6",
                "erasures": [],
            },
        },
        {
            "name": "follow-stops-within-a-batch",
            "rules": ["F2"],
            "call": follow(_FROM_START, take=1),
            "server": [
                subscribe(from_start, started(), batch("c3", ("e1", "c1"), ("e2", "c2")), {"silence": True})
            ],
            "expected": {"steps": [step("e1", "c1")], "cursor": "c1", "erasures": []},
        },
        {
            "name": "follow-starts-after-a-cursor",
            "rules": ["F1"],
            "call": follow({"afterCursor": "c7"}, take=1),
            "server": [subscribe(after("c7"), started("c7"), batch("c8", ("e8", "c8")), {"silence": True})],
            "expected": {"steps": [step("e8", "c8")], "cursor": "c8", "erasures": []},
        },
        {
            "name": "follow-starts-at-latest",
            "rules": ["F1"],
            "call": follow({"latest": True}, take=1),
            "server": [
                subscribe(
                    receive(latest=True, earliest=None, afterCursor=None, startTime=None),
                    started("c7"),
                    batch("c8", ("e8", "c8")),
                    {"silence": True},
                )
            ],
            "expected": {"steps": [step("e8", "c8")], "cursor": "c8", "erasures": []},
        },
        {
            "name": "follow-starts-at-a-time",
            "rules": ["F1"],
            "call": follow({"startTime": "2026-01-02T03:04:05.006Z"}, take=1),
            "server": [
                subscribe(
                    receive(
                        startTime="2026-01-02T03:04:05.006Z", earliest=None, latest=None, afterCursor=None
                    ),
                    started("c7"),
                    batch("c8", ("e8", "c8")),
                    {"silence": True},
                )
            ],
            "expected": {"steps": [step("e8", "c8")], "cursor": "c8", "erasures": []},
        },
        {
            "name": "follow-keeps-its-filter",
            "rules": ["F3"],
            "call": follow(
                {**_FROM_START, "filter": {"consumerIds": ["a", "b"], "authenticated": False}}, take=1
            ),
            "server": [
                subscribe(
                    receive(earliest=True, filter={"consumerIds": ["a", "b"], "authenticated": False}),
                    started(),
                    {"status": LOST},
                ),
                subscribe(
                    receive(afterCursor="c0", filter={"consumerIds": ["a", "b"], "authenticated": False}),
                    started(),
                    batch("c1", ("e1", "c1")),
                    {"silence": True},
                ),
            ],
            "expected": {"steps": [step("e1", "c1")], "cursor": "c1", "erasures": []},
        },
        {
            "name": "follow-resumes-after-a-lost-connection",
            "rules": ["F3"],
            "call": follow(_TO_TAIL),
            "server": [
                subscribe(to_tail, started(), batch("c3", ("e1", "c1"), ("e2", "c2")), {"status": LOST}),
                subscribe(
                    after("c3"), started("c3"), batch("c4", ("e3", "c4")), send(cursor="c4", caughtUp={})
                ),
            ],
            "expected": {
                "steps": [step("e1", "c1"), step("e2", "c3"), step("e3", "c4")],
                "cursor": "c4",
                "erasures": [],
            },
        },
        {
            "name": "follow-resumes-after-progress",
            "rules": ["F2", "F3"],
            "call": follow(_TO_TAIL),
            "server": [
                subscribe(
                    to_tail,
                    started(),
                    send(cursor="c9", progress={"lagEvents": "4"}),
                    {"status": OVERLOADED},
                ),
                subscribe(after("c9"), started("c9"), send(cursor="c9", caughtUp={})),
            ],
            "expected": {"steps": [], "cursor": "c9", "erasures": []},
        },
        {
            "name": "follow-resumes-after-closing",
            "rules": ["F6"],
            "call": follow(_TO_TAIL),
            "server": [
                subscribe(
                    to_tail,
                    started(),
                    batch("c1", ("e1", "c1")),
                    send(cursor="c2", closing={"reason": "REASON_DRAINING", "reconnectDelay": "0.5s"}),
                ),
                subscribe(
                    after("c2"),
                    started("c2"),
                    batch("c3", ("e3", "c3")),
                    send(cursor="c3", caughtUp={}),
                    not_before_seconds=0.45,
                ),
            ],
            "expected": {"steps": [step("e1", "c1"), step("e3", "c3")], "cursor": "c3", "erasures": []},
        },
        {
            "name": "follow-resumes-after-closing-for-any-reason",
            "rules": ["F6"],
            "call": follow(_TO_TAIL),
            "server": [
                subscribe(
                    to_tail,
                    started(),
                    batch("c1", ("e1", "c1")),
                    send(cursor="c1", closing={"reason": "REASON_NOT_CURRENT", "reconnectDelay": "0.1s"}),
                ),
                subscribe(
                    after("c1"),
                    started("c1"),
                    batch("c2", ("e2", "c2")),
                    # A reason that this version of the contract does not define.
                    send(cursor="c2", closing={"reason": 1000, "reconnectDelay": "0.1s"}),
                ),
                subscribe(
                    after("c2"), started("c2"), batch("c3", ("e3", "c3")), send(cursor="c3", caughtUp={})
                ),
            ],
            "expected": {
                "steps": [step("e1", "c1"), step("e2", "c2"), step("e3", "c3")],
                "cursor": "c3",
                "erasures": [],
            },
        },
        {
            "name": "follow-resumes-after-an-end-without-closing",
            "rules": ["F6"],
            "call": follow(_FROM_START, take=2),
            "server": [
                subscribe(from_start, started(), batch("c1", ("e1", "c1"))),
                subscribe(after("c1"), started("c1"), batch("c2", ("e2", "c2")), {"silence": True}),
            ],
            "expected": {"steps": [step("e1", "c1"), step("e2", "c2")], "cursor": "c2", "erasures": []},
        },
        {
            "name": "follow-resumes-after-silence",
            "rules": ["F5"],
            "call": follow(_FROM_START, take=2),
            "server": [
                subscribe(
                    from_start, started(heartbeat="0.4s"), batch("c1", ("e1", "c1")), {"silence": True}
                ),
                subscribe(after("c1"), started("c1"), batch("c2", ("e2", "c2")), {"silence": True}),
            ],
            "expected": {"steps": [step("e1", "c1"), step("e2", "c2")], "cursor": "c2", "erasures": []},
        },
        {
            "name": "follow-resumes-after-a-broken-connection",
            "rules": ["E4", "F3"],
            "call": follow(_FROM_START, take=1),
            "server": [
                subscribe(from_start, started(), status("INTERNAL", message="RST_STREAM")),
                subscribe(after("c0"), started(), batch("c1", ("e1", "c1")), {"silence": True}),
            ],
            "expected": {"steps": [step("e1", "c1")], "cursor": "c1", "erasures": []},
        },
        {
            "name": "follow-resumes-after-a-remote-cancellation",
            "rules": ["E4", "E5", "F3"],
            "call": follow(_FROM_START, take=1),
            "server": [
                subscribe(from_start, started(), status("CANCELLED", message="by something in between")),
                subscribe(after("c0"), started(), batch("c1", ("e1", "c1")), {"silence": True}),
            ],
            "expected": {"steps": [step("e1", "c1")], "cursor": "c1", "erasures": []},
        },
        {
            "name": "follow-ends-on-an-internal-error",
            "rules": ["E4"],
            "call": follow(_FROM_START, take=1),
            "server": [subscribe(from_start, started(), status("INTERNAL", reason="INTERNAL"))],
            "expected": {
                "steps": [],
                "cursor": "c0",
                "erasures": [],
                "error": {"kind": "internal", "reason": "INTERNAL"},
            },
        },
        {
            "name": "follow-reports-erasures-in-order",
            "rules": ["F7"],
            "call": follow(_TO_TAIL),
            "server": [
                subscribe(
                    to_tail,
                    started(),
                    batch("c1", ("e1", "c1")),
                    send(cursor="c2", erasureNotice={"erasureId": "erasure-1", "erasedCursors": ["c1"]}),
                    {"status": LOST},
                ),
                subscribe(
                    after("c2"),
                    started("c2"),
                    send(cursor="c3", erasureNotice={"erasureId": "erasure-2", "erasedCursors": []}),
                    batch("c4", ("e2", "c4")),
                    send(cursor="c4", caughtUp={}),
                ),
            ],
            "expected": {
                "steps": [step("e1", "c1"), step("e2", "c4")],
                "cursor": "c4",
                "erasures": ["erasure-1", "erasure-2"],
            },
        },
        {
            "name": "follow-ends-on-an-expired-cursor",
            "rules": ["E2", "F3"],
            "call": follow({"afterCursor": "c1"}),
            "server": [
                subscribe(
                    after("c1"),
                    status("FAILED_PRECONDITION", reason="CURSOR_EXPIRED", metadata={"earliestCursor": "c5"}),
                )
            ],
            "expected": {
                "steps": [],
                "cursor": "c1",
                "erasures": [],
                "error": {"kind": "precondition", "reason": "CURSOR_EXPIRED"},
            },
        },
        {
            "name": "follow-ends-at-a-node-without-the-partition",
            "rules": ["E4", "E6", "F3"],
            "call": follow(_FROM_START),
            "server": [
                subscribe(
                    from_start,
                    started(),
                    batch("c1", ("e1", "c1")),
                    {"status": LOST},
                ),
                subscribe(after("c1"), status("FAILED_PRECONDITION", reason="PARTITION_NOT_SERVED")),
            ],
            "expected": {
                "steps": [step("e1", "c1")],
                "cursor": "c1",
                "erasures": [],
                "error": {"kind": "precondition", "reason": "PARTITION_NOT_SERVED"},
            },
        },
        {
            "name": "follow-gives-up",
            "rules": ["F8"],
            "max_outage_seconds": 1,
            "call": follow(_FROM_START),
            "server": [subscribe(from_start, {"status": OVERLOADED}, repeats=True)],
            "expected": {
                "steps": [],
                "cursor": "",
                "erasures": [],
                "error": {"kind": "unavailable", "reason": "OVERLOADED"},
            },
        },
    ]
