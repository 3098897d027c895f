"""What happened at a server in the last minutes: numbers now and at most, and how they changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from engagement import v1
from engagement.cli.top.charset import Charset
from engagement.cli.top.quantities import (
    NOTHING,
    bytes_text,
    count_text,
    duration_seconds,
    latency_text,
    length_text,
    rate_text,
    seconds_between,
)
from engagement.cli.top.sparkline import sparkline

_NAME_COLUMNS: Final = 13
_NUMBER_COLUMNS: Final = 10
_PLAIN_BARS: Final = 60
_MIN_SECONDS: Final = 0.001
_WARNING: Final = "yellow"


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of each sample."""

    name: str
    read: Callable[[v1.ServerSample], float | None]
    """None if the sample has none."""
    write: Callable[[float], str]
    style: str = ""
    """Of numbers above zero."""


def _rate(field: str) -> Callable[[v1.ServerSample], float]:
    def read(sample: v1.ServerSample) -> float:
        count: int = getattr(sample, field)
        return count / max(duration_seconds(sample.duration), _MIN_SECONDS)

    return read


def _time(field: str) -> Callable[[v1.ServerSample], float | None]:
    def read(sample: v1.ServerSample) -> float | None:
        return duration_seconds(getattr(sample, field)) if sample.HasField(field) else None

    return read


_ACCEPTED: Final = Measure("accepted", _rate("accepted_events"), rate_text)
_REJECTED: Final = Measure("rejected", _rate("rejected_events"), rate_text, style=_WARNING)
_CALLS: Final = Measure("calls", _rate("calls"), rate_text)
_FAILED: Final = Measure("failed calls", _rate("failed_calls"), rate_text, style=_WARNING)
_P99: Final = Measure("call p99", _time("p99_call_time"), latency_text)
FEW: Final = (_ACCEPTED, _REJECTED, _CALLS, _FAILED, _P99)
"""Those that matter most, for small terminals."""
ALL: Final = (
    _ACCEPTED,
    Measure("duplicate", _rate("duplicate_events"), rate_text),
    Measure("suppressed", _rate("suppressed_events"), rate_text),
    _REJECTED,
    _CALLS,
    _FAILED,
    Measure("call median", _time("median_call_time"), latency_text),
    _P99,
    Measure("commits", _rate("commits"), rate_text),
    Measure("commit p99", _time("p99_commit_time"), latency_text),
    Measure("slowest lag", lambda sample: sample.max_lag_events, count_text),
    Measure("memory", lambda sample: sample.memory_bytes, bytes_text),
)


def rate_lines(
    samples: Sequence[v1.ServerSample],
    *,
    measures: Sequence[Measure],
    width: int | None,
    charset: Charset,
) -> list[Text]:
    """A line for each measure, below a header."""
    if not samples:
        return [Text("no samples yet", style="dim", end="")]
    fixed = _NAME_COLUMNS + 2 * _NUMBER_COLUMNS + 2
    bars = _PLAIN_BARS if width is None else max(width - fixed, 0)
    first, last = samples[0], samples[-1]
    past = seconds_between(first.end_time, last.end_time) + duration_seconds(first.duration)
    names = f"{'':{_NAME_COLUMNS}}{'now':>{_NUMBER_COLUMNS}}{'most':>{_NUMBER_COLUMNS}}"
    header = Text(f"{names}  the last {length_text(past)}", style="dim", end="")
    return [header, *(_line(samples, measure, bars, charset) for measure in measures)]


def _line(samples: Sequence[v1.ServerSample], measure: Measure, bars: int, charset: Charset) -> Text:
    values = [measure.read(sample) for sample in samples]
    now = values[-1]
    most = max((value for value in values if value is not None), default=None)
    line = Text(f"{measure.name:{_NAME_COLUMNS}}", end="")
    for value, style in ((now, "bold"), (most, "")):
        shown = NOTHING if value is None else charset.clean(measure.write(value))
        line.append(f"{shown:>{_NUMBER_COLUMNS}}", (measure.style if value else "") or style)
    line.append("  ")
    line.append(sparkline(values, width=bars, bars=charset.bars), measure.style or "cyan")
    line.rstrip()
    return line
