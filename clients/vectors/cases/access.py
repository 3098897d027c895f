"""Conversations about who calls: the account, tokens and their renewal, client certificates, quotas."""

from __future__ import annotations

from clients.vectors.cases.follow import batch, follow, started, step, subscribe
from clients.vectors.cases.script import LOST, Json, event, events, receive, send, status, stored, unary
from clients.vectors.cases.upload_script import (
    ack,
    chunk,
    finish,
    finished,
    opened,
    stream,
    summary,
    upload,
    with_digests,
)

_EXPIRED = status("UNAUTHENTICATED", reason="TOKEN_EXPIRED")
_INVALID = status("UNAUTHENTICATED", reason="TOKEN_INVALID")
_MISSING = status("UNAUTHENTICATED", reason="TOKEN_MISSING")
_EXHAUSTED = {"kind": "quota_exceeded", "reason": "QUOTA_EXCEEDED"}
_EXPIRED_ERROR = {"kind": "unauthenticated", "reason": "TOKEN_EXPIRED"}
_INVALID_ERROR = {"kind": "unauthenticated", "reason": "TOKEN_INVALID"}
_ACCEPTED = {"eventId": "e1", "outcome": "OUTCOME_ACCEPTED", "cursor": "c1"}
_RECORD = {"record_event": {"event": event("e1")}}
_LASTING = [{"token": "t1", "expires_in_seconds": 3600}, {"token": "t2", "expires_in_seconds": 3600}]


def cases() -> list[Json]:
    """All conversations about access."""
    return [*_calls(), *_asking(), *_quotas(), *_follows(), *map(with_digests, _uploads())]


def _with(token: str) -> Json:
    return {"metadata": {"authorization": f"Bearer {token}"}}


def _record(*steps: Json, given: str = "", **options: Json) -> Json:
    return unary(
        "RecordEvent", receive(event=event("e1")), *steps, **(_with(given) if given else {}), **options
    )


def _exhausted(delay_seconds: float | None = None) -> Json:
    delay = {} if delay_seconds is None else {"retry_delay_seconds": delay_seconds}
    return status("RESOURCE_EXHAUSTED", reason="QUOTA_EXCEEDED", **delay)


def _calls() -> list[Json]:
    got_new_id = receive(event={**event(), "eventId": "$uuid7:id"})
    renewed = {"eventId": "$uuid7:id", "outcome": "OUTCOME_ACCEPTED", "cursor": "c1"}
    return [
        {
            "name": "server-info-has-no-account",
            "rules": ["C9"],
            "call": {"server_info": {}},
            "server": [],
            "expected": {"version": "scripted"},
        },
        {
            "name": "record-with-a-client-certificate",
            "rules": ["C1", "C2"],
            "client_certificate": True,
            "token": "secret",
            "call": _RECORD,
            "server": [_record(send(result=_ACCEPTED), given="secret")],
            "expected": {"result": _ACCEPTED},
        },
        {
            "name": "record-renews-an-expired-token",
            "rules": ["C8", "C11"],
            "tokens": _LASTING,
            "call": {"record_event": {"event": event()}},
            "server": [
                unary("RecordEvent", got_new_id, _EXPIRED, **_with("t1")),
                unary("RecordEvent", got_new_id, send(result=renewed), **_with("t2")),
            ],
            "expected": {"result": {"outcome": "OUTCOME_ACCEPTED", "cursor": "c1"}, "token_asks": 2},
        },
        {
            "name": "record-renews-an-expired-token-once",
            "rules": ["C11"],
            "tokens": _LASTING,
            "call": _RECORD,
            "server": [_record(_EXPIRED, given="t1"), _record(_EXPIRED, given="t2")],
            "expected": {"error": _EXPIRED_ERROR, "token_asks": 2},
        },
        {
            "name": "record-with-an-invalid-token",
            "rules": ["C11"],
            "tokens": _LASTING,
            "call": _RECORD,
            "server": [_record(_INVALID, given="t1")],
            "expected": {"error": _INVALID_ERROR, "token_asks": 1},
        },
        {
            "name": "record-with-a-text-that-has-expired",
            "rules": ["C11"],
            "token": "t1",
            "call": _RECORD,
            "server": [_record(_EXPIRED, given="t1")],
            "expected": {"error": _EXPIRED_ERROR},
        },
        {
            "name": "record-where-a-token-is-needed",
            "rules": ["C11"],
            "call": _RECORD,
            "server": [_record(_MISSING)],
            "expected": {"error": {"kind": "unauthenticated", "reason": "TOKEN_MISSING"}},
        },
    ]


