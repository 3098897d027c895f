"""`engagement sizing` calculates with what was measured, and refuses what it cannot calculate."""

from __future__ import annotations

import json
import re
from dataclasses import astuple

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from engagement_server.commands.sizing import sizing
from engagement_server.commands.sizing_figures import FIGURES
from engagement_server.commands.sizing_plan import Demand, figures_of, plan

DEMAND = Demand(
    events=1e6, events_a_day=1e5, event_bytes=2000, peak=3, partitions=1, nodes=1, disk_mb_a_second=200
)


def told(*arguments: str) -> str:
    """What the command prints."""
    result = CliRunner().invoke(sizing, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("name", FIGURES)
def test_events_of_a_measured_size_take_what_was_measured(name: str) -> None:
    shape = FIGURES[name]
    assert list(figures_of(shape.event_bytes).values()) == pytest.approx(astuple(shape))


@given(st.floats(1, 1e6), st.floats(1, 1e6))
def test_larger_events_never_take_less_on_disk(one: float, other: float) -> None:
    smaller, larger = (figures_of(size)["store_bytes"] for size in sorted((one, other)))
    assert smaller <= larger + 1e-6


def test_twice_as_many_events_take_twice_as_much() -> None:
    once, twice = told("--events", "1M", "--json"), told("--events", "2M", "--json")
    for name in ("store_bytes", "backup_seconds", "restore_seconds", "expiry_cores"):
        assert json.loads(twice)["partition"][name] == pytest.approx(2 * json.loads(once)["partition"][name])


def test_a_slower_disk_takes_longer_by_the_bytes_that_it_moves() -> None:
    answers = [
        json.loads(told("--events", "1G", "--disk-mb-a-second", speed, "--json"))["partition"]
        for speed in ("100", "200")
    ]
    moved = answers[0]["store_bytes"] + answers[0]["backup_bytes"]
    saved = answers[0]["backup_seconds"] - answers[1]["backup_seconds"]
    assert saved == pytest.approx(moved / 200e6)


def test_the_events_of_a_retention_are_calculated_from_those_of_a_day() -> None:
    answer = json.loads(told("--events-a-day", "2k", "--retention-days", "30", "--json"))
    assert answer["events"] == 60_000


def test_nodes_share_the_work_of_taking_events_and_apply_those_of_the_others() -> None:
    alone = plan(DEMAND)
    shared = plan(
        Demand(
            events=1e6,
            events_a_day=1e5,
            event_bytes=2000,
            peak=3,
            partitions=1,
            nodes=4,
            disk_mb_a_second=200,
        )
    )
    assert shared.ingest_cores == pytest.approx(alone.ingest_cores / 4)
    assert alone.apply_cores == alone.log_bytes_a_day == alone.fill_seconds == 0
    assert shared.apply_cores > 0
    assert shared.store_bytes == alone.store_bytes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --events, the number to store, or --events-a-day"),
        (["--events", "nan"], "must be a number above 0"),
        (["--events", "inf"], "must be a number above 0"),
        (["--events", "1e12"], "must be a number above 0"),
        (["--events", "-5"], "must be a number above 0"),
        (["--events", "0"], "must be a number above 0"),
        (["--events", "20000G"], "at most 10,000,000,000,000"),
        (["--events", "٣"], "must be a number above 0"),
        (["--events", "1M", "--partitions", "4"], "needs a replicated log; give --nodes 2 or more"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused_with_one_that_does(
    arguments: list[str], message: str
) -> None:
    result = CliRunner().invoke(sizing, arguments)
    assert result.exit_code == 2
    assert message in result.stderr


@given(st.floats(1e-3, 1e13), st.floats(1, 3.5e6), st.integers(1, 100))
def test_every_answer_is_a_page_of_names_and_values(events: float, size: float, nodes: int) -> None:
    lines = told(
        "--events", f"{events:.4f}", "--event-bytes", f"{size:.0f}", "--nodes", str(nodes)
    ).splitlines()
    pairs = [line for line in lines if "\t" in line]
    assert len(pairs) == (6 if nodes == 1 else 10)
    assert not re.search(r"\b(nan|inf)\b|e\+", "\n".join(lines))


def test_sizes_beyond_what_was_measured_say_so() -> None:
    assert "were not measured" in told("--events", "1M", "--event-bytes", "1M")
    assert "were not measured" not in told("--events", "1M", "--event-bytes", "16k")
