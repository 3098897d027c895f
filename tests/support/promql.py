"""Evaluates the part of PromQL that the dashboard and the alerts use, over scrapes of real servers."""

from __future__ import annotations

import math
import operator
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import promql_parser as promql

from tests.support.management import Sample

Labels: TypeAlias = frozenset[tuple[str, str]]
Vector: TypeAlias = dict[Labels, float]

NAME = "__name__"
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_AGGREGATES: Mapping[str, Callable[[list[float]], float]] = {"sum": sum, "max": max, "min": min, "count": len}


class Scrape(NamedTuple):
    """What the servers showed at one time."""

    seconds: float
    samples: Vector
    """By labels, the name among them."""


class Selector(NamedTuple):
    """The series that an expression reads."""

    name: str
    matchers: Sequence[promql.Matcher]

    def takes(self, labels: Labels) -> bool:
        """Whether a series with these labels, its name among them, is read."""
        has = dict(labels)
        return has.get(NAME) == self.name and all(
            _agrees(each, has.get(each.name, "")) for each in self.matchers
        )


def scraped(instances: Mapping[str, Mapping[Sample, float] | None], *, seconds: float) -> Scrape:
    """The scrape of some servers, by name; those that did not answer are down."""
    found: Vector = {}
    for instance, shown in instances.items():
        target = {"job": "engagement", "instance": instance}
        found[_labels({NAME: "up", **target})] = float(shown is not None)
        for (name, labels), value in (shown or {}).items():
            found[_labels({NAME: name, **dict(labels), **target})] = value
    return Scrape(seconds, found)


def evaluate(expression: str, scrapes: Sequence[Scrape]) -> Vector:
    """The result after these scrapes; rates are from the first that shows a series to the last of them."""
    found = _value(promql.parse(expression), scrapes)
    assert isinstance(found, dict), f"{expression} is no vector"
    return found


def selectors(expression: str) -> list[Selector]:
    """All series that an expression reads. Raises ValueError if it does not parse."""
    found = []

    def note(node: promql.Expr) -> None:
        if isinstance(node, promql.VectorSelector | promql.MatrixSelector):
            found.append(_selector(node))

    promql.walk(promql.parse(expression), note)
    return found


def grouping_labels(expression: str) -> set[str]:
    """All labels that an expression groups by, or leaves out of comparisons."""
    found: set[str] = set()

    def note(node: promql.Expr) -> None:
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            found.update(node.modifier.labels)
        if isinstance(node, promql.BinaryExpr) and node.modifier is not None and node.modifier.matching:
            found.update(node.modifier.matching.labels)

    promql.walk(promql.parse(expression), note)
    return found


def _value(node: promql.Expr, scrapes: Sequence[Scrape]) -> Vector | float:
    match node:
        case promql.NumberLiteral():
            return node.val
        case promql.ParenExpr():
            return _value(node.expr, scrapes)
        case promql.VectorSelector():
            return dict(_read(_selector(node), scrapes[-1]))
        case promql.AggregateExpr():
            return _aggregate(node, scrapes)
        case promql.BinaryExpr():
            return _binary(node, scrapes)
        case promql.Call() if node.func.name == "time":
            return time.time()
        case promql.Call():
            return _call(node, scrapes)
    raise AssertionError(f"rules use no {type(node).__name__}")


def _read(selector: Selector, scrape: Scrape) -> Iterator[tuple[Labels, float]]:
    for labels, value in scrape.samples.items():
        if selector.takes(labels):
            yield labels, value


