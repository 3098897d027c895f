"""The rules that rejected events of all accounts broke lately, with what is known of the last of them."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from engagement_server.metrics.rejected_events import BrokenRule
from engagement_server.metrics.rejections import OTHER_SOURCES, RuleKey

if TYPE_CHECKING:
    from engagement_server.metrics.rejections import Recent, Rejections

MAX_RULES: Final = 50
HOURS: Final = 2
"""How many hours count: the present one, and the one before."""
# What neither a source nor a rule has had room for.
_OTHER_RULES = RuleKey(OTHER_SOURCES, "", "", 0)


class RejectedRule(NamedTuple):
    """A rule that events of one source of an account broke in one field."""

    account_id: str
    key: RuleKey
    events: int
    last: Recent | None
    """The last of them, unless it is not remembered any more."""
    last_described: Recent | None
    """The last one whose description is about this rule, as it was the first that the event broke."""


class RejectedRules(NamedTuple):
    """What was rejected lately."""

    rules: Sequence[RejectedRule]
    """Those with most events, at most `MAX_RULES`."""
    events: int
    """All rejected events."""
    is_complete: bool
    """Whether each rule has a count of its own."""


def read_rejected_rules(rejections: Rejections) -> RejectedRules:
    """Reads the record of this process, and of those that are merged into it."""
    snapshot = rejections.latest(HOURS)
    by_rule: Counter[tuple[str, RuleKey]] = Counter()
    events, is_complete = 0, True
    for hour in snapshot.hours.values():
        events += hour.other_events
        is_complete &= not hour.other_events
        for account_id, counts in hour.accounts.items():
            events += sum(amount for _, amount in counts.events)
            is_complete &= counts.is_complete
            for key, amount in counts.rules:
                by_rule[account_id, key] += amount
            if counts.other_rules:
                by_rule[account_id, _OTHER_RULES] += counts.other_rules
    largest = heapq.nsmallest(MAX_RULES, by_rule.items(), key=lambda each: (-each[1], each[0]))
    rules = [
        _with_last(account_id, key, amount, snapshot.recent.get(account_id, ()))
        for (account_id, key), amount in largest
    ]
    return RejectedRules(rules, events, is_complete)


def _with_last(account_id: str, key: RuleKey, events: int, recent: Sequence[Recent]) -> RejectedRule:
    wanted = BrokenRule(key.field, key.rule)
    found = [
        each
        for each in reversed(recent)
        if (each.event.source, each.event.reason) == (key.source, key.reason) and wanted in each.event.rules
    ]
    described = next((each for each in found if each.event.rules[0] == wanted), None)
    return RejectedRule(account_id, key, events, found[0] if found else None, described)
