"""The rules that were broken lately, of all accounts, and what is known of the last event of each."""

from __future__ import annotations

from engagement import v1
from engagement_server.metrics.rejected_events import BrokenRule, RejectedEvent
from engagement_server.metrics.rejected_rules import MAX_RULES, read_rejected_rules
from engagement_server.metrics.rejections import HOUR_MS, MAX_ACCOUNTS, MAX_SOURCES, Rejections

INVALID = v1.ErrorReason.ERROR_REASON_FIELD_INVALID
NOON_MS = 1_000_000 * HOUR_MS


class Clock:
    now_ms = NOON_MS

    def __call__(self) -> int:
        return self.now_ms


def broken(source: str = "crm", *fields: str, shape: str = "99") -> RejectedEvent:
    rules = [BrokenRule(field, "rule") for field in fields or ("field",)]
    return RejectedEvent(source, INVALID, rules, f"{rules[0].field} is wrong", shape, len(rules))


def test_rules_of_all_accounts_come_by_number_of_events() -> None:
    rejections = Rejections()
    rejections.note("few", "RecordEvent", broken())
    rejections.note("many", "UploadEvents", broken("<script>"), events=5)
    found = read_rejected_rules(rejections)
    assert [(each.account_id, each.key.source, each.events) for each in found.rules] == [
        ("many", "<script>", 5),
        ("few", "crm", 1),
    ]
    assert (found.events, found.is_complete) == (6, True)


def test_the_present_and_the_last_hour_count() -> None:
    clock = Clock()
    rejections = Rejections(clock=clock)
    rejections.note("acme", "RecordEvent", broken())
    clock.now_ms += HOUR_MS
    rejections.note("acme", "RecordEvent", broken(), events=2)
    assert read_rejected_rules(rejections).events == 3
    clock.now_ms += HOUR_MS
    assert [each.events for each in read_rejected_rules(rejections).rules] == [2]
    clock.now_ms += HOUR_MS
    assert read_rejected_rules(rejections) == ([], 0, True)


def test_a_clock_that_is_set_back_or_forward_hides_nothing_that_comes_after() -> None:
    clock = Clock()
    rejections = Rejections(clock=clock)
    for shift_ms in (0, 100 * HOUR_MS, -300 * HOUR_MS):
        clock.now_ms += shift_ms
        rejections.note("acme", "RecordEvent", broken())
        (rule,) = read_rejected_rules(rejections).rules
        assert rule.events == 1
        assert rule.last is not None
        assert rule.last.time_ms == clock.now_ms


def test_a_description_is_of_the_last_event_that_broke_the_rule_first() -> None:
    clock = Clock()
    rejections = Rejections(clock=clock)
    rejections.note("acme", "RecordEvent", broken("crm", "a", shape="aaa"))
    clock.now_ms += 1
    rejections.note("acme", "RecordEvent", broken("crm", "b", "a", shape="bbb"))
    rules = {each.key.field: each for each in read_rejected_rules(rejections).rules}
    first, second = rules["a"], rules["b"]
    assert first.last is not None
    assert first.last_described is not None
    assert second.last_described is not None
    assert (first.last.time_ms, first.last_described.time_ms) == (NOON_MS + 1, NOON_MS)
    assert (first.last_described.event.shape, second.last_described.event.shape) == ("aaa", "bbb")


def test_what_has_no_room_is_counted_and_told() -> None:
    rejections = Rejections()
    for number in range(MAX_SOURCES + 2):
        rejections.note("acme", "RecordEvent", broken(f"source-{number}"))
    found = read_rejected_rules(rejections)
    assert (found.events, found.is_complete, found.rules[0].events) == (MAX_SOURCES + 2, False, 2)
    others = Rejections()
    for number in range(MAX_ACCOUNTS + 1):
        others.note(f"account-{number}", "RecordEvent", broken())
    found = read_rejected_rules(others)
    assert (len(found.rules), found.events, found.is_complete) == (MAX_RULES, MAX_ACCOUNTS + 1, False)
