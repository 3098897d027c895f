"""What sees the calls of a process: its measures, its log lines, its traces and its audit log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engagement_server.metrics.measures import Measures
from engagement_server.telemetry.config import DEFAULT_LINES

if TYPE_CHECKING:
    from engagement_server.access.audit import Auditor
    from engagement_server.telemetry.config import LogLineConfig
    from engagement_server.telemetry.spans import Tracer


@dataclass(frozen=True, slots=True)
class Observers:
    """Those of one process."""

    measures: Measures = field(default_factory=Measures)
    lines: LogLineConfig = DEFAULT_LINES
    tracer: Tracer | None = None
    """None if no call is traced."""
    audit: Auditor | None = None
    """None if there is no audit log."""
