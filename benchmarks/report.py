"""Measured figures, their targets, and their presentation, whatever was measured."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from statistics import median


@dataclass(frozen=True, slots=True)
class Target:
    """The bound of a figure: `minimum`, `below`, or neither to only report it."""

    minimum: float | None = None
    below: float | None = None

    def judge(self, value: float) -> str:
        """`met`, `missed`, or nothing without a bound."""
        if self.minimum is not None:
            return "met" if value >= self.minimum else "missed"
        if self.below is not None:
            return "met" if value < self.below else "missed"
        return ""

    def __str__(self) -> str:
        if self.minimum is not None:
            return f"≥ {number(self.minimum)}"
        return "" if self.below is None else f"< {number(self.below)}"


NO_TARGET = Target()


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value."""

    section: str
    name: str
    value: float
    unit: str
    target: Target = NO_TARGET
    samples: Sequence[float] = ()
    """The measurements behind a median; empty for a single one."""

    @classmethod
    def of_median(
        cls, section: str, *, name: str, samples: Sequence[float], unit: str, target: Target = NO_TARGET
    ) -> Figure:
        """A figure whose value is the median of its samples."""
        return cls(section, name, median(samples), unit, target, tuple(samples))

    @property
    def verdict(self) -> str:
        """Whether the target is met."""
        return self.target.judge(self.value)

    def to_json(self) -> dict[str, object]:
        """The figure as JSON values."""
        return {**asdict(self), "verdict": self.verdict or None}


def percentile_99(samples: Sequence[float]) -> float:
    """The value that 99 of 100 samples do not exceed."""
    return sorted(samples)[math.ceil(len(samples) * 0.99) - 1]


def render(figures: Iterable[Figure]) -> Iterator[str]:
    """The lines of one Markdown table a section, aligned for a terminal."""
    for section, members in groupby(figures, key=lambda figure: figure.section):
        yield f"\n{section}\n"
        yield from _table(list(members))


def _table(figures: Sequence[Figure]) -> Iterator[str]:
    header = ("what", "measured", "unit", "target", "verdict")
    rows = [
        (figure.name, number(figure.value), figure.unit, str(figure.target), figure.verdict)
        for figure in figures
    ]
    yield from table(header, rows, right={1})


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[int] = ()
) -> Iterator[str]:
    """The lines of a Markdown table, aligned for a terminal; the columns of numbers are to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    aligns = [str.rjust if column in right else str.ljust for column in range(len(header))]
    rule = ["-" * width for width in widths]
    for column in right:
        rule[column] = rule[column][:-1] + ":"
    for row in (header, rule, *rows):
        cells = [align(cell, width) for align, cell, width in zip(aligns, row, widths, strict=True)]
        yield f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    """A number for people: three digits that mean something, or all digits before the point."""
    if not math.isfinite(value):
        return "-"
    if value == round(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
