"""Calculates what a number of events takes, from measured figures of three shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise

from engagement_server.commands.sizing_figures import FIGURES, ShapeFigures

DAY_SECONDS = 86_400
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a service is to handle."""

    events: float
    """Stored events."""
    events_a_day: float
    event_bytes: float
    """Of an event as it is sent."""
    peak: float
    """The busiest second against the average."""
    partitions: int
    nodes: int
    """Of each partition; 1 is a server with an embedded store."""
    disk_mb_a_second: float
    """What the disks read and write, in megabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What each partition takes on each node: bytes, seconds, and processor cores."""

    events: float
    """Stored in a partition."""
    store_bytes: float
    backup_bytes: float
    backup_seconds: float
    restore_seconds: float
    ingest_cores: float
    """For taking events in bulk, at the peak."""
    apply_cores: float
    """For applying what other nodes take, at the peak; 0 on a single machine."""
    expiry_cores: float
    """For removing as many events as arrive."""
    memory_mb: float
    log_bytes_a_day: float
    """On each server of the log; 0 on a single machine."""
    snapshot_bytes: float
    fill_seconds: float
    """For a new node to start from a snapshot."""
    largest_measured: float
    """Bytes of the largest events that were measured."""


def figures_of(event_bytes: float) -> Mapping[str, float]:
    """The measured figures, interpolated for events of another size.

    Events smaller than the smallest measured ones cost the same; beyond the largest, costs go on as between
    the last two.
    """
    shapes = sorted(FIGURES.values(), key=lambda shape: shape.event_bytes)
    size = max(event_bytes, shapes[0].event_bytes)
    below, above = next(
        (pair for pair in pairwise(shapes) if size <= pair[1].event_bytes), (shapes[-2], shapes[-1])
    )
    share = (size - below.event_bytes) / (above.event_bytes - below.event_bytes)

    def between(name: str) -> float:
        low, high = float(getattr(below, name)), float(getattr(above, name))
        return low + share * (high - low)

    return {field.name: between(field.name) for field in fields(ShapeFigures)}


def plan(demand: Demand) -> Plan:
    """What a partition takes on a node."""
    figures = figures_of(demand.event_bytes)
    events = demand.events / demand.partitions
    millions = events / _MILLION
    average = demand.events_a_day / DAY_SECONDS / demand.partitions / _MILLION
    is_replicated = demand.nodes > 1
    taken = demand.peak * average / demand.nodes
    store_bytes = events * figures["store_bytes"]
    backup_bytes = events * figures["backup_bytes"]
    snapshot_bytes = is_replicated * events * figures["snapshot_bytes"]

    def moved(*sizes: float) -> float:
        """Seconds for reading and writing so many bytes: what was measured was still in memory."""
        return sum(sizes) / (demand.disk_mb_a_second * _MILLION)

    return Plan(
        events=events,
        store_bytes=store_bytes,
        backup_bytes=backup_bytes,
        backup_seconds=millions * figures["backup_seconds"] + moved(store_bytes, backup_bytes),
        restore_seconds=millions * figures["restore_seconds"] + moved(backup_bytes, backup_bytes),
        ingest_cores=taken * figures["ingest_cpu_seconds"],
        apply_cores=(demand.peak * average - taken) * figures["apply_cpu_seconds"],
        expiry_cores=average * figures["expiry_cpu_seconds"],
        memory_mb=figures["memory_mb"],
        log_bytes_a_day=is_replicated * demand.events_a_day / demand.partitions * figures["log_bytes"],
        snapshot_bytes=snapshot_bytes,
        fill_seconds=is_replicated
        * (millions * figures["fill_cpu_seconds"] + moved(snapshot_bytes, snapshot_bytes, store_bytes)),
        largest_measured=max(shape.event_bytes for shape in FIGURES.values()),
    )
