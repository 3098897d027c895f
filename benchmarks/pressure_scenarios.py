"""The rude neighbours, what they need in the store, and what becomes of the caller beside each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.events import EventSource
from benchmarks.load import ACCOUNT_ID, chunk_message, time_upload
from benchmarks.pressure_run import Calls, Neighbour, PressureRun, Report
from benchmarks.report import number, percentile_99
from benchmarks.settings import announce
from benchmarks.text_events import TextEvents
from engagement.limits import MAX_CHUNK_BYTES, MAX_CHUNK_EVENTS
from engagement.uuid7 import uuid7

MAX_RATIO: Final = 10
_ALONE_SHARE: Final = 0.5
_SEARCHED_EVENTS: Final = 200_000
_PROFILE_EVENTS: Final = 50_000
_CONSUMER, _CUSTOMER = "large-consumer", "large-customer"
_UNREAD_ACCOUNT: Final = "unread"
_PAGE_EVENTS: Final = 1_000
_PAGE_BYTES: Final = 3 * 1024 * 1024
_RUDE_ACCOUNT: Final = "rude"

HEADER: Final = (
    "beside",
    "p50 ms",
    "p99 ms",
    "alone",
    "ratio",
    "slowest kind: p50, p99",
    "refused",
    "peak MB",
    "the neighbour",
    "verdict",
)
NUMBERS: Final = frozenset({1, 2, 3, 4, 6, 7})


@dataclass(frozen=True, slots=True)
class Scenario:
    """A neighbour, and the rows that it needs."""

    name: str
    title: str
    neighbour: Neighbour
    needs: str = ""
    """A key of _STORES."""
    is_judged: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """What became of the caller."""

    scenario: Scenario
    alone: Calls
    beside: Calls
    peak_megabytes: float
    max_megabytes: float
    neighbour: Report
    problems: Sequence[str] = field(default=())

    @property
    def ratio(self) -> float:
        """The 99th percentile against that of the caller alone."""
        return self.beside.p99_ms / self.alone.p99_ms

    @property
    def verdict(self) -> str:
        """Whether each target is met, or which are missed."""
        if not self.scenario.is_judged:
            return ""
        missed = [
            name
            for name, is_missed in (
                (f"ratio ≥ {MAX_RATIO}", self.ratio >= MAX_RATIO),
                ("refused", self.beside.refused.total() > 0),
                (f"memory ≥ {number(self.max_megabytes)}", self.peak_megabytes >= self.max_megabytes),
            )
            if is_missed
        ]
        return f"missed: {', '.join(missed)}" if missed else "met"

    @property
    def cells(self) -> Sequence[str]:
        """The row of the table."""
        kind, latencies = self.beside.slowest_kind
        slowest = Calls({kind: latencies}, self.beside.refused)
        return (
            self.scenario.title,
            number(self.beside.p50_ms),
            number(self.beside.p99_ms),
            number(self.alone.p99_ms),
            number(self.ratio),
            f"{kind}: {number(slowest.p50_ms)}, {number(slowest.p99_ms)}",
            str(self.beside.refused.total()),
            number(self.peak_megabytes),
            self._neighbour(),
            self.verdict,
        )

    @property
    def remarks(self) -> Sequence[str]:
        """What was refused, and why, to the caller and the neighbour."""
        return [
            f"{self.scenario.title}: {who} {reason}: {count:,}"
            for who, refused in (
                ("the caller", self.beside.refused),
                ("the neighbour", self.neighbour["refused"]),
            )
            for reason, count in refused.items()
        ]

    def to_json(self) -> dict[str, object]:
        """The row as JSON values."""
        return {
            "name": self.scenario.name,
            "p50_ms": self.beside.p50_ms,
            "p99_ms": self.beside.p99_ms,
            "alone_p50_ms": self.alone.p50_ms,
            "alone_p99_ms": self.alone.p99_ms,
            "p99_ms_by_kind": {
                kind: percentile_99(latencies or [float("inf")])
                for kind, latencies in self.beside.latencies_ms.items()
            },
            "ratio": self.ratio,
            "refused": self.beside.refused,
            "peak_megabytes": self.peak_megabytes,
            "neighbour": {key: self.neighbour[key] for key in ("per_second", "unit", "refused", "notes")},
            "verdict": self.verdict or None,
        }

    def _neighbour(self) -> str:
        rate, unit = self.neighbour["per_second"], self.neighbour["unit"]
        notes = [f"{number(value)} {name}" for name, value in self.neighbour["notes"].items()]
        return ", ".join(notes if notes and not rate else [f"{number(rate)} {unit}/s", *notes])


async def run_scenario(run: PressureRun, scenario: Scenario, *, seconds: float, max_megabytes: float) -> Row:
    """The caller alone, and right after that beside the neighbour."""
    announce(scenario.name)
    await run.settle()
    alone = await run.measure(seconds * _ALONE_SHARE)
    run.begin_peak()
    calls, report = await run.beside(scenario.neighbour, run.measure(seconds))
    return Row(scenario, alone, calls, run.peak_megabytes, max_megabytes, report)


async def fill(run: PressureRun, scenarios: Sequence[Scenario]) -> None:
    """Stores what the scenarios need."""
    for name in dict.fromkeys(scenario.needs for scenario in scenarios):
        if name:
            announce(f"storing {name}")
            await _STORES[name](run)


async def _store_searched(run: PressureRun) -> None:
    await _store(run, TextEvents(300), count=_SEARCHED_EVENTS, account_id=ACCOUNT_ID)


async def _store_pages(run: PressureRun) -> None:
    events = TextEvents(_PAGE_BYTES // _PAGE_EVENTS)
    await _store(run, events, count=_PAGE_EVENTS, account_id=_UNREAD_ACCOUNT)


async def _store(run: PressureRun, events: TextEvents, *, count: int, account_id: str) -> None:
    upload_id, left = uuid7(), count
    chunks: list[bytes] = []
    while left:
        chunk, size = events.chunk(
            upload_id,
            sequence=len(chunks) + 1,
            max_events=min(left, MAX_CHUNK_EVENTS),
            max_bytes=MAX_CHUNK_BYTES,
        )
        chunks.append(chunk)
        left -= size
    await time_upload(run.channel, chunks, events=count, account_id=account_id)


async def _store_profile(run: PressureRun) -> None:
    chunks = []
    for sequence, events in enumerate(EventSource().take_chunks(_PROFILE_EVENTS), 1):
        for event in events:
            event.consumer_id = _CONSUMER
            event.customer_info.customer_id = _CUSTOMER
        chunks.append(chunk_message(events, sequence=sequence))
    await time_upload(run.channel, chunks, events=_PROFILE_EVENTS)


_STORES: Final[Mapping[str, Callable[[PressureRun], Any]]] = {
    "searched events": _store_searched,
    "a profile": _store_profile,
    "pages": _store_pages,
}


def _upload(streams: int, name: str, size_bytes: int) -> Scenario:
    options = {"streams": streams, "event_bytes": size_bytes, "account": _RUDE_ACCOUNT}
    uploads = "1 upload" if streams == 1 else f"{streams} uploads"
    return Scenario(f"upload-{streams}x{name}", f"{uploads} of {name} events", Neighbour("upload", options))


def _flood(kind: str) -> Scenario:
    options = {"kind": kind, "a_second": 2_000}
    return Scenario(f"flood-{kind.lower().replace('_', '-')}", f"{kind} frames", Neighbour("flood", options))


SCENARIOS: Final = (
    *(
        _upload(streams, name, size)
        for name, size in (("300B", 300), ("1K", 1_024), ("16K", 16_384))
        for streams in (1, 16)
    ),
    Scenario(
        "crowd", "16 uploads, a thousand accounts", Neighbour("crowd", {"streams": 16, "event_bytes": 300})
    ),
    Scenario("invalid", "64 uploads of invalid events", Neighbour("invalid", {"streams": 64})),
    Scenario(
        "searches",
        "16 callers of costly searches",
        Neighbour("search", {"callers": 16, "account": ACCOUNT_ID}),
        needs="searched events",
    ),
    Scenario(
        "profiles",
        "8 callers of a large profile",
        Neighbour(
            "profiles", {"callers": 8, "account": ACCOUNT_ID, "consumer": _CONSUMER, "customer": _CUSTOMER}
        ),
        needs="a profile",
    ),
    Scenario(
        "subscriptions",
        "2,000 idle subscriptions",
        Neighbour("subscriptions", {"subscriptions": 2_000, "connections": 10, "account": _RUDE_ACCOUNT}),
    ),
    Scenario(
        "unread",
        "500 unread lists",
        Neighbour("unread-lists", {"lists": 500, "connections": 5, "account": _UNREAD_ACCOUNT}),
        needs="pages",
    ),
    Scenario(
        "messages",
        "4 callers of large messages",
        Neighbour("large-messages", {"callers": 4, "account": _RUDE_ACCOUNT}),
    ),
    *map(_flood, ("RST_STREAM", "PING", "SETTINGS")),
    Scenario(
        "lone-event",
        "3.5 MiB every second",
        Neighbour("lone-event", {"account": _RUDE_ACCOUNT}),
        is_judged=False,
    ),
)
