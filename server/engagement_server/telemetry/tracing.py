"""Turns tracing on in a process. Only then OpenTelemetry is loaded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engagement_server.errors import ConfigurationError
from engagement_server.telemetry.sampling import Sampler
from engagement_server.telemetry.spans import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable

    from engagement_server.telemetry.export import Exporter


class Tracing:
    """A tracer whose spans are sent to a collector."""

    def __init__(self, exporter: Exporter, *, ratio: float) -> None:
        """Takes the ratio of calls that are traced: see `Sampler`."""
        self._exporter = exporter
        self.tracer = Tracer(Sampler(ratio), exporter.offer)

    async def close(self) -> None:
        """Sends the last spans, or gives up after a second."""
        await asyncio.to_thread(self._exporter.close)


def open_tracing(
    endpoint: str, *, ratio: float, name: str, version: str, on_dropped: Callable[[int], None]
) -> Tracing:
    """Traces a process with this name; `on_dropped` gets numbers of spans. Raises ConfigurationError."""
    try:
        from engagement_server.telemetry.export import Exporter  # noqa: PLC0415  # needs an extra
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"--trace-endpoint needs {error.name}, which is not installed; install it with:"
            " pip install 'engagement-attributes[server,tracing]'"
        ) from error
    return Tracing(Exporter(endpoint, name=name, version=version, on_dropped=on_dropped), ratio=ratio)
