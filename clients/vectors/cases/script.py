"""The vocabulary of all conversations."""

from __future__ import annotations

from typing import Any

Json = Any  # what json.dumps takes

OVERLOADED = {"code": "UNAVAILABLE", "message": "try later", "reason": "OVERLOADED"}
LOST = {"code": "UNAVAILABLE", "message": "the connection is lost"}
BROKEN_RULE = {
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


# With it an event is larger than an event may be.
TOO_LONG = {"repeat": "9", "times": 3_584 * 1024}


def event(event_id: str = "", *, balance: Json = "1") -> Json:
    """A small event; without an id unless one is given."""
    return {**({"eventId": event_id} if event_id else {}), "customerInfo": {"balance": balance}}


def events(*ids: str) -> list[Json]:
    """Small events with the given ids."""
    return [event(event_id) for event_id in ids]


def unary(method: str, *steps: Json, **options: Json) -> Json:
    """One unary call."""
    return {"method": method, **options, "steps": list(steps)}


def receive(**message: Json) -> Json:
    """A message that the server must receive; null means that the member must be absent."""
    return {"receive": message}


def send(**message: Json) -> Json:
    """A message that the server sends."""
    return {"send": message}


def status(code: str, **more: Json) -> Json:
    """A status that ends the call."""
    return {"status": {"code": code, **more}}


def stored(event_id: str, cursor: str) -> Json:
    """A stored small event."""
    return {"event": event(event_id), "cursor": cursor, "receiveTime": "2026-01-02T03:04:05Z"}
