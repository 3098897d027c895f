"""The accounts that a grant covers, one by one and as ranges of ids, and what is left out of stats."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from engagement import v1
from engagement_server.access.principals import ALL_ACCOUNTS, ANY_END, Accounts
from engagement_server.access.seen import as_seen

IDS = st.text("ab-_Z9", min_size=1, max_size=4)
PATTERNS = st.lists(IDS | st.text("ab-_Z9", max_size=3).map(lambda text: text + ANY_END), max_size=6)


@given(PATTERNS, IDS)
def test_an_account_is_covered_if_one_of_the_ranges_has_it(patterns: list[str], account_id: str) -> None:
    accounts = Accounts(patterns)
    ranges = accounts.ranges
    assert (account_id in accounts) == any(first <= account_id <= last for first, last in ranges)
    assert all(before[1] < after[0] for before, after in pairwise(ranges))


@given(PATTERNS)
def test_only_all_accounts_are_all(patterns: list[str]) -> None:
    assert Accounts(patterns).covers_all == (ANY_END in patterns)


def test_stats_tell_of_accounts_only_what_the_grant_covers() -> None:
    stats = v1.GetServerStatsResponse(
        rejected_rules=[v1.RejectedRule(account_id=each, rule="r") for each in ("acme", "brand-1", "other")],
        rejected_events=3,
        subscriptions=[v1.SubscriptionStats(account_id=each) for each in ("other", "brand-2")],
        open_subscriptions=2,
    )
    unchanged = stats.SerializeToString()
    assert as_seen(stats, ALL_ACCOUNTS) is stats
    seen = as_seen(stats, Accounts(["acme", "brand-*"]))
    assert [rule.account_id for rule in seen.rejected_rules] == ["acme", "brand-1"]
    assert [each.account_id for each in seen.subscriptions] == ["brand-2"]
    assert (seen.rejected_events, seen.open_subscriptions) == (3, 2)
    assert seen.rejected_rules_incomplete
    nobody = as_seen(stats, Accounts([]))
    assert not nobody.rejected_rules
    assert not nobody.subscriptions
    assert stats.SerializeToString() == unchanged
    covered = as_seen(stats, Accounts(["acme", "brand-*", "o*"]))
    assert not covered.rejected_rules_incomplete