def _call(node: promql.Call, scrapes: Sequence[Scrape]) -> Vector:
    if node.func.name == "histogram_quantile":
        share, buckets = (_value(each, scrapes) for each in node.args)
        assert isinstance(share, float)
        assert isinstance(buckets, dict)
        return _quantile(share, buckets)
    assert node.func.name in {"rate", "increase"}, node.func.name
    (argument,) = node.args
    selector, last = _selector(argument), scrapes[-1]
    firsts: dict[Labels, tuple[float, float]] = {}
    for scrape in reversed(scrapes[:-1]):
        firsts.update((labels, (value, scrape.seconds)) for labels, value in _read(selector, scrape))
    return {
        _without(labels, {NAME}): (value - firsts[labels][0])
        / (last.seconds - firsts[labels][1] if node.func.name == "rate" else 1.0)
        for labels, value in _read(selector, last)
        if labels in firsts
    }


def _quantile(share: float, buckets: Vector) -> Vector:
    by_series: defaultdict[Labels, list[tuple[float, float]]] = defaultdict(list)
    for labels, count in buckets.items():
        by_series[_without(labels, {"le"})].append((float(dict(labels)["le"]), count))
    return {labels: _quantile_of(share, sorted(each)) for labels, each in by_series.items()}


def _quantile_of(share: float, buckets: Sequence[tuple[float, float]]) -> float:
    """By linear interpolation in the bucket, as Prometheus does."""
    rank = share * buckets[-1][1]
    lower, below = 0.0, 0.0
    for upper, count in buckets:
        if count >= rank and count > below:
            return lower if math.isinf(upper) else lower + (upper - lower) * (rank - below) / (count - below)
        lower, below = upper, count
    return math.nan


def _aggregate(node: promql.AggregateExpr, scrapes: Sequence[Scrape]) -> Vector:
    vector = _value(node.expr, scrapes)
    assert isinstance(vector, dict)
    kept: set[str] = set()
    if node.modifier is not None:
        assert node.modifier.type == promql.AggModifierType.By
        kept = set(node.modifier.labels)
    groups: defaultdict[Labels, list[float]] = defaultdict(list)
    for labels, value in vector.items():
        groups[frozenset(each for each in labels if each[0] in kept)].append(value)
    aggregate = _AGGREGATES[str(node.op)]
    return {labels: float(aggregate(values)) for labels, values in groups.items()}


def _binary(node: promql.BinaryExpr, scrapes: Sequence[Scrape]) -> Vector:
    left, right = _value(node.lhs, scrapes), _value(node.rhs, scrapes)
    assert isinstance(left, dict)
    ignored = {NAME}
    if node.modifier is not None and node.modifier.matching is not None:
        assert node.modifier.matching.type == promql.LabelModifierType.Exclude
        ignored.update(node.modifier.matching.labels)
    others = (
        {_without(labels, ignored): value for labels, value in right.items()}
        if isinstance(right, dict)
        else {}
    )
    found: Vector = {}
    for labels, value in left.items():
        other = others.get(_without(labels, ignored)) if isinstance(right, dict) else right
        if other is None:
            continue
        if (compare := _COMPARISONS.get(str(node.op))) is not None:
            if compare(value, other):
                found[labels] = value
        elif str(node.op) == "-":
            found[_without(labels, ignored)] = value - other
        else:
            assert str(node.op) == "/", node.op
            found[_without(labels, ignored)] = value / other if other else math.nan
    return found


def _selector(node: Any) -> Selector:  # Any: the stubs do not tell one kind of selector from the other
    selector = node.vector_selector if isinstance(node, promql.MatrixSelector) else node
    assert selector.name
    return Selector(selector.name, selector.matchers.matchers)


def _agrees(matcher: promql.Matcher, value: str) -> bool:
    if matcher.op in (promql.MatchOp.Re, promql.MatchOp.NotRe):
        is_same = re.fullmatch(matcher.value, value) is not None
    else:
        is_same = matcher.value == value
    return is_same is (matcher.op in (promql.MatchOp.Re, promql.MatchOp.Equal))


def _labels(labels: Mapping[str, str]) -> Labels:
    return frozenset(labels.items())


def _without(labels: Labels, names: set[str]) -> Labels:
    return frozenset(each for each in labels if each[0] not in names)
