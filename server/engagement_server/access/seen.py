"""What of the stats of a server a caller sees, whose grant need not cover all accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement import v1

if TYPE_CHECKING:
    from engagement_server.access.principals import Accounts


def as_seen(stats: v1.GetServerStatsResponse, accounts: Accounts) -> v1.GetServerStatsResponse:
    """The stats without what is about other accounts. Numbers for the whole server stay as they are."""
    if accounts.covers_all:
        return stats
    seen = v1.GetServerStatsResponse()
    seen.CopyFrom(stats)
    del seen.rejected_rules[:]
    seen.rejected_rules.extend(rule for rule in stats.rejected_rules if rule.account_id in accounts)
    seen.rejected_rules_incomplete |= len(seen.rejected_rules) < len(stats.rejected_rules)
    del seen.subscriptions[:]
    seen.subscriptions.extend(each for each in stats.subscriptions if each.account_id in accounts)
    return seen
