"""Conversations of uploads that find their upload begun or finished, with the same source or another one."""

from __future__ import annotations

from clients.vectors.cases.script import LOST, TOO_LONG, Json, event, events, status
from clients.vectors.cases.upload_script import (
    ack,
    chunk,
    digest,
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
    """All conversations of uploads that an earlier run, or another client, has begun or finished."""
    return [with_digests(case) for case in _runs()]


def _runs() -> list[Json]:
    six = events("e1", "e2", "e3", "e4", "e5", "e6")
    first, half, whole = digest(*six[:2]), digest(*six[:4]), digest(*six)
    begun = {"get_upload": [{"upload": upload_state("STATE_OPEN", 2, accepted=3, rejected=1)}]}
    done = {"get_upload": [{"upload": upload_state("STATE_FINISHED", 3, accepted=5, duplicate=1)}]}
    mismatch = {"error": {"kind": "source_mismatch", "reason": ""}, "rejections": []}

    def refused(name: str, source: list[Json]) -> Json:
        steps = begun, opened(2, source=half, earlierSources=[first]), {"receive_end": True}
        return {
            "name": name,
            "rules": ["U5"],
            "call": upload(source),
            "server": [stream(*steps)],
            "expected": mismatch,
        }

    def refused_when_finished(name: str, source: list[Json]) -> Json:
        steps = done, opened(3, source=whole), finished(3, accepted=5, duplicate=1)
        return {
            "name": name,
            "rules": ["U5"],
            "call": upload(source),
            "server": [stream(*steps)],
            "expected": mismatch,
        }

    rest = (
        chunk(3, "e5", "e6"),
        finish(3),
        ack(3, rejected(3, 1, "e6"), accepted=4, rejected=2),
        finished(3, accepted=4, rejected=2),
    )
    return [
        {
            "name": "upload-resumes-in-a-new-run",
            "rules": ["U5"],
            "call": upload(six),
            "server": [stream(begun, opened(2, source=half, earlierSources=[first]), *rest)],
            "expected": {
                "summary": summary(6, skipped=4, accepted=4, rejected=2),
                "rejections": [reported(5, "e6")],
            },
        },
        {
            "name": "upload-resumes-by-count-without-a-digest",
            "rules": ["U5"],
            "call": upload(six),
            "server": [stream(begun, opened(2), *rest)],
            "expected": {
                "summary": summary(6, skipped=4, by_count=True, accepted=4, rejected=2),
                "rejections": [reported(5, "e6")],
            },
        },
        refused("upload-refuses-a-changed-source", [*six[:3], event("e4", balance="2"), *six[4:]]),
        refused("upload-refuses-a-reordered-source", [*six[2:], *six[:2]]),
        refused("upload-refuses-a-shorter-source", six[:3]),
        refused("upload-refuses-an-empty-source", []),
        {
            "name": "upload-that-ends-before-its-count",
            "rules": ["U5"],
            "call": upload(six[:3]),
            "server": [stream(begun, opened(2), {"receive_end": True})],
            "expected": mismatch,
        },
        {
            "name": "upload-already-finished",
            "rules": ["U5"],
            "call": upload(six),
            "server": [stream(done, opened(3, source=whole), finished(3, accepted=5, duplicate=1))],
            "expected": {"summary": summary(6, skipped=6, accepted=5, duplicate=1), "rejections": []},
        },
        {
            "name": "upload-already-finished-without-a-digest",
            "rules": ["U5"],
            "call": upload(six, fails_after=0),
            "server": [stream(done, opened(3), finished(3, accepted=5, duplicate=1))],
            "expected": {
                "summary": summary(6, skipped=6, by_count=True, accepted=5, duplicate=1),
                "rejections": [],
            },
        },
        refused_when_finished("upload-finished-with-a-changed-source", [event("e1", balance="2"), *six[1:]]),
        refused_when_finished("upload-finished-with-a-longer-source", [*six, event("e7")]),
        refused_when_finished("upload-finished-with-a-shorter-source", six[:5]),
        {
            "name": "upload-finished-without-events",
            "rules": ["U5"],
            "call": upload(six),
            "server": [
                stream(
                    {"get_upload": [{"upload": upload_state("STATE_FINISHED", 0)}]},
                    opened(source=digest()),
                    finished(0),
                )
            ],
            "expected": mismatch,
        },
        {
            "name": "upload-continued-with-another-source",
            "rules": ["U4"],
            "call": upload(six),
            "server": [
                stream(opened(), chunk(1, "e1", "e2"), ack(1, accepted=2), {"status": LOST}),
                stream(opened(2, source=digest(*six[2:])), {"receive_end": True}),
            ],
            "expected": mismatch,
        },
        {
            "name": "upload-finished-by-another-client",
            "rules": ["U4"],
            "call": upload(six),
            "server": [
                stream(opened(), chunk(1, "e1", "e2"), ack(1, accepted=2), {"status": LOST}),
                stream(opened(1, source=first), finished(1, accepted=2)),
            ],
            "expected": mismatch,
        },
        {
            # The digest of `finish` covers an event that only the client has rejected.
            "name": "upload-whose-finish-was-committed-and-lost",
            "rules": ["U4", "U12"],
            "call": upload([*six[:2], event("e3", balance=TOO_LONG)]),
            "server": [
                stream(opened(), chunk(1, "e1", "e2"), finish(1), {"status": LOST}),
                stream(
                    {"get_upload": [{"upload": upload_state("STATE_FINISHED", 1, accepted=2)}]},
                    opened(1, source=digest(*six[:2], event("e3", balance=TOO_LONG))),
                    finished(1, accepted=2),
                ),
            ],
            "expected": {
                "summary": summary(3, reconnects=1, accepted=2, rejected=1),
                "rejections": [reported(2, "e3")],
            },
        },
        {
            "name": "upload-whose-chunk-changed",
            "rules": ["U3", "E2"],
            "call": upload(six[:2]),
            "server": [
                stream(opened(), chunk(1, "e1", "e2"), status("FAILED_PRECONDITION", reason="CHUNK_CHANGED"))
            ],
            "expected": {"error": {"kind": "precondition", "reason": "CHUNK_CHANGED"}, "rejections": []},
        },
    ]
