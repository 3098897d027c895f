"""What events of three shapes take, as `python -m benchmarks.sizing` has measured it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeFigures:
    """What events of one shape take: bytes of one event, and seconds of a million."""

    event_bytes: int
    """Of an event as it is sent."""
    measured_events: int
    """How many events the figures come from."""
    store_bytes: int
    """On disk, indexes included."""
    backup_bytes: int
    log_bytes: int
    """In the replicated log, on each of its servers."""
    snapshot_bytes: int
    """In a snapshot of the replicated log, packed."""
    memory_mb: int
    """Peak of a server that takes a bulk upload."""
    ingest_cpu_seconds: float
    """Processor time of a server for taking them in bulk."""
    apply_cpu_seconds: float
    """Processor time of a node for applying them from the log."""
    fill_cpu_seconds: float
    """Processor time of a new node for starting from a snapshot of them."""
    expiry_cpu_seconds: float
    """Processor time for removing them."""
    backup_seconds: float
    restore_seconds: float


FIGURES: Final = {
    "small": ShapeFigures(
        event_bytes=263,
        measured_events=200000,
        store_bytes=573,
        backup_bytes=565,
        log_bytes=164,
        snapshot_bytes=201,
        memory_mb=167,
        ingest_cpu_seconds=68.5,
        apply_cpu_seconds=25.2,
        fill_cpu_seconds=3.5,
        expiry_cpu_seconds=92.0,
        backup_seconds=3.2,
        restore_seconds=1.0,
    ),
    "medium": ShapeFigures(
        event_bytes=2017,
        measured_events=60000,
        store_bytes=5190,
        backup_bytes=5171,
        log_bytes=845,
        snapshot_bytes=1246,
        memory_mb=168,
        ingest_cpu_seconds=138.2,
        apply_cpu_seconds=108.8,
        fill_cpu_seconds=25.5,
        expiry_cpu_seconds=195.3,
        backup_seconds=22.0,
        restore_seconds=8.0,
    ),
    "large": ShapeFigures(
        event_bytes=16017,
        measured_events=10000,
        store_bytes=23221,
        backup_bytes=23139,
        log_bytes=5650,
        snapshot_bytes=9274,
        memory_mb=164,
        ingest_cpu_seconds=658.0,
        apply_cpu_seconds=718.0,
        fill_cpu_seconds=184.0,
        expiry_cpu_seconds=613.0,
        backup_seconds=136.6,
        restore_seconds=36.3,
    ),
}
