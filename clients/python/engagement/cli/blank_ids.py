"""Warns of ids that begin or end with a blank."""

from __future__ import annotations

from collections.abc import Sequence

from engagement import v1
from engagement.cli.outcomes import FoundEvent, Rejection, shown_place
from engagement.cli.printing import visible


class BlankIds:
    """The ids of one input that begin or end with a blank, which is part of them and hardly meant."""

    def __init__(self) -> None:
        self._count = 0
        self._first = ""

    def look_at(self, batch: Sequence[FoundEvent | Rejection]) -> None:
        """Counts the events of a batch with such ids."""
        for found in batch:
            if isinstance(found, FoundEvent) and (blank := _blank_id(found.event)):
                self._count += 1
                self._first = self._first or f"at {shown_place(found.place)}: {blank}"

    @property
    def warning(self) -> str:
        """How many there are, and the first; empty if there are none."""
        if not self._count:
            return ""
        events = "1 event has an id" if self._count == 1 else f"{self._count:,} events have ids"
        return f"{events} with blanks at an end, which are part of it; the first {self._first}"


def _blank_id(event: v1.Event) -> str:
    """The first id of an event with a blank at an end, with its name."""
    ids = (
        ("event_id", event.event_id),
        ("consumer_id", event.consumer_id),
        ("conversation_id", event.conversation_id),
        ("customer_info.customer_id", event.customer_info.customer_id),
    )
    return next((f"{name} {visible(text)}" for name, text in ids if text != text.strip()), "")
