"""Summaries say what most of the rejected events have broken, however many kinds there are."""

from __future__ import annotations

from collections.abc import Sequence

from engagement.cli.outcomes import Rejection
from engagement.cli.rejection_kinds import MAX_KINDS, RejectionKinds
from engagement.violation import Violation


def _rejection(*violations: Violation, reason: str = "FIELD_INVALID") -> Rejection:
    message = f"{violations[0].field}: {violations[0].description}" if violations else reason
    return Rejection(place=1, reason=reason, message=message, violations=violations)


def _counted(rejections: Sequence[Rejection]) -> list[tuple[int, str]]:
    kinds = RejectionKinds()
    for each in rejections:
        kinds.add(each)
    return [(kind.events, kind.message) for kind in kinds.most_frequent()]


def test_events_that_broke_the_same_rule_first_are_counted_together() -> None:
    month = Violation("last_payment_date.month", "int32.lte", "must be at most 12")
    day = Violation("last_payment_date.day", "int32.lte", "must be at most 31")
    taken = _rejection(reason="EVENT_ID_CONFLICT")
    found = _counted([_rejection(day, month), _rejection(month), taken, _rejection(month, day)])
    assert found == [
        (2, "last_payment_date.month: must be at most 12"),
        (1, "last_payment_date.day: must be at most 31"),
        (1, "EVENT_ID_CONFLICT"),
    ]


def test_the_kinds_are_limited_and_nothing_is_left_uncounted() -> None:
    each_its_own = [_rejection(Violation(f"field_{number}", "rule", "is wrong")) for number in range(3_000)]
    found = _counted(each_its_own)
    assert len(found) == MAX_KINDS + 1
    assert found[0] == (3_000 - MAX_KINDS, "other reasons, each of few events")
    assert sum(events for events, _ in found) == 3_000
