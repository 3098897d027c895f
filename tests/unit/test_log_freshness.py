"""A view is as old as the last probe of the log that it has reached."""

from __future__ import annotations

import time

from engagement_server.log.nats.freshness import ViewAge


def test_nothing_is_known_of_a_view_before_a_probe_is_reached() -> None:
    age = ViewAge(sequence=7, time_ms=1_000)
    age.advance(8)
    assert not age.is_known
    age.probe(9, time_ms=2_000)
    assert not age.is_known
    assert age.time_ms == 1_000
    age.advance(9)
    assert age.is_known
    assert age.time_ms == 2_000


def test_the_latest_probe_that_was_reached_counts() -> None:
    age = ViewAge(sequence=0, time_ms=0)
    for sequence in (5, 6, 6, 9):
        age.probe(sequence, time_ms=100 * sequence)
    age.advance(8)
    assert age.time_ms == 600
    age.advance(20)
    assert age.time_ms == 900


def test_a_probe_of_what_is_applied_counts_at_once() -> None:
    age = ViewAge(sequence=3, time_ms=0)
    now_ms = time.time_ns() // 1_000_000
    age.probe(3, time_ms=now_ms)
    assert age.time_ms == now_ms
    assert age.seconds < 60


def test_a_clock_that_was_set_back_makes_no_view_younger_than_new() -> None:
    assert ViewAge(sequence=0, time_ms=time.time_ns() // 1_000_000 + 60_000).seconds == 0


def test_probes_that_are_never_reached_take_bounded_space() -> None:
    age = ViewAge(sequence=0, time_ms=0)
    for sequence in range(1, 5_000):
        age.probe(sequence, time_ms=sequence)
    age.advance(4_500)
    assert age.time_ms == 4_500
