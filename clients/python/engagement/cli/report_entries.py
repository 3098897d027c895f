"""Recognizes the entries of a report of rejections: an event among remarks that are not part of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from typing import Final

from engagement.violation import Violation

REMARKS: Final = frozenset({"line", "place", "reason", "message", "violations"})
"""The members of an entry beside its event."""
UNREPAIRED: Final = "still as it was: repair the member event"
OF_IMPORT: Final = Violation(
    "event", "report.source", "is text of an imported file, without its consumer: repair and upload that file"
)
_OWN_RULES: Final = ("json.", "table.", "csv.")


def is_entry(names: Set[str]) -> bool:
    """Whether an object with these members reports a rejection."""
    return {"reason", "violations"} <= names


def is_of_import(remarks: Mapping[str, str]) -> bool:
    """Whether an entry with these remarks, in JSON, holds text of another platform instead of an event."""
    violations = json.loads(remarks["violations"])
    is_readable = json.loads(remarks["reason"]) != "UNREADABLE"
    if is_readable or not isinstance(violations, list):
        return False
    rules = [str(each.get("rule", "")) for each in violations if isinstance(each, dict)]
    return any(not rule.startswith(_OWN_RULES) for rule in rules)
