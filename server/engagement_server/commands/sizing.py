"""`engagement sizing`: what a number of events takes. It needs no server."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

import click

from engagement_server.commands.reports import print_pairs
from engagement_server.commands.sizing_figures import FIGURES
from engagement_server.commands.sizing_plan import DAY_SECONDS, Demand, Plan, plan

_EPILOG = """\b
Examples:
  engagement sizing --events 100M
  engagement sizing --events-a-day 5M --retention-days 90 --event-bytes 900
  engagement sizing --events-a-day 200M --partitions 16 --nodes 3

Figures of other machines differ by a factor, and those of large stores are
calculated from smaller ones: measure yours before you buy.
"""
_FACTORS: Final = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}
_NUMBER = re.compile(r"([0-9][0-9_,]*(?:\.[0-9]+)?) ?([kmgb]?)", re.IGNORECASE | re.ASCII)
_MAX_EVENTS: Final = 1e13
_MAX_EVENT_BYTES: Final = 3_500_000
_MAX_DAYS: Final = 36_500
_MAX_PARTITIONS: Final = 10_000
_MAX_NODES: Final = 100
_MAX_PEAK: Final = 1_000
_MAX_DISK_MB: Final = 1_000_000
_HEADROOM: Final = 2
"""Room on the disk for what is written beside the store: a backup, a snapshot, a restore."""


class _Count(click.ParamType[float]):
    """A number above 0, with k, M or G for thousands, millions and thousand millions."""

    name = "number"

    def __init__(self, *, at_most: float) -> None:
        self._at_most = at_most

    # Any: as click passes it.
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Raises BadParameter."""
        if isinstance(value, int | float):
            return float(value)
        found = _NUMBER.fullmatch(str(value).strip())
        number = 0.0 if found is None else float(re.sub("[_,]", "", found[1])) * _FACTORS[found[2].lower()]
        if not 0 < number <= self._at_most:
            self.fail(
                f"must be a number above 0 and at most {self._at_most:,.0f}, such as 2500 or 100M", param, ctx
            )
        return number


@click.command(epilog=_EPILOG)
@click.option("--events", type=_Count(at_most=_MAX_EVENTS), help="Stored events, such as 100M.")
@click.option(
    "--events-a-day",
    type=_Count(at_most=_MAX_EVENTS),
    help="Events that arrive each day; by default as many as let --events expire evenly.",
)
@click.option(
    "--retention-days",
    type=_Count(at_most=_MAX_DAYS),
    default=396,
    show_default=True,
    help="Days to keep them.",
)
@click.option(
    "--event-bytes",
    type=_Count(at_most=_MAX_EVENT_BYTES),
    default=FIGURES["small"].event_bytes,
    show_default=True,
    help="Size of an event as it is sent.",
)
@click.option(
    "--peak",
    type=_Count(at_most=_MAX_PEAK),
    default=3,
    show_default=True,
    help="Busiest second against the average.",
)
@click.option(
    "--partitions",
    type=click.IntRange(1, _MAX_PARTITIONS),
    default=1,
    show_default=True,
    help="Partitions that the accounts are spread over.",
)
@click.option(
    "--nodes",
    type=click.IntRange(1, _MAX_NODES),
    default=1,
    show_default=True,
    help="Nodes that carry each partition; 1 means one machine without a replicated log.",
)
@click.option(
    "--disk-mb-a-second",
    type=_Count(at_most=_MAX_DISK_MB),
    default=200,
    show_default=True,
    help="Megabytes that the disks read or write in a second.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one line of JSON.")
