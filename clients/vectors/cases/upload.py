"""Conversations of uploads, which resume after every interruption."""

from __future__ import annotations

from clients.vectors.cases.script import (
    LOST,
    OVERLOADED,
    Json,
    event,
    events,
    receive,
    send,
    status,
)
from clients.vectors.cases.upload_script import (
    ack,
    chunk,
    committed,
    finish,
    finished,
    opened,
    rejected,
    reported,
    stream,
    summary,
    upload,
    upload_state,
    with_digests,
)


def cases() -> list[Json]:
    """All conversations of uploads."""
    return [with_digests(case) for case in _runs()]


def _runs() -> list[Json]:
    six = ("e1", "e2", "e3", "e4", "e5", "e6")
    lost = {"status": LOST}
    both_stored = stream(
        opened(), chunk(1, "e1", "e2"), finish(1), ack(1, accepted=2), finished(1, accepted=2)
    )
    later = {"status": {**OVERLOADED, "retry_delay_seconds": 0.6}}
    no_ids = [event(balance=str(number)) for number in range(4)]

    def without_ids(sequence: int, *numbers: int) -> Json:
        unnamed = [{"eventId": None, **event(balance=str(number))} for number in numbers]
        return receive(chunk={"sequence": str(sequence), "events": unnamed})

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
            "name": "upload-without-events",
            "rules": ["U7"],
            "call": upload([]),
            "server": [stream(opened(), finish(0), finished(0))],
            "expected": {"summary": summary(0), "rejections": []},
        },
        {
            "name": "upload-resends-unacked-chunks",
            "rules": ["U3", "U4"],
            "call": upload(no_ids),
            "server": [
                stream(opened(), without_ids(1, 0, 1), without_ids(2, 2, 3), ack(1, accepted=2), lost),
                stream(
                    opened(1),
                    without_ids(2, 2, 3),
                    finish(2),
                    ack(2, accepted=4),
                    finished(2, accepted=4),
                ),
            ],
            "expected": {"summary": summary(4, reconnects=1, accepted=4), "rejections": []},
        },
        {
            "name": "upload-reads-rejections-whose-ack-was-lost",
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
                "rejections": [reported(1, "e2"), reported(2, "e3")],
            },
        },
        {
            "name": "upload-reports-each-rejection-once",
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
                "rejections": [reported(0, "e1"), reported(1, "e2")],
            },
        },
        {
            "name": "upload-resumes-after-closing",
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
                    not_before_seconds=0.45,
                ),
            ],
            "expected": {"summary": summary(3, reconnects=1, accepted=3), "rejections": []},
        },
        {
            "name": "upload-resumes-after-silence",
            "rules": ["U8"],
            "call": upload(events("e1", "e2")),
            "server": [
                stream(opened(heartbeatInterval="0.4s"), chunk(1, "e1", "e2"), {"silence": True}),
                both_stored,
            ],
            "expected": {"summary": summary(2, reconnects=1, accepted=2), "rejections": []},
        },
        {
            "name": "upload-resumes-after-silence-before-opened",
            "rules": ["U8"],
            "call": upload(events("e1", "e2")),
            "server": [
                stream({"silence": True}),
                both_stored,
            ],
            "expected": {"summary": summary(2, reconnects=1, accepted=2), "rejections": []},
        },
        {
            "name": "upload-waits-for-the-quota",
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
                    not_before_seconds=0.45,
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
            "name": "upload-with-a-failing-source",
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
            # Two of these waits exceed the allowed outage, but progress starts a new one.
            "name": "upload-progress-ends-an-outage",
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
            "server": [stream({"status": OVERLOADED}, repeats=True)],
            "expected": {"error": {"kind": "unavailable", "reason": "OVERLOADED"}, "rejections": []},
        },
    ]
