"""The export of spans is bounded: in memory, in log lines, and in the time that a stop may take."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from engagement_server.telemetry import export as module
from engagement_server.telemetry.context import new_context
from engagement_server.telemetry.export import MAX_WAITING_SPANS, Exporter
from engagement_server.telemetry.spans import Kind, Span
from tests.support.collector import Collector, collector
from tests.support.waiting import DEADLINE_SECONDS, eventually


@pytest.fixture
def silent() -> Iterator[Collector]:
    """A collector that accepts connections, and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield Collector(f"127.0.0.1:{listening.getsockname()[1]}")


@pytest.fixture
def dropped() -> list[int]:
    """Numbers of dropped spans, as they were told."""
    return []


def exporter_to(collected: Collector, dropped: list[int]) -> Exporter:
    return Exporter(collected.url, name="test", version="1", on_dropped=dropped.append)


def end_spans(count: int, finish: Callable[[Span], None]) -> None:
    for _ in range(count):
        Span("some", finish, parent=new_context(), kind=Kind.PRODUCER).end()


async def test_all_that_there_is_room_for_is_sent(dropped: list[int]) -> None:
    with collector() as collected:
        exporter = exporter_to(collected, dropped)
        end_spans(MAX_WAITING_SPANS, exporter.offer)
        await eventually(lambda: len(collected.spans) == MAX_WAITING_SPANS, "all spans arrive")
        end_spans(3, exporter.offer)
        await asyncio.to_thread(exporter.close)
        assert len(collected.spans) == MAX_WAITING_SPANS + 3, "what waits is sent at the end"
        assert len({span.span_id for span in collected.spans}) == MAX_WAITING_SPANS + 3
        end_spans(2, exporter.offer)
    assert sum(dropped) == 2, "nothing is taken after the end"


async def test_what_there_is_no_room_for_is_dropped_and_counted(
    silent: Collector, dropped: list[int]
) -> None:
    exporter = exporter_to(silent, dropped)
    end_spans(3 * MAX_WAITING_SPANS, exporter.offer)
    # One batch may be on its way.
    assert 2 * MAX_WAITING_SPANS - module.MAX_BATCH_SPANS <= sum(dropped) <= 2 * MAX_WAITING_SPANS
    began = time.monotonic()
    await asyncio.to_thread(exporter.close)
    assert time.monotonic() - began < DEADLINE_SECONDS, "a collector that hangs does not hold up a stop"


async def test_failures_are_counted_and_logged_once_a_minute(
    dropped: list[int], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GATHER_SECONDS", 0.0)
    monkeypatch.setattr(module, "EXPORT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        away = Collector(f"127.0.0.1:{closed.getsockname()[1]}")
    exporter = exporter_to(away, dropped)
    with caplog.at_level(logging.DEBUG):
        for number in range(1, 4):
            end_spans(1, exporter.offer)
            await eventually(lambda number=number: sum(dropped) == number, "the span is dropped")  # type: ignore[misc]
        await asyncio.to_thread(exporter.close)
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 1
    assert told[0].startswith("the collector of --trace-endpoint takes no spans, they are dropped: ")
