"""Random bits of stored files flip: no answer differs without an error, and the rest stays readable."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.support.flipped_store import FlipBench, make_template, questions

FLIPS = int(os.environ.get("FLIPPED_BITS", "40"))
_EVENTS = 1200


@pytest.mark.timeout(60 + FLIPS)
def test_a_flipped_bit_is_noticed_or_changes_no_answer(tmp_path: Path) -> None:
    make_template(tmp_path / "template", count=_EVENTS)
    bench = FlipBench(tmp_path / "template", tmp_path / "copy", questions(_EVENTS))
    chance = random.Random(FLIPS)
    for number in range(FLIPS):
        bench.flip(chance, is_checked=number % 4 == 0)
    print(bench.tally)  # shown with -s
    assert bench.tally.noticed + bench.tally.refused > FLIPS / 2
