"""What processes measure adds up, in any order, and is bounded."""

from __future__ import annotations

import time
from itertools import permutations

import msgspec
import pytest

from engagement_server.metrics import measures as module
from engagement_server.metrics.catalogue import (
    COMMIT_SECONDS,
    EVENTS,
    MEMORY_BYTES,
    REJECTIONS,
    SUBSCRIPTION_LAG_EVENTS,
    WAITING_BYTES,
)
from engagement_server.metrics.exposition import EXEMPLAR_SECONDS, Exposition
from engagement_server.metrics.measures import OTHERS, Exemplar, Measured, Measures
from tests.support.management import example_traces, samples, value


async def shown(measures: Measures) -> str:
    return (await Exposition(measures).render("")).content.decode()


def worker(number: int) -> Measures:
    """The measures of a worker that has counted something."""
    measures = Measures(process=number)
    measures.count(EVENTS, "accepted").value += number
    for seconds in (2.0**-10, 2.0**-8, 64.0 * number):  # sums of these are exact
        measures.histogram(COMMIT_SECONDS).observe(seconds)
    measures.gauge(WAITING_BYTES, read=lambda: 10 * number)
    return measures


async def test_processes_add_up_in_any_order() -> None:
    texts = set()
    for order in permutations((1, 2, 3)):
        parent = Measures()
        for number in order:
            parent.merge(worker(number).drain())
        texts.add("\n".join(sorted(await ours(parent))))
    (text,) = texts
    found = samples(text)
    assert value(found, "engagement_events_total", outcome="accepted") == 6
    assert value(found, "engagement_commit_seconds_count") == 9
    assert value(found, "engagement_commit_seconds_sum") == 64 * 6 + 3 * 2.0**-10 + 3 * 2.0**-8
    assert value(found, "engagement_commit_seconds_bucket", le="0.001") == 3
    assert value(found, "engagement_commit_seconds_bucket", le="0.005") == 6
    assert value(found, "engagement_commit_seconds_bucket", le="+Inf") == 9
    assert value(found, "engagement_waiting_bytes") == 60


async def ours(measures: Measures) -> list[str]:
    """The lines of a server's own series."""
    return [line for line in (await shown(measures)).splitlines() if line.startswith("engagement_")]


async def test_what_was_drained_is_not_drained_again() -> None:
    parent, process = Measures(), worker(2)
    for _ in range(3):
        parent.merge(process.drain())
    found = samples(await shown(parent))
    assert value(found, "engagement_events_total", outcome="accepted") == 2
    assert value(found, "engagement_commit_seconds_count") == 3
    assert value(found, "engagement_waiting_bytes") == 20


async def test_counts_that_are_still_zero_are_known_to_the_parent() -> None:
    parent, process = Measures(), Measures(process=1)
    process.count(EVENTS, "accepted")
    process.histogram(COMMIT_SECONDS)
    parent.merge(process.drain())
    found = samples(await shown(parent))
    assert found["engagement_events_total", (("outcome", "accepted"),)] == 0
    assert found["engagement_commit_seconds_count", ()] == 0


async def test_gauges_of_a_process_that_is_gone_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = Measures()
    parent.gauge(WAITING_BYTES, read=lambda: 1)
    monkeypatch.setattr(module, "STALE_SECONDS", -1.0)
    parent.merge(worker(1).drain())
    assert parent.gauges() == {("engagement_waiting_bytes", ()): 1}
    monkeypatch.undo()
    parent.merge(worker(1).drain())
    parent.merge(worker(1).drain())  # of the one that took its place
    assert parent.gauges() == {("engagement_waiting_bytes", ()): 11}


async def test_of_some_gauges_the_highest_of_all_processes_counts() -> None:
    parent = Measures()
    for process, lag in enumerate((2.0, 7.0, 5.0)):
        measures = Measures(process=process)
        measures.gauge(SUBSCRIPTION_LAG_EVENTS, read=[lag].pop)
        parent.merge(measures.drain())
    assert parent.gauges() == {("engagement_subscription_lag_events", ()): 7}


async def test_a_gauge_without_a_value_is_left_out() -> None:
    measures = Measures()
    measures.gauge(MEMORY_BYTES, "used", read=lambda: None)
    assert "engagement_memory_bytes" not in await shown(measures)


async def test_there_is_a_limit_on_labels() -> None:
    measures = Measures()
    for number in range(REJECTIONS.max_label_sets + 10):
        measures.count(REJECTIONS, "FIELD_INVALID", f"rule.{number}").value += 1
    measures.count(REJECTIONS, "FIELD_INVALID", "rule.0").value += 1
    found = samples(await shown(measures))
    assert value(found, "engagement_rejections_total") == REJECTIONS.max_label_sets + 11
    assert value(found, "engagement_rejections_total", rule=OTHERS) == 10
    assert value(found, "engagement_rejections_total", rule="rule.0") == 2
    parent = Measures()
    parent.merge(measures.drain())
    assert value(samples(await shown(parent)), "engagement_rejections_total", rule=OTHERS) == 10


async def test_openmetrics_is_for_those_that_ask_for_it() -> None:
    exposition = Exposition(worker(1))
    plain = await exposition.render("text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
    assert plain.content_type.startswith("text/plain; version=0.0.4")
    assert b"# TYPE engagement_events_total counter" in plain.content
    rich = await exposition.render("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert rich.content_type.startswith("application/openmetrics-text")
    assert rich.content.endswith(b"# EOF\n")
    assert b"# TYPE engagement_events counter" in rich.content


async def examples(measures: Measures) -> dict[str, str]:
    """The trace of each bucket that has one, by its bound."""
    page = await Exposition(measures).render("application/openmetrics-text")
    return {bound: trace for (_, bound), trace in example_traces(page.content.decode()).items()}


async def test_openmetrics_name_the_latest_trace_of_each_bucket_of_any_process() -> None:
    parent, worker = Measures(), Measures(process=1)
    for number, seconds in enumerate((0.0005, 0.0006, 100.0)):
        worker.histogram(COMMIT_SECONDS).observe(seconds, trace_id=f"{number}" * 32)
    worker.histogram(COMMIT_SECONDS).observe(0.0007)
    earlier = parent.histogram(COMMIT_SECONDS)
    earlier.exemplars[0] = Exemplar(0.0004, "e" * 32, time_seconds=time.time() - 60)
    earlier.exemplars[3] = Exemplar(0.0041, "f" * 32, time_seconds=time.time() - 60)
    parent.merge(msgspec.msgpack.decode(msgspec.msgpack.encode(worker.drain()), type=Measured))
    assert await examples(parent) == {"0.001": "1" * 32, "0.01": "f" * 32, "+Inf": "2" * 32}
    assert "trace_id" not in await shown(parent)
    assert worker.drain().histograms == [], "an example is sent once"


async def test_an_old_trace_is_no_example_any_more() -> None:
    measures = Measures()
    old = time.time() - EXEMPLAR_SECONDS - 1
    measures.histogram(COMMIT_SECONDS).exemplars[0] = Exemplar(0.0005, "1" * 32, time_seconds=old)
    assert await examples(measures) == {}