def _asking() -> list[Json]:
    def listing(name: str, tokens: list[Json], second: str, asks: int) -> Json:
        first_page = send(events=[stored("e1", "c1")], nextPageToken="p1")
        return {
            "name": name,
            "rules": ["C10"],
            "tokens": tokens,
            "call": {"list_events": {}},
            "server": [
                unary("ListEvents", receive(pageToken=None), first_page, **_with("t1")),
                unary(
                    "ListEvents", receive(pageToken="p1"), send(events=[stored("e2", "c2")]), **_with(second)
                ),
            ],
            "expected": {"event_ids": ["e1", "e2"], "token_asks": asks},
        }

    lost = _record({"status": LOST}, given="t1")
    return [
        listing("list-asks-for-a-token-each-time", [{"token": "t1"}, {"token": "t2"}], "t2", 2),
        listing("list-keeps-a-token-until-it-expires", _LASTING, "t1", 1),
        listing(
            "list-asks-again-before-the-token-expires",
            [{"token": "t1", "expires_in_seconds": 20}, {"token": "t2", "expires_in_seconds": 3600}],
            "t2",
            2,
        ),
        {
            "name": "record-retries-with-the-same-token",
            "rules": ["C4", "C10"],
            "tokens": [{"token": "t1"}, {"token": "t2"}],
            "call": _RECORD,
            "server": [lost, _record(send(result=_ACCEPTED), given="t1")],
            "expected": {"result": _ACCEPTED, "token_asks": 1},
        },
    ]


def _quotas() -> list[Json]:
    new_id = receive(event={**event(), "eventId": "$uuid7:id"})
    result = {"eventId": "$uuid7:id", "outcome": "OUTCOME_DUPLICATE", "cursor": "c1"}
    return [
        {
            "name": "record-waits-for-the-quota",
            "rules": ["C8", "C12"],
            "call": {"record_event": {"event": event()}},
            "server": [
                unary("RecordEvent", new_id, _exhausted(0.4)),
                unary("RecordEvent", new_id, _exhausted(0.2), not_before_seconds=0.38),
                unary("RecordEvent", new_id, send(result=result), not_before_seconds=0.18),
            ],
            "expected": {"result": {"outcome": "OUTCOME_DUPLICATE", "cursor": "c1"}},
        },
        {
            "name": "record-does-not-wait-beyond-its-deadline",
            "rules": ["C5", "C12"],
            "call": _RECORD,
            "server": [_record(_exhausted(60))],
            "expected": {"error": _EXHAUSTED},
        },
        {
            "name": "record-does-not-wait-for-a-quota-that-is-used-up",
            "rules": ["C12"],
            "call": _RECORD,
            "server": [_record(_exhausted())],
            "expected": {"error": _EXHAUSTED},
        },
        {
            "name": "record-does-not-repeat-a-message-that-is-too-large",
            "rules": ["C12"],
            "call": _RECORD,
            "server": [_record(status("RESOURCE_EXHAUSTED", message="message larger than max"))],
            "expected": {"error": {"kind": "quota_exceeded", "reason": ""}},
        },
    ]


