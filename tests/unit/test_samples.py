"""Samples are what was counted between two moments, by all processes."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from engagement_server.metrics.catalogue import COMMIT_SECONDS, EVENTS, HANDLED, HANDLING_SECONDS
from engagement_server.metrics.measures import Measures
from engagement_server.metrics.samples import MAX_SAMPLES, OUTCOMES, Sample, Sampler

UNARY = ("unary", "engagement.v1.IngestService", "RecordEvent")
STREAM = ("server_stream", "engagement.v1.EventService", "SubscribeEvents")


class Clocks:
    """A clock that tests set, and the time that passes."""

    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000
        self.passed = 100.0


class Bench:
    """A sampler and what it samples."""

    def __init__(self) -> None:
        self.measures = Measures()
        self.clocks = Clocks()
        self.sampler = Sampler(
            self.measures, clock=lambda: self.clocks.now_ms, passed=lambda: self.clocks.passed
        )

    def call(self, code: str, *, labels: Sequence[str] = UNARY, seconds: float = 0.003) -> None:
        self.measures.count(HANDLED, *labels, code).value += 1
        if labels == UNARY:
            self.measures.histogram(HANDLING_SECONDS, *labels).observe(seconds)

    def sample(self, *, seconds: float = 5.0) -> Sample:
        self.clocks.passed += seconds
        return self.sampler.take(memory_bytes=7, max_lag_events=3)


def test_without_traffic_a_sample_has_zeros_and_no_times() -> None:
    bench = Bench()
    sample = bench.sample(seconds=5.5)
    assert sample == (1_700_000_000_000, 5.5, [0, 0, 0, 0], 0, 0, None, None, 0, None, 7, 3)


def test_unary_calls_and_errors_are_counted_and_streams_that_clients_end_are_no_errors() -> None:
    bench = Bench()
    for code in ("OK", "OK", "INVALID_ARGUMENT", "CANCELLED"):
        bench.call(code)
    for code in ("OK", "CANCELLED", "UNAVAILABLE"):
        bench.call(code, labels=STREAM)
    sample = bench.sample()
    assert (sample.calls, sample.failed_calls) == (4, 3)
    again = bench.sample()
    assert (again.calls, again.failed_calls, again.median_call) == (0, 0, None)


def test_times_are_of_the_calls_since_the_last_sample() -> None:
    bench = Bench()
    for _ in range(100):
        bench.call("OK", seconds=20)
    bench.sample()
    for _ in range(100):
        bench.call("OK", seconds=0.0015)
    bench.measures.histogram(COMMIT_SECONDS).observe(1_000)
    sample = bench.sample()
    assert sample.median_call is not None
    assert sample.p99_call is not None
    assert 0.001 <= sample.median_call <= sample.p99_call <= 0.002
    assert (sample.commits, sample.p99_commit) == (1, COMMIT_SECONDS.bounds[-1])


def test_a_clock_that_is_set_changes_neither_order_nor_length() -> None:
    bench = Bench()
    ends = []
    for shift_ms in (0, 86_400_000, -172_800_000):
        bench.clocks.now_ms += shift_ms
        ends.append(bench.clocks.now_ms)
        bench.sample()
    assert [each.end_ms for each in bench.sampler.samples] == ends
    assert {each.seconds for each in bench.sampler.samples} == {5.0}


def test_only_the_last_samples_are_kept() -> None:
    bench = Bench()
    for number in range(MAX_SAMPLES + 5):
        bench.clocks.now_ms = number
        bench.sample()
    assert [each.end_ms for each in bench.sampler.samples] == list(range(5, MAX_SAMPLES + 5))


@given(st.lists(st.lists(st.integers(0, 1_000), min_size=4, max_size=4), max_size=10))
def test_samples_of_all_processes_add_up_to_what_was_counted(added: list[list[int]]) -> None:
    bench = Bench()
    worker = Measures(process=1)
    for number, counts in enumerate(added):
        counting = worker if number % 2 else bench.measures
        for outcome, count in zip(OUTCOMES, counts, strict=True):
            counting.count(EVENTS, outcome).value += count
        bench.measures.merge(worker.drain())
        bench.sample()
    sums = [sum(counts) for counts in zip(*(each.outcomes for each in bench.sampler.samples), strict=True)]
    assert sums == [sum(counts) for counts in zip(*added, strict=True)]
