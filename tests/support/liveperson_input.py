"""Small inputs for the tests of the import, and what the importer makes of them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from engagement import v1
from engagement.liveperson import ImportedEvent, Importer, UnreadableEvent

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

CONTEXT = {
    "info": {"conversationId": "c-1", "brandId": "acme"},
    "consumerParticipants": [{"participantId": "p-1"}],
}


def open_importer(document: object, *, source: str = "file.json", **options: Any) -> Importer:
    """An importer of bytes, of text, or of anything that JSON can hold."""
    text = document if isinstance(document, (str, bytes)) else json.dumps(document)
    data = text if isinstance(text, bytes) else text.encode()
    return Importer(io.BytesIO(data), source=source, **options)


def read(document: object, **options: Any) -> list[ImportedEvent | UnreadableEvent]:
    return list(open_importer(document, **options))


def read_events(document: object, **options: Any) -> list[v1.Event]:
    """The events of a document that has no unreadable ones."""
    results = read(document, **options)
    assert all(isinstance(result, ImportedEvent) for result in results), results
    return [result.event for result in results if isinstance(result, ImportedEvent)]


def read_event(document: object, **options: Any) -> v1.Event:
    [event] = read_events(document, **options)
    return event


def read_unreadable(document: object, **options: Any) -> UnreadableEvent:
    [result] = read(document, **options)
    assert isinstance(result, UnreadableEvent)
    return result


def read_skipped(document: object) -> dict[str, int]:
    """What is skipped in a document that has no events."""
    importer = open_importer(document)
    assert list(importer) == []
    return importer.counts.skipped


def customer(members: object, **around: object) -> dict[str, Any]:
    """An exported event with a customerInfo, nested twice."""
    wrapper = {"serverTimeStamp": "1500000000000", "customerInfo": members}
    return {"customerInfo": wrapper, "sdeType": "CUSTOMER_INFO", "serverTimeStamp": "1500000000000", **around}


def person(members: object, **around: object) -> dict[str, Any]:
    """An exported event with a personalInfo, nested twice."""
    wrapper = {"serverTimeStamp": "1500000000000", "personalInfo": members}
    return {"personalInfo": wrapper, "sdeType": "PERSONAL_INFO", "serverTimeStamp": "1500000000000", **around}


def conversation(*events: object, unauthenticated: tuple[object, ...] = ()) -> dict[str, Any]:
    lists = {"sdes": {"events": list(events)}, "unAuthSdes": {"events": list(unauthenticated)}}
    return {**CONTEXT, **lists}


def export(*events: object, unauthenticated: tuple[object, ...] = ()) -> dict[str, Any]:
    """A messaging export of one conversation."""
    return {"conversationHistoryRecords": [conversation(*events, unauthenticated=unauthenticated)]}
