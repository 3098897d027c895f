"""Conversations of uploads that meet a limit: of a chunk, of an event, or of events that are all wrong."""

from __future__ import annotations

from clients.vectors.cases.script import (
    LOST,
    TOO_LONG,
    Json,
    event,
    events,
    receive,
    status,
)
from clients.vectors.cases.upload_script import (
    ack,
    chunk,
    finish,
    finished,
    opened,
    rejected,
    reported,
    stream,
    summary,
    upload,
    with_digests,
)


def cases() -> list[Json]:
    """All conversations about the limits of uploads."""
    return [with_digests(case) for case in _runs()]


def _runs() -> list[Json]:
    six = ("e1", "e2", "e3", "e4", "e5", "e6")
    lost = {"status": LOST}
    large = event("e2", balance="9" * 200)
    too_large = event("e2", balance=TOO_LONG)
    wholly_wrong = [rejected(1, 0, "e1"), rejected(1, 1, "e2")]

    return [
        {
            "name": "upload-honors-max-unacked-chunks",
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
                    # Finish may wait for the window, as a chunk does.
                    ack(3, accepted=6),
                    finish(3),
                    finished(3, accepted=6),
                )
            ],
            "expected": {"summary": summary(6, accepted=6), "rejections": []},
        },
        {
            "name": "upload-honors-max-chunk-events",
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
            # An event with a two-letter id counts as 9 + 64 bytes: two fit into 146 bytes, three do not.
            "name": "upload-honors-max-chunk-bytes",
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
            "name": "upload-sends-an-event-larger-than-a-chunk-alone",
            "rules": ["U2"],
            "call": upload([event("e1"), large, event("e3"), event("e4")], chunk_events=10),
            "server": [
                stream(
                    opened(maxChunkBytes="146"),
                    chunk(1, "e1"),
                    receive(chunk={"sequence": "2", "events": [large]}),
                    chunk(3, "e3", "e4"),
                    finish(3),
                    ack(3, accepted=4),
                    finished(3, accepted=4),
                )
            ],
            "expected": {"summary": summary(4, accepted=4), "rejections": []},
        },
        {
            "name": "upload-rejects-an-event-larger-than-events-may-be",
            "rules": ["U12"],
            "call": upload([event("e1"), too_large, event("e3")], chunk_events=10),
            "server": [
                stream(
                    opened(),
                    chunk(1, "e1"),
                    chunk(2, "e3"),
                    finish(2),
                    ack(2, accepted=2),
                    finished(2, accepted=2),
                )
            ],
            "expected": {"summary": summary(3, accepted=2, rejected=1), "rejections": [reported(1, "e2")]},
        },
        {
            "name": "upload-that-is-wholly-wrong-is-not-retried",
            "rules": ["U13", "U6"],
            "call": upload(events("e1", "e2", "e3")),
            "server": [
                stream(
                    opened(maxUnackedChunks=1),
                    chunk(1, "e1", "e2"),
                    ack(1, *wholly_wrong, rejected=2),
                    chunk(2, "e3"),
                    ack(2, rejected(2, 0, "e3"), rejected=3),
                    status("FAILED_PRECONDITION", reason="UPLOAD_ALL_REJECTED"),
                ),
            ],
            "expected": {
                "error": {"kind": "precondition", "reason": "UPLOAD_ALL_REJECTED"},
                "rejections": [reported(0, "e1"), reported(1, "e2"), reported(2, "e3")],
            },
        },
        {
            "name": "upload-keeps-going-if-it-is-asked-to",
            "rules": ["U13"],
            "call": upload(events("e1", "e2"), keep_going=True),
            "server": [
                stream(opened(), chunk(1, "e1", "e2"), lost, keep_going=True),
                stream(
                    opened(),
                    chunk(1, "e1", "e2"),
                    finish(1),
                    ack(1, *wholly_wrong, rejected=2),
                    finished(1, rejected=2),
                    keep_going=True,
                ),
            ],
            "expected": {
                "summary": summary(2, reconnects=1, rejected=2),
                "rejections": [reported(0, "e1"), reported(1, "e2")],
            },
        },
    ]
