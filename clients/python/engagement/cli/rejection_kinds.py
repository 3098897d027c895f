"""Counts rejections by what is wrong with them, so that a summary can say what most of them have broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple  # Any: values of JSON

from engagement.cli.outcomes import Rejection

MAX_KINDS: Final = 1_000
"""Kinds that are told apart; rejections of any further kind are counted together."""
_OTHER: Final = "OTHER"


class _Key(NamedTuple):
    reason: str
    field: str = ""
    rule: str = ""


@dataclass(slots=True)
class RejectionKind:
    """Rejections for one reason, by the first rule that their events broke."""

    reason: str
    field: str
    rule: str
    message: str
    """That of the first of them, for people."""
    events: int = 0

    def to_json(self) -> dict[str, Any]:
        """The kind as a JSON object."""
        return {
            "reason": self.reason,
            "field": self.field,
            "rule": self.rule,
            "message": self.message,
            "events": self.events,
        }


class RejectionKinds:
    """The kinds of the rejections of one input."""

    def __init__(self) -> None:
        self._kinds: dict[_Key, RejectionKind] = {}

    def add(self, rejection: Rejection) -> None:
        """Counts a rejection."""
        first = rejection.violations[0] if rejection.violations else None
        key = _Key(rejection.reason) if first is None else _Key(rejection.reason, first.field, first.rule)
        kind = self._kinds.get(key)
        if kind is None:
            message = rejection.message
            if len(self._kinds) >= MAX_KINDS:
                key, message = _Key(_OTHER), "other reasons, each of few events"
            kind = self._kinds.setdefault(key, RejectionKind(*key, message))
        kind.events += 1

    def most_frequent(self) -> Sequence[RejectionKind]:
        """All of them, those with most events first."""
        return sorted(self._kinds.values(), key=lambda kind: -kind.events)
