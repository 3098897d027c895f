"""Who breaks which rule now: the rejected events of a server by account, source, field and rule."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from rich.text import Text

from engagement import v1
from engagement.cli.outcomes import reason_name
from engagement.cli.printing import visible
from engagement.cli.top.charset import Charset
from engagement.cli.top.quantities import count_text, rough_length_text, seconds_between
from engagement.cli.top.table import Column, lay_out

_OTHERS: Final = "(others)"
_COLUMNS: Final = (
    Column("events", rank=0, is_number=True, style="bold"),
    Column("source", rank=0, least=8, wanted=16),
    Column("field", rank=0, least=14, wanted=38, keeps_end=True),
    Column("rule", rank=0, least=12, wanted=20, style="yellow"),
    Column("shape", rank=1, least=6, wanted=10),
    Column("ago", rank=2, is_number=True),
    Column("account", rank=3, least=8),
    Column("problem", rank=4, least=16, style="dim"),
)


class Order(StrEnum):
    """What comes first in the table."""

    EVENTS = "most events"
    TIME = "latest"


def rule_lines(
    stats: v1.GetServerStatsResponse, *, order: Order, width: int | None, charset: Charset
) -> list[Text]:
    """A title, and the table if there is any."""
    counted = f" of this hour and the last: {count_text(stats.rejected_events)}"
    title = Text.assemble(("Rejected events", "bold"), counted, end="")
    if not stats.rejected_rules:
        return [title]
    if len(stats.rejected_rules) > 1:
        title.append(f", {order} first", "dim")
    if stats.rejected_rules_incomplete:
        title.append("; there are more rules than are counted apart", "yellow")
    rules = sorted(stats.rejected_rules, key=_latest if order is Order.TIME else _most, reverse=True)
    rows = [_row(rule, stats) for rule in rules]
    return [title, *lay_out(_COLUMNS, rows, width=width, charset=charset)]


def _most(rule: v1.RejectedRule) -> int:
    return rule.events


def _latest(rule: v1.RejectedRule) -> tuple[int, int]:
    return rule.last_reject_time.seconds, rule.last_reject_time.nanos


def _row(rule: v1.RejectedRule, stats: v1.GetServerStatsResponse) -> tuple[str, ...]:
    is_known = rule.HasField("last_reject_time")
    age = seconds_between(rule.last_reject_time, stats.sample_time) if is_known else None
    return (
        count_text(rule.events),
        _OTHERS if rule.other else visible(rule.source),
        _OTHERS if rule.other and not rule.reason else rule.field,
        rule.rule or (reason_name(rule.reason) if rule.reason else ""),
        rule.value_shape,
        "" if age is None else rough_length_text(age),
        rule.account_id,
        rule.description,
    )
