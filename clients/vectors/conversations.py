"""The cases of conversations.json, in few words."""

from __future__ import annotations

from typing import Any

Json = Any  # what json.dumps takes

_OPENED = {
    "maxChunkEvents": 500,
    "maxChunkBytes": "8323072",
    "maxUnackedChunks": 8,
    "heartbeatInterval": "15s",
}
_OVERLOADED = {"code": "UNAVAILABLE", "message": "try later", "reason": "OVERLOADED"}
_LOST = {"code": "UNAVAILABLE", "message": "the connection is lost"}
_BROKEN_RULE = {
    "reason": "ERROR_REASON_FIELD_INVALID",
    "message": "customer_info.balance: must be at most 50000 characters",
    "violations": [
        {
            "field": "customer_info.balance",
            "rule": "string.max_len",
            "description": "must be at most 50000 characters",
        }
    ],
    "violationsTotal": 1,
}


def event(event_id: str = "", *, balance: str = "1") -> Json:
    """A small event."""
    return {**({"eventId": event_id} if event_id else {}), "customerInfo": {"balance": balance}}


def events(*ids: str) -> list[Json]:
    """Small events with these ids."""
    return [event(event_id) for event_id in ids]


def unary(method: str, *steps: Json, **options: Json) -> Json:
    """One call with one answer."""
    return {"method": method, **options, "steps": list(steps)}


def receive(**message: Json) -> Json:
    """What the server must get; null stands for an absent member."""
    return {"receive": message}


def send(**message: Json) -> Json:
    """What the server says."""
    return {"send": message}


def status(code: str, **more: Json) -> Json:
    """How the server ends a call."""
    return {"status": {"code": code, **more}}


# --- single calls