def sizing(  # noqa: PLR0913  # the options
    *,
    events: float | None,
    events_a_day: float | None,
    retention_days: float,
    event_bytes: float,
    peak: float,
    partitions: int,
    nodes: int,
    disk_mb_a_second: float,
    as_json: bool,
) -> int:
    """Calculate the disk, memory, processors and times that events take.

    From measurements of events of three sizes, on one machine with two cores. Give
    the number of events to store, or how many arrive each day and how long they
    are kept.
    """
    if events is None and events_a_day is None:
        raise click.UsageError("give --events, the number to store, or --events-a-day")
    if partitions > 1 and nodes == 1:
        raise click.UsageError("more than one partition needs a replicated log; give --nodes 2 or more")
    stored = events if events is not None else (events_a_day or 0) * retention_days
    demand = Demand(
        events=stored,
        events_a_day=events_a_day if events_a_day is not None else stored / retention_days,
        event_bytes=event_bytes,
        peak=peak,
        partitions=partitions,
        nodes=nodes,
        disk_mb_a_second=disk_mb_a_second,
    )
    calculated = plan(demand)
    if as_json:
        click.echo(json.dumps({**asdict(demand), "partition": asdict(calculated)}))
        return 0
    click.echo(f"{_title(demand)}\n")
    print_pairs(_rows(demand, calculated))
    if event_bytes > calculated.largest_measured:
        click.echo(f"\nEvents above {calculated.largest_measured:,.0f} bytes were not measured.")
    return 0


def _title(demand: Demand) -> str:
    events = f"{_count(demand.events)} events of {demand.event_bytes:,.0f} bytes"
    of_all = f"{events}, {_count(demand.events_a_day)} a day"
    if demand.nodes == 1:
        return f"{of_all}, on one machine:"
    partitions = "one partition" if demand.partitions == 1 else f"each of {demand.partitions} partitions"
    return f"{of_all}; {partitions} on each of its {demand.nodes} nodes:"


def _rows(demand: Demand, calculated: Plan) -> Iterator[tuple[str, str]]:
    """What a partition takes on a node, in words."""
    yield (
        "store",
        f"{_size(calculated.store_bytes)}; plan a disk of {_size(_HEADROOM * calculated.store_bytes)}",
    )
    yield "backup", f"{_size(calculated.backup_bytes)}, {_time(calculated.backup_seconds)} to copy"
    yield "restore", f"{_time(calculated.restore_seconds)}, and what was accepted since is sent again"
    yield "taking events", f"{_cores(calculated.ingest_cores)} at the peak, in bulk"
    if demand.nodes > 1:
        yield "applying the log", f"{_cores(calculated.apply_cores)} at the peak"
    yield "expiry", f"{_cores(calculated.expiry_cores)}, for as many as arrive"
    yield "memory", f"{calculated.memory_mb:,.0f} MB at the peak of a bulk upload"
    if demand.nodes > 1:
        yield "log", f"{_size(calculated.log_bytes_a_day)} a day on each of its servers"
        yield (
            "snapshots",
            f"{_size(3 * calculated.snapshot_bytes)} on each server of the log: two, and one in progress",
        )
        yield "a new node", f"{_time(calculated.fill_seconds)} from a snapshot"


def _count(number: float) -> str:
    for size, name in ((1e9, " billion"), (1e6, " million")):
        if number >= size:
            return f"{number / size:,.3g}{name}" if number < 1000 * size else f"{number / size:,.0f}{name}"
    return f"{number:,.0f}"


def _size(size_bytes: float) -> str:
    for size, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if size_bytes >= size:
            return f"{_digits(size_bytes / size)} {name}"
    return f"{math.ceil(size_bytes / 1e3)} kB"


def _time(seconds: float) -> str:
    for size, name in ((2 * DAY_SECONDS, "days"), (2 * 3600, "hours"), (120, "minutes")):
        if seconds >= size:
            unit = {"days": DAY_SECONDS, "hours": 3600, "minutes": 60}[name]
            return f"{_digits(seconds / unit)} {name}"
    return f"{math.ceil(seconds)} s"


def _cores(cores: float) -> str:
    if cores < 0.01:
        return "under 0.01 of a core"
    return f"{cores:,.2f} of a core" if cores < 1 else f"{_digits(cores)} cores"


def _digits(number: float) -> str:
    """Two digits that mean something."""
    return f"{number:.1f}" if number < 10 else f"{number:,.0f}"