def _follows() -> list[Json]:
    start = {"earliest": True}
    first = receive(earliest=True, afterCursor=None)
    after = receive(afterCursor="c1", earliest=None)
    one, two = step("e1", "c1"), step("e2", "c2")
    begun = (first, started(), batch("c1", ("e1", "c1")))
    rest = (after, started("c1"), batch("c2", ("e2", "c2")), {"silence": True})
    closing = send(cursor="c1", closing={"reason": "REASON_UNAUTHENTICATED", "reconnectDelay": "0.1s"})
    both = {"steps": [one, two], "cursor": "c2", "erasures": []}
    nothing = {"steps": [], "cursor": "", "erasures": []}

    def case(name: str, rules: list[str], *server: Json, expected: Json, **more: Json) -> Json:
        call = follow(start, take=2)
        return {
            "name": name,
            "rules": rules,
            **more,
            "call": call,
            "server": list(server),
            "expected": expected,
        }

    return [
        case(
            "follow-renews-an-expired-token",
            ["C11", "F3"],
            subscribe(*begun, _EXPIRED, **_with("t1")),
            subscribe(*rest, **_with("t2")),
            tokens=_LASTING,
            expected={**both, "token_asks": 2},
        ),
        case(
            "follow-renews-its-token-after-closing",
            ["C11", "F6"],
            subscribe(*begun, closing, **_with("t1")),
            subscribe(*rest, **_with("t2")),
            tokens=_LASTING,
            expected={**both, "token_asks": 2},
        ),
        case(
            "follow-renews-an-expired-token-once",
            ["C11"],
            subscribe(first, _EXPIRED, **_with("t1")),
            subscribe(first, _EXPIRED, **_with("t2")),
            tokens=_LASTING,
            expected={**nothing, "error": _EXPIRED_ERROR, "token_asks": 2},
        ),
        case(
            "follow-with-an-invalid-token",
            ["C11"],
            subscribe(first, _INVALID, **_with("t1")),
            tokens=_LASTING,
            expected={**nothing, "error": _INVALID_ERROR, "token_asks": 1},
        ),
        case(
            "follow-ends-when-its-text-has-expired",
            ["C11", "F6"],
            subscribe(*begun, closing, **_with("t1")),
            subscribe(after, _EXPIRED, **_with("t1")),
            token=_LASTING[0]["token"],
            expected={"steps": [one], "cursor": "c1", "erasures": [], "error": _EXPIRED_ERROR},
        ),
        case(
            "follow-waits-for-the-quota",
            ["E4", "F8"],
            subscribe(first, _exhausted(0.5)),
            subscribe(
                first,
                started(),
                batch("c2", ("e1", "c1"), ("e2", "c2")),
                {"silence": True},
                not_before_seconds=0.45,
            ),
            expected=both,
        ),
        case(
            "follow-ends-at-a-quota-that-is-used-up",
            ["E4"],
            subscribe(first, _exhausted()),
            expected={**nothing, "error": _EXHAUSTED},
        ),
    ]


def _uploads() -> list[Json]:
    four = ("e1", "e2", "e3", "e4")
    begun = (opened(maxUnackedChunks=1), chunk(1, "e1", "e2"))
    rest = (opened(1), chunk(2, "e3", "e4"), finish(2), ack(2, accepted=4), finished(2, accepted=4))
    closing = send(closing={"reason": "REASON_UNAUTHENTICATED", "reconnectDelay": "0.1s"})
    acked = ack(1, accepted=2)
    done = {"summary": summary(4, reconnects=1, accepted=4), "rejections": []}

    def case(name: str, rules: list[str], *server: Json, expected: Json, **more: Json) -> Json:
        call = upload(events(*four))
        return {
            "name": name,
            "rules": rules,
            **more,
            "call": call,
            "server": list(server),
            "expected": expected,
        }

    return [
        case(
            "upload-renews-an-expired-token",
            ["C11", "U4"],
            stream(*begun, acked, _EXPIRED, **_with("t1")),
            stream(*rest, **_with("t2")),
            tokens=_LASTING,
            expected={**done, "token_asks": 2},
        ),
        case(
            "upload-renews-its-token-after-closing",
            ["C11", "U9"],
            stream(*begun, closing, {"receive_end": True}, acked, **_with("t1")),
            stream(*rest, **_with("t2")),
            tokens=_LASTING,
            expected={**done, "token_asks": 2},
        ),
        case(
            "upload-renews-an-expired-token-once",
            ["C11"],
            stream(_EXPIRED, **_with("t1")),
            stream(_EXPIRED, **_with("t2")),
            tokens=_LASTING,
            expected={"error": _EXPIRED_ERROR, "rejections": [], "token_asks": 2},
        ),
        case(
            "upload-with-an-invalid-token",
            ["C11"],
            stream(_INVALID, **_with("t1")),
            tokens=_LASTING,
            expected={"error": _INVALID_ERROR, "rejections": [], "token_asks": 1},
        ),
        case(
            "upload-waits-for-the-quota-and-resumes",
            ["E4", "U4", "U10"],
            stream(*begun, acked, _exhausted(0.5)),
            stream(*rest, not_before_seconds=0.45),
            expected=done,
        ),
        case(
            "upload-ends-at-a-quota-that-is-used-up",
            ["E4", "U11"],
            stream(*begun, acked, _exhausted()),
            expected={"error": _EXHAUSTED, "rejections": []},
        ),
    ]
