"""The vocabulary of the conversations of uploads, in addition to `script`."""

from __future__ import annotations

from copy import deepcopy

from clients.vectors.cases.script import BROKEN_RULE, Json, events, receive, send
from clients.vectors.cases.source_digest import json_digest

_SALT = "salt"
OPENED = {
    "maxChunkEvents": 500,
    "maxChunkBytes": "262144",
    "maxUnackedChunks": 8,
    "heartbeatInterval": "15s",
    "sourceSalt": _SALT,
}


def opened(committed_through: int = 0, **changes: Json) -> Json:
    """The first message from the server."""
    sequence = {"committedThrough": str(committed_through)} if committed_through else {}
    return send(opened={**sequence, **OPENED, **changes})


def chunk(sequence: int, *ids: str) -> Json:
    """A chunk of small events."""
    return receive(chunk={"sequence": str(sequence), "events": events(*ids)})


def ack(committed_through: int, *results: Json, **tally: int) -> Json:
    """An ack with results and the tally so far."""
    return send(
        ack={"committedThrough": str(committed_through), "tally": _longs(tally), "results": list(results)}
    )


def finish(last_sequence: int) -> Json:
    """The last message from the client."""
    return receive(finish={"lastSequence": str(last_sequence)} if last_sequence else {})


def finished(committed_through: int, **tally: int) -> Json:
    """The last message from the server."""
    return send(finished={"upload": upload_state("STATE_FINISHED", committed_through, **tally)})


def upload_state(state: str, committed_through: int, **tally: int) -> Json:
    """The state of the upload, whose id is u-1."""
    return {
        "uploadId": "u-1",
        "state": state,
        "committedThrough": str(committed_through),
        "tally": _longs(tally),
    }


def _longs(tally: dict[str, int]) -> Json:
    return {name: str(count) for name, count in tally.items()}


def rejected(sequence: int, index: int, event_id: str) -> Json:
    """The result of a rejected event."""
    result = {"index": index, "eventId": event_id, "outcome": "OUTCOME_REJECTED", "error": BROKEN_RULE}
    return {"chunkSequence": str(sequence), "result": result}


def reported(position: int, event_id: str) -> Json:
    """A rejection as the client reports it to its caller."""
    return {"position": position, "event_id": event_id, "reason": "FIELD_INVALID"}


def digest(*source: Json) -> Json:
    """The digest of the beginning of a source, as the server tells it."""
    return json_digest(_SALT, source)


def with_digests(case: Json) -> Json:
    """The case with the digests that a client must send, and that the server tells when it is reopened."""
    case = deepcopy(case)
    source = case["call"]["upload"]["events"]
    committed: dict[str, Json] = {}
    for each in case["server"]:
        for step in each["steps"]:
            message = step.get("receive", {})
            if "chunk" in message:
                chunk = message["chunk"]
                last = {name: value for name, value in chunk["events"][-1].items() if value is not None}
                chunk["source"] = digest(*source[: source.index(last) + 1])
                committed[chunk["sequence"]] = chunk["source"]
            if "finish" in message:
                message["finish"]["source"] = digest(*source)
            reopened = step.get("send", {}).get("opened", {})
            if reopened.get("committedThrough") in committed:
                reopened.setdefault("source", committed[reopened["committedThrough"]])
    return case


def upload(source: list[Json], **more: Json) -> Json:
    """The client's side of the upload, with two events per chunk."""
    return {"upload": {"upload_id": "u-1", "chunk_events": 2, "events": source, **more}}


def stream(*steps: Json, keep_going: bool = False, **options: Json) -> Json:
    """One stream of the upload."""
    opening = receive(open={"uploadId": "u-1", "keepGoing": keep_going or None})
    return {"method": "UploadEvents", **options, "steps": [opening, *steps]}


def committed(through: int) -> Json:
    """Makes GetUpload answer from now on that chunks are committed, each with two accepted events."""
    return {"get_upload": [{"upload": upload_state("STATE_OPEN", through, accepted=2 * through)}]}


def summary(
    events_count: int, *, reconnects: int = 0, skipped: int = 0, by_count: bool = False, **tally: int
) -> Json:
    """The client's summary of the finished upload."""
    return {
        "tally": tally,
        "events": events_count,
        "reconnects": reconnects,
        "skipped_events": skipped,
        "resumed_by_count": by_count,
    }
