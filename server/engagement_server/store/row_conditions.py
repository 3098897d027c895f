"""Applies a filter to the rows of events, as far as possible before their payloads are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engagement import v1

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement_server.store.predicate import Predicate


def matches(predicate: Predicate, columns: Sequence[Any]) -> bool:
    """Whether an event matches, given the columns of its row with attribute set and authenticated behind."""
    _, server_time_ms, receive_time_ms, payload, *_, attribute_set, authenticated = columns
    return predicate.matches_envelope(
        attribute_set=attribute_set,
        authenticated=bool(authenticated),
        server_time_ms=server_time_ms,
        receive_time_ms=receive_time_ms,
    ) and (not predicate.has_content or predicate.matches_content(v1.Event.FromString(payload)))


def envelope_conditions(predicate: Predicate) -> tuple[str, list[int]]:
    """The conditions on columns, so that SQLite skips rows without reading their payloads."""
    conditions = [
        ("e.server_time_ms >= ?", predicate.start_ms),
        ("e.server_time_ms < ?", predicate.end_ms),
        ("e.receive_time_ms >= ?", predicate.receive_start_ms),
        ("e.receive_time_ms < ?", predicate.receive_end_ms),
        ("e.authenticated = ?", predicate.is_authenticated),
    ]
    if len(predicate.attribute_sets) == 1:
        conditions.append(("e.attribute_set = ?", next(iter(predicate.attribute_sets))))
    given = [(text, value) for text, value in conditions if value is not None]
    return "".join(f" AND {text}" for text, _ in given), [value for _, value in given]
