"""Everything at once, as in production: uploads, single calls, followers and profile reads on one account."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.events import EventSource
from benchmarks.load import ACCOUNT_ID
from benchmarks.pressure_load import connection
from benchmarks.pressure_run import Neighbour, Report, beside
from benchmarks.processes import engagement_server
from benchmarks.report import Figure, percentile_99
from benchmarks.settings import Settings, announce
from engagement import v1

_SECTION: Final = "All together"
_SECONDS: Final = 6.0
_EVENT_BYTES: Final = 300


async def measure_mixed(settings: Settings) -> list[Figure]:
    """Rates and latencies of all."""
    return await measure_mixed_on(settings.folder / "mixed")


async def measure_mixed_on(folder: Path, *options: str) -> list[Figure]:
    """Rates and latencies of all, of a server with these options."""
    announce(f"uploads, single calls, followers and profiles together, {_SECONDS:g} s")
    # One of those that the uploads repeat, so that its profile grows.
    (event,) = EventSource().take(1)
    neighbours = _neighbours(event)
    with engagement_server(folder, *options) as server:
        async with connection(server.address) as channel:
            request = v1.RecordEventRequest(account_id=ACCOUNT_ID, event=event)
            await v1.IngestServiceStub(channel).RecordEvent(request)
        _, reports = await beside(server.address, list(neighbours.values()), asyncio.sleep(_SECONDS))
    return [
        figure for name, report in zip(neighbours, reports, strict=True) for figure in _figures(name, report)
    ]


def _neighbours(event: v1.Event) -> dict[str, Neighbour]:
    account = {"account": ACCOUNT_ID}
    subject = {"consumer": event.consumer_id, "customer": event.customer_info.customer_id}
    return {
        "2 uploads": Neighbour("upload", {"streams": 2, "event_bytes": _EVENT_BYTES, **account}),
        "RecordEvent, 8 callers": Neighbour("record", {"callers": 8, **account}),
        "20 followers": Neighbour("followers", {"subscriptions": 20, **account}),
        "GetProfile, 2 callers": Neighbour("profiles", {"callers": 2, **account, **subject}),
    }


def _figures(name: str, report: Report) -> Sequence[Figure]:
    latencies_ms = report["latencies_ms"]
    figures = [Figure(_SECTION, name, report["per_second"], f"{report['unit']}/s")]
    if latencies_ms:
        figures += [
            Figure(_SECTION, f"{name}, median", median(latencies_ms), "ms"),
            Figure(_SECTION, f"{name}, 99th percentile", percentile_99(latencies_ms), "ms"),
        ]
    refused = sum(report["refused"].values())
    return [*figures, Figure(_SECTION, f"{name}, refused", refused, "")] if refused else figures