def _record_cases() -> list[Json]:
    got_new_id = receive(event={**event(), "eventId": "$uuid7:id"})
    duplicate = {"eventId": "$uuid7:id", "outcome": "OUTCOME_DUPLICATE", "cursor": "c1"}
    accepted = {"eventId": "e1", "outcome": "OUTCOME_ACCEPTED", "cursor": "c1"}
    answered = [receive(event=event("e1")), send(result=accepted)]
    lost = unary("RecordEvent", got_new_id, {"status": _OVERLOADED})
    bare = {"record_event": {"event": event("e1")}}
    return [
        {
            "name": "record-again-with-the-same-id",
            "rules": ["C4", "C8"],
            "call": {"record_event": {"event": event()}},
            "server": [lost, lost, unary("RecordEvent", got_new_id, send(result=duplicate))],
            "expected": {"result": {"outcome": "OUTCOME_DUPLICATE", "cursor": "c1"}},
        },
        {
            "name": "record-five-times-and-no-more",
            "rules": ["C4", "E1"],
            "call": {"record_event": {"event": event()}},
            "server": [lost] * 5,
            "expected": {"error": {"kind": "unavailable", "reason": "OVERLOADED"}},
        },
        {
            "name": "record-waits-as-long-as-the-server-says",
            "rules": ["C4"],
            "call": bare,
            "server": [
                unary(
                    "RecordEvent", receive(event=event("e1")), {"status": {**_OVERLOADED, "pushback_ms": 400}}
                ),
                unary("RecordEvent", *answered, not_before_seconds=0.39),
            ],
            "expected": {"result": accepted},
        },
        {
            "name": "record-not-again-where-the-server-forbids-it",
            "rules": ["C4"],
            "call": bare,
            "server": [
                unary(
                    "RecordEvent", receive(event=event("e1")), {"status": {**_OVERLOADED, "pushback_ms": -1}}
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
            "name": "record-events-in-part",
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
                                "error": _BROKEN_RULE,
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
            "name": "list-over-an-empty-page",
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


# --- following


def stored(event_id: str, cursor: str) -> Json:
    """A stored event."""
    return {"event": event(event_id), "cursor": cursor, "receiveTime": "2026-01-02T03:04:05Z"}


def started(cursor: str = "c0", *, heartbeat: str = "15s") -> Json:
    """The first message of a subscription."""
    return send(cursor=cursor, started={"heartbeatInterval": heartbeat, "maxBatchEvents": 500})


def batch(cursor: str, *members: tuple[str, str]) -> Json:
    """A batch of events, each an id and a cursor."""
    return send(cursor=cursor, batch={"events": [stored(*member) for member in members]})


def subscribe(*steps: Json, **options: Json) -> Json:
    """One stream of a subscription."""
    return {"method": "SubscribeEvents", **options, "steps": list(steps)}


def follow(request: Json, **more: Json) -> Json:
    """The client's side of a subscription."""
    return {"follow": {"request": request, **more}}


def step(event_id: str, cursor: str) -> Json:
    """An event that was handed out, and the follower's cursor behind it."""
    return {"event_id": event_id, "cursor": cursor}


_FROM_START = {"earliest": True}
_TO_TAIL = {"earliest": True, "stopAtTail": True}


def _follow_cases() -> list[Json]:
    from_start = receive(earliest=True, afterCursor=None)
    to_tail = receive(earliest=True, afterCursor=None, stopAtTail=True)

    def behind(cursor: str) -> Json:
        return receive(afterCursor=cursor, earliest=None, latest=None, startTime=None)

    return [
        {
            "name": "follow-cursors",
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
            "name": "follow-starts-behind-a-cursor",
            "rules": ["F1"],
            "call": follow({"afterCursor": "c7"}, take=1),
            "server": [subscribe(behind("c7"), started("c7"), batch("c8", ("e8", "c8")), {"silence": True})],
            "expected": {"steps": [step("e8", "c8")], "cursor": "c8", "erasures": []},
        },
        {
            "name": "follow-starts-with-the-latest",
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
            "name": "follow-with-a-filter",
            "rules": ["F3"],
            "call": follow(
                {**_FROM_START, "filter": {"consumerIds": ["a", "b"], "authenticated": False}}, take=1
            ),
            "server": [
                subscribe(
                    receive(earliest=True, filter={"consumerIds": ["a", "b"], "authenticated": False}),
                    started(),
                    {"status": _LOST},
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
            "name": "follow-through-a-lost-connection",
            "rules": ["F3"],
            "call": follow(_TO_TAIL),
            "server": [
                subscribe(to_tail, started(), batch("c3", ("e1", "c1"), ("e2", "c2")), {"status": _LOST}),
                subscribe(
                    behind("c3"), started("c3"), batch("c4", ("e3", "c4")), send(cursor="c4", caughtUp={})
                ),
            ],
            "expected": {
                "steps": [step("e1", "c1"), step("e2", "c3"), step("e3", "c4")],
                "cursor": "c4",
                "erasures": [],
            },
        },
        {
            "name": "follow-behind-progress",
            "rules": ["F2", "F3"],
            "call": follow(_TO_TAIL),
            "server": [
                subscribe(
                    to_tail,
                    started(),
                    send(cursor="c9", progress={"lagEvents": "4"}),
                    {"status": _OVERLOADED},
                ),
                subscribe(behind("c9"), started("c9"), send(cursor="c9", caughtUp={})),
            ],
            "expected": {"steps": [], "cursor": "c9", "erasures": []},
        },
        {
            "name": "follow-through-closing",
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
                    behind("c2"),
                    started("c2"),
                    batch("c3", ("e3", "c3")),
                    send(cursor="c3", caughtUp={}),
                    not_before_seconds=0.49,
                ),
            ],
            "expected": {"steps": [step("e1", "c1"), step("e3", "c3")], "cursor": "c3", "erasures": []},
        },
        {
            "name": "follow-through-an-end-without-closing",
            "rules": ["F6"],
            "call": follow(_FROM_START, take=2),
            "server": [
                subscribe(from_start, started(), batch("c1", ("e1", "c1"))),
                subscribe(behind("c1"), started("c1"), batch("c2", ("e2", "c2")), {"silence": True}),
            ],
            "expected": {"steps": [step("e1", "c1"), step("e2", "c2")], "cursor": "c2", "erasures": []},
        },
        {
            "name": "follow-through-silence",
            "rules": ["F5"],
            "call": follow(_FROM_START, take=2),
            "server": [
                subscribe(
                    from_start, started(heartbeat="0.4s"), batch("c1", ("e1", "c1")), {"silence": True}
                ),
                subscribe(behind("c1"), started("c1"), batch("c2", ("e2", "c2")), {"silence": True}),
            ],
            "expected": {"steps": [step("e1", "c1"), step("e2", "c2")], "cursor": "c2", "erasures": []},
        },
        {
            "name": "follow-through-a-broken-connection",
            "rules": ["E4", "F3"],
            "call": follow(_FROM_START, take=1),
            "server": [
                subscribe(from_start, started(), status("INTERNAL", message="RST_STREAM")),
                subscribe(behind("c0"), started(), batch("c1", ("e1", "c1")), {"silence": True}),
            ],
            "expected": {"steps": [step("e1", "c1")], "cursor": "c1", "erasures": []},
        },
        {
            "name": "follow-through-a-cancellation-from-afar",
            "rules": ["E4", "E5", "F3"],
            "call": follow(_FROM_START, take=1),
            "server": [
                subscribe(from_start, started(), status("CANCELLED", message="by something in between")),
                subscribe(behind("c0"), started(), batch("c1", ("e1", "c1")), {"silence": True}),
            ],
            "expected": {"steps": [step("e1", "c1")], "cursor": "c1", "erasures": []},
        },
        {
            "name": "follow-ends-where-the-server-fails",
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
            "name": "follow-tells-erasures-in-their-place",
            "rules": ["F7"],
            "call": follow(_TO_TAIL),
            "server": [
                subscribe(
                    to_tail,
                    started(),
                    batch("c1", ("e1", "c1")),
                    send(cursor="c2", erasureNotice={"erasureId": "erasure-1", "erasedCursors": ["c1"]}),
                    {"status": _LOST},
                ),
                subscribe(
                    behind("c2"),
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
            "name": "follow-expired-cursor",
            "rules": ["E2", "F3"],
            "call": follow({"afterCursor": "c1"}),
            "server": [
                subscribe(
                    behind("c1"),
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
            "name": "follow-gives-up",
            "rules": ["F8"],
            "max_outage_seconds": 1,
            "call": follow(_FROM_START),
            "server": [subscribe(from_start, {"status": _OVERLOADED}, repeats=True)],
            "expected": {
                "steps": [],
                "cursor": "",
                "erasures": [],
                "error": {"kind": "unavailable", "reason": "OVERLOADED"},
            },
        },
    ]


# --- uploading


def opened(committed_through: int = 0, **changes: Json) -> Json:
    """The first message to an upload."""
    sequence = {"committedThrough": str(committed_through)} if committed_through else {}
    return send(opened={**sequence, **_OPENED, **changes})


def chunk(sequence: int, *ids: str) -> Json:
    """A chunk of small events."""
    return receive(chunk={"sequence": str(sequence), "events": events(*ids)})


def ack(committed_through: int, *results: Json, **tally: int) -> Json:
    """Chunks are committed."""
    return send(
        ack={"committedThrough": str(committed_through), "tally": _longs(tally), "results": list(results)}
    )


def finish(last_sequence: int) -> Json:
    """The end of an upload."""
    return receive(finish={"lastSequence": str(last_sequence)} if last_sequence else {})


def finished(committed_through: int, **tally: int) -> Json:
    """The last message to an upload."""
    return send(finished={"upload": upload_state("STATE_FINISHED", committed_through, **tally)})


def upload_state(state: str, committed_through: int, **tally: int) -> Json:
    """The state of an upload, named u-1."""
    return {
        "uploadId": "u-1",
        "state": state,
        "committedThrough": str(committed_through),
        "tally": _longs(tally),
    }


def _longs(tally: dict[str, int]) -> Json:
    return {name: str(count) for name, count in tally.items()}


def rejected(sequence: int, index: int, event_id: str) -> Json:
    """An event that was refused."""
    result = {"index": index, "eventId": event_id, "outcome": "OUTCOME_REJECTED", "error": _BROKEN_RULE}
    return {"chunkSequence": str(sequence), "result": result}


def told(position: int, event_id: str) -> Json:
    """What the caller is told of a refused event."""
    return {"position": position, "event_id": event_id, "reason": "FIELD_INVALID"}


def upload(source: list[Json], **more: Json) -> Json:
    """The client's side of an upload, two events a chunk."""
    return {"upload": {"upload_id": "u-1", "chunk_events": 2, "events": source, **more}}


def stream(*steps: Json, **options: Json) -> Json:
    """One stream of the upload."""
    return {"method": "UploadEvents", **options, "steps": [receive(open={"uploadId": "u-1"}), *steps]}


def committed(through: int) -> Json:
    """So far the upload is from now on, two accepted events a chunk; GetUpload tells it."""
    return {"get_upload": [{"upload": upload_state("STATE_OPEN", through, accepted=2 * through)}]}


def summary(events_count: int, *, reconnects: int = 0, skipped: int = 0, **tally: int) -> Json:
    """The summary of a finished upload."""
    return {"tally": tally, "events": events_count, "reconnects": reconnects, "skipped_events": skipped}


def _upload_cases() -> list[Json]:
    six = ("e1", "e2", "e3", "e4", "e5", "e6")
    lost = {"status": _LOST}
    later = {"status": {**_OVERLOADED, "retry_delay_seconds": 0.6}}
    no_ids = [event(balance=str(number)) for number in range(4)]

    def with_ids(sequence: int, *numbers: int) -> Json:
        named = [{"eventId": f"$uuid7:{number}", **event(balance=str(number))} for number in numbers]
        return receive(chunk={"sequence": str(sequence), "events": named})

    return [
        {
            "name": "upload-in-chunks",
            "rules": ["U1", "U2", "U7"],
            "call": upload(events(*six[:5])),
            "server": [
                stream(
                    {"quiet_seconds": 0.3},
                    opened(),
                    chunk(1, "e1", "e2"),
                    chunk(2, "e3", "e4"),
                    ack(2, accepted=4),
                    chunk(3, "e5"),
                    finish(3),
                    ack(3, accepted=5),
                    finished(3, accepted=5),
                )
            ],
            "expected": {"summary": summary(5, accepted=5), "rejections": []},
        },
        {
            "name": "upload-of-nothing",
            "rules": ["U7"],
            "call": upload([]),
            "server": [stream(opened(), finish(0), finished(0))],
            "expected": {"summary": summary(0), "rejections": []},
        },
        {
            "name": "upload-keeps-to-the-window",
            "rules": ["U1"],
            "call": upload(events(*six)),
            "server": [
                stream(
                    opened(maxUnackedChunks=2),
                    chunk(1, "e1", "e2"),
                    chunk(2, "e3", "e4"),
                    {"quiet_seconds": 0.4},
                    ack(1, accepted=2),
                    chunk(3, "e5", "e6"),
                    # Finish may wait for room, as a chunk would.
                    ack(3, accepted=6),
                    finish(3),
                    finished(3, accepted=6),
                )
            ],
            "expected": {"summary": summary(6, accepted=6), "rejections": []},
        },
        {
            "name": "upload-keeps-to-smaller-chunks-of-the-server",
            "rules": ["U2"],
            "call": upload(events("e1", "e2")),
            "server": [
                stream(
                    opened(maxChunkEvents=1),
                    chunk(1, "e1"),
                    chunk(2, "e2"),
                    finish(2),
                    ack(2, accepted=2),
                    finished(2, accepted=2),
                )
            ],
            "expected": {"summary": summary(2, accepted=2), "rejections": []},
        },
        {
            # An event with a two-letter id takes 9 bytes and 64 beside: two fit into 146 bytes, three do not.
            "name": "upload-keeps-to-the-bytes-of-a-chunk",
            "rules": ["U2"],
            "call": upload(events("e1", "e2", "e3"), chunk_events=10),
            "server": [
                stream(
                    opened(maxChunkBytes="146"),
                    chunk(1, "e1", "e2"),
                    chunk(2, "e3"),
                    finish(2),
                    ack(2, accepted=3),
                    finished(2, accepted=3),
                )
            ],
            "expected": {"summary": summary(3, accepted=3), "rejections": []},
        },
        {
            "name": "upload-refuses-what-no-chunk-can-carry",
            "rules": ["U12"],
            "call": upload([event("e1"), event("e2", balance="9" * 200), event("e3")], chunk_events=1),
            "server": [
                stream(
                    opened(maxChunkBytes="146"),
                    chunk(1, "e1"),
                    chunk(2, "e3"),
                    finish(2),
                    ack(2, accepted=2),
                    finished(2, accepted=2),
                )
            ],
            "expected": {"summary": summary(3, accepted=2, rejected=1), "rejections": [told(1, "e2")]},
        },
        {
            "name": "upload-sends-again-what-was-not-acked",
            "rules": ["U3", "U4", "C8"],
            "call": upload(no_ids),
            "server": [
                stream(opened(), with_ids(1, 0, 1), with_ids(2, 2, 3), ack(1, accepted=2), lost),
                stream(
                    opened(1),
                    with_ids(2, 2, 3),
                    finish(2),
                    ack(2, accepted=4),
                    finished(2, accepted=4),
                ),
            ],
            "expected": {"summary": summary(4, reconnects=1, accepted=4), "rejections": []},
        },
        {
            "name": "upload-hears-of-rejections-whose-ack-was-lost",
            "rules": ["U4", "U6"],
            "call": upload(events(*six)),
            "server": [
                stream(
                    opened(maxUnackedChunks=2),
                    chunk(1, "e1", "e2"),
                    chunk(2, "e3", "e4"),
                    {
                        "get_upload": [
                            {
                                "upload": upload_state("STATE_OPEN", 2, accepted=2, rejected=2),
                                "rejections": [rejected(1, 1, "e2")],
                            },
                            {
                                "upload": upload_state("STATE_OPEN", 2, accepted=2, rejected=2),
                                "rejections": [rejected(2, 0, "e3")],
                            },
                        ]
                    },
                    lost,
                ),
                stream(
                    opened(2, maxUnackedChunks=2),
                    chunk(3, "e5", "e6"),
                    finish(3),
                    ack(3, accepted=4, rejected=2),
                    finished(3, accepted=4, rejected=2),
                ),
            ],
            "expected": {
                "summary": summary(6, reconnects=1, accepted=4, rejected=2),
                "rejections": [told(1, "e2"), told(2, "e3")],
            },
        },
        {
            "name": "upload-tells-each-rejection-once",
            "rules": ["U6"],
            "call": upload(events("e1", "e2")),
            "server": [
                stream(opened(), chunk(1, "e1", "e2"), ack(0, rejected(1, 0, "e1")), lost),
                stream(
                    opened(),
                    chunk(1, "e1", "e2"),
                    finish(1),
                    ack(1, rejected(1, 0, "e1"), rejected(1, 1, "e2"), rejected=2),
                    finished(1, rejected=2),
                ),
            ],
            "expected": {
                "summary": summary(2, reconnects=1, rejected=2),
                "rejections": [told(0, "e1"), told(1, "e2")],
            },
        },
        {
            "name": "upload-goes-on-for-a-new-run",
            "rules": ["U5"],
            "call": upload(events(*six)),
            "server": [
                stream(
                    {"get_upload": [{"upload": upload_state("STATE_OPEN", 2, accepted=3, rejected=1)}]},
                    opened(2),
                    chunk(3, "e5", "e6"),
                    finish(3),
                    ack(3, rejected(3, 1, "e6"), accepted=4, rejected=2),
                    finished(3, accepted=4, rejected=2),
                )
            ],
            "expected": {
                "summary": summary(6, skipped=4, accepted=4, rejected=2),
                "rejections": [told(5, "e6")],
            },
        },
        {
            "name": "upload-of-another-source",
            "rules": ["U5"],
            "call": upload(events(*six[:3])),
            "server": [
                stream(
                    {"get_upload": [{"upload": upload_state("STATE_OPEN", 2, accepted=4)}]},
                    opened(2),
                    {"receive_end": True},
                )
            ],
            "expected": {"error": {"kind": "source_mismatch", "reason": ""}, "rejections": []},
        },
        {
            "name": "upload-that-is-finished",
            "rules": ["U5"],
            "call": upload(events(*six), fails_after=0),
            "server": [
                stream(
                    {"get_upload": [{"upload": upload_state("STATE_FINISHED", 3, accepted=5, duplicate=1)}]},
                    opened(3),
                    finished(3, accepted=5, duplicate=1),
                )
            ],
            "expected": {"summary": summary(6, accepted=5, duplicate=1), "rejections": []},
        },
        {
            "name": "upload-through-closing",
            "rules": ["U9"],
            "call": upload(events("e1", "e2", "e3")),
            "server": [
                stream(
                    opened(maxUnackedChunks=1),
                    chunk(1, "e1", "e2"),
                    send(closing={"reason": "REASON_MAX_AGE", "reconnectDelay": "0.5s"}),
                    {"receive_end": True},
                    ack(1, accepted=2),
                ),
                stream(
                    opened(1),
                    chunk(2, "e3"),
                    finish(2),
                    ack(2, accepted=3),
                    finished(2, accepted=3),
                    not_before_seconds=0.49,
                ),
            ],
            "expected": {"summary": summary(3, reconnects=1, accepted=3), "rejections": []},
        },
        {
            "name": "upload-through-silence",
            "rules": ["U8"],
            "call": upload(events("e1", "e2")),
            "server": [
                stream(opened(heartbeatInterval="0.4s"), chunk(1, "e1", "e2"), {"silence": True}),
                stream(
                    opened(), chunk(1, "e1", "e2"), finish(1), ack(1, accepted=2), finished(1, accepted=2)
                ),
            ],
            "expected": {"summary": summary(2, reconnects=1, accepted=2), "rejections": []},
        },
        {
            "name": "upload-through-silence-before-opened",
            "rules": ["U8"],
            "call": upload(events("e1", "e2")),
            "server": [
                stream({"silence": True}),
                stream(
                    opened(), chunk(1, "e1", "e2"), finish(1), ack(1, accepted=2), finished(1, accepted=2)
                ),
            ],
            "expected": {"summary": summary(2, reconnects=1, accepted=2), "rejections": []},
        },
        {
            "name": "upload-waits-for-its-quota",
            "rules": ["E4", "U10"],
            "call": upload(events("e1")),
            "server": [
                stream(status("RESOURCE_EXHAUSTED", reason="QUOTA_EXCEEDED", retry_delay_seconds=0.5)),
                stream(
                    opened(),
                    chunk(1, "e1"),
                    finish(1),
                    ack(1, accepted=1),
                    finished(1, accepted=1),
                    not_before_seconds=0.49,
                ),
            ],
            "expected": {"summary": summary(1, reconnects=1, accepted=1), "rejections": []},
        },
        {
            "name": "upload-is-taken-over",
            "rules": ["U11", "E2"],
            "call": upload(events("e1", "e2")),
            "server": [
                stream(opened(), chunk(1, "e1", "e2"), status("ABORTED", reason="UPLOAD_TAKEN_OVER")),
            ],
            "expected": {"error": {"kind": "taken_over", "reason": "UPLOAD_TAKEN_OVER"}, "rejections": []},
        },
        {
            "name": "upload-of-a-source-that-fails",
            "rules": ["U11"],
            "call": upload(events(*six), fails_after=3),
            "server": [
                stream(
                    opened(), chunk(1, "e1", "e2"), chunk(2, "e3"), {"receive_end": True}, ack(2, accepted=3)
                ),
            ],
            "expected": {"error": {"kind": "source", "reason": ""}, "rejections": []},
        },
        {
            # Two such waits are longer than the outage that is allowed; each is one of its own.
            "name": "upload-that-moves-while-it-is-away",
            "rules": ["U10"],
            "max_outage_seconds": 1,
            "call": upload(events(*six)),
            "server": [
                stream(opened(), chunk(1, "e1", "e2"), chunk(2, "e3", "e4"), chunk(3, "e5", "e6"), later),
                stream(committed(1), opened(1), chunk(2, "e3", "e4"), later),
                stream(committed(2), opened(2), chunk(3, "e5", "e6"), later),
                stream(committed(3), opened(3), finish(3), finished(3, accepted=6)),
            ],
            "expected": {"summary": summary(6, reconnects=3, accepted=6), "rejections": []},
        },
        {
            "name": "upload-gives-up",
            "rules": ["U10"],
            "max_outage_seconds": 1,
            "call": upload(events("e1")),
            "server": [stream({"status": _OVERLOADED}, repeats=True)],
            "expected": {"error": {"kind": "unavailable", "reason": "OVERLOADED"}, "rejections": []},
        },
    ]


def cases() -> list[Json]:
    """All cases."""
    return [*_record_cases(), *_follow_cases(), *_upload_cases()]
