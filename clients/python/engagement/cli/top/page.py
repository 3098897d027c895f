"""The page of a server: its parts, and which of them a terminal has room for."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from rich.text import Text

from engagement import v1
from engagement.cli.top import rates, state
from engagement.cli.top.charset import Charset
from engagement.cli.top.quantities import length_text, seconds_between
from engagement.cli.top.rejected_rules import Order, rule_lines

_TWO_COLUMNS_WIDTH: Final = 130
_GAP: Final = 3
_MIN_RULE_LINES: Final = 6
_MAX_PROBLEM_LINES: Final = 3
_Part = list[Text]


@dataclass(frozen=True, slots=True)
class Notice:
    """What the command itself has to say, above what the server says."""

    text: str = ""
    """An outage; empty while the server answers."""
    keys: str = ""
    """The keys that do something."""


class Page:
    """What a server says of itself, to be shown in any size.

    Args:
        stats: its answer, whose texts are not trusted.
        server: its address.
        charset: what the output can show.

    """

    def __init__(self, stats: v1.GetServerStatsResponse, *, server: str, charset: Charset) -> None:
        self._stats = stats
        self._server = server
        self._charset = charset

    def whole(self, *, width: int | None) -> _Part:
        """All lines; none of them is cut, unless they have to fit a width."""
        parts = [
            self._head(Notice(), width),
            self._rates(rates.ALL, width),
            rule_lines(self._stats, order=Order.EVENTS, width=width, charset=self._charset),
            *self._state(width),
        ]
        lines = _stack(parts, is_loose=True)
        return [self._cleaned(line) if width is None else self._cut(line, width) for line in lines]

    def fitted(self, width: int, height: int, *, notice: Notice, order: Order) -> _Part:
        """The lines for a terminal of this size: never more, never wider."""
        head = self._head(notice, width)
        foot = [Text(notice.keys, style="dim", end="")] if notice.keys else []
        room = max(height - len(head) - len(foot), 0)
        rules = rule_lines(self._stats, order=order, width=width, charset=self._charset)
        body = self._body(rules, width, room)[:room]
        blanks = [Text(end="")] * (room - len(body))
        lines = [*head, *body, *blanks, *foot][: max(height, 0)]
        return [self._cut(line, width) for line in lines]

    def _body(self, rules: _Part, width: int, room: int) -> _Part:
        """The first arrangement that leaves the rejected rules enough lines, or the shortest."""
        enough = min(len(rules), max(_MIN_RULE_LINES, room // 3))
        arrangement: list[_Part] = []
        for is_loose, others in self._arrangements(width):
            arrangement = others
            gaps = len(others) if is_loose else 0
            left = room - sum(map(len, others)) - gaps
            if left >= enough:
                shown = _shortened(rules, left, self._charset)
                return _stack([others[0], shown, *others[1:]], is_loose=is_loose)
        first, *others = arrangement
        while others and room - len(first) - sum(map(len, others)) < enough:
            others.pop()
        left = max(room - len(first) - sum(map(len, others)), 0)
        return _stack([first, _shortened(rules, left, self._charset), *others], is_loose=False)

    def _arrangements(self, width: int) -> list[tuple[bool, list[_Part]]]:
        """What stands around the rejected rules, from the roomiest to the shortest; the first is above."""
        every, few = self._rates(rates.ALL, width), self._rates(rates.FEW, width)
        full, short = self._state(width), self._short_state()
        arranged = []
        if width >= _TWO_COLUMNS_WIDTH:
            half = (width - _GAP) // 2
            left, right = self._rates(rates.ALL, half), _stack(self._state(half), is_loose=True)
            beside = self._beside(left, right, half)
            arranged += [(True, [beside]), (False, [beside])]
        return [
            *arranged,
            (True, [every, *full]),
            (True, [few, *full]),
            (False, [few, *full]),
            (False, [few, *short]),
        ]

    def _rates(self, measures: Sequence[rates.Measure], width: int | None) -> _Part:
        return rates.rate_lines(self._stats.samples, measures=measures, width=width, charset=self._charset)

    def _state(self, width: int | None) -> list[_Part]:
        parts = [
            state.failed_call_lines(self._stats, width=width),
            state.subscription_lines(self._stats, width=width, charset=self._charset),
            state.store_lines(self._stats, width=width),
            state.partition_lines(self._stats, width=width, charset=self._charset),
        ]
        return [*parts, state.node_lines(self._stats, width=width)] if self._stats.nodes else parts

    def _short_state(self) -> list[_Part]:
        subscriptions = state.subscription_lines(self._stats, width=None, charset=self._charset)
        return [
            state.failed_call_lines(self._stats),
            state.store_lines(self._stats),
            subscriptions[:1],
            state.partition_summary(self._stats),
        ]

    def _head(self, notice: Notice, width: int | None) -> _Part:
        stats = self._stats
        line = Text.assemble(("engagement", "bold"), f" {stats.version} at {self._server}", end="")
        line.append(f", up {length_text(seconds_between(stats.start_time, stats.sample_time))}")
        problems = [each for each in stats.checks if each.problem]
        is_ready = not any(each.required for each in problems)
        if not notice.text:
            line.append(", ready" if is_ready else ", not ready", "green" if is_ready else "bold red")
        lines = [line]
        if notice.text:
            lines += self._wrapped(notice.text, width, "bold red")
        for each in problems:
            lines += self._wrapped(
                f"{each.name}: {each.problem}", width, "red" if each.required else "yellow"
            )
        return lines

    def _wrapped(self, text: str, width: int | None, style: str) -> _Part:
        clean = self._charset.clean(text)
        if width is None:
            return [Text(clean, style=style, end="")]
        lines = textwrap.wrap(
            clean, max(width, 1), max_lines=_MAX_PROBLEM_LINES, placeholder=self._charset.ellipsis
        )
        return [Text(line, style=style, end="") for line in lines]

    def _beside(self, left: _Part, right: _Part, half: int) -> _Part:
        """Two parts side by side."""
        lines = []
        for one, other in zip_longest(left, right, fillvalue=Text(end="")):
            line = Text(end="").append_text(self._cut(one, half))
            line.append(" " * (half + _GAP - line.cell_len))
            line.append_text(self._cut(other, half))
            line.rstrip()
            lines.append(line)
        return lines

    def _cut(self, line: Text, width: int) -> Text:
        """The line in at most so many columns."""
        line = self._cleaned(line)
        if line.cell_len > width:
            line.truncate(max(width - len(self._charset.ellipsis), 0))
            if width > 0:
                line.append(self._charset.ellipsis)
        return line

    def _cleaned(self, line: Text) -> Text:
        """The line, whose texts of others may still be as they came."""
        clean = self._charset.clean(line.plain)
        return line.copy() if clean == line.plain else Text(clean, style=line.style, end="")


def _stack(parts: Sequence[_Part], *, is_loose: bool) -> _Part:
    """The parts below each other, with blank lines between them if they are loose."""
    lines: _Part = []
    for part in parts:
        if part and lines and is_loose:
            lines.append(Text(end=""))
        lines += part
    return lines


def _shortened(lines: _Part, count: int, charset: Charset) -> _Part:
    """At most so many lines, the last of which says how many are left out."""
    if len(lines) <= count:
        return lines
    if count <= _MIN_RULE_LINES // 2:
        return lines[: max(count, 0)]
    hidden = len(lines) - count + 1
    return [*lines[: count - 1], Text(f"{charset.ellipsis} {hidden:,} more", style="dim", end="")]
