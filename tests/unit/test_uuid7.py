"""Ids of RFC 9562, version 7."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from engagement.uuid7 import uuid7


def test_an_id_is_a_uuid_of_version_7_and_the_rfc_variant() -> None:
    parsed = uuid.UUID(uuid7())
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122


def test_an_id_is_written_in_canonical_lower_case() -> None:
    text = uuid7()
    assert text == str(uuid.UUID(text))


def test_an_id_starts_with_the_epoch_milliseconds() -> None:
    before_ms = time.time_ns() // 1_000_000
    made_ms = uuid.UUID(uuid7()).int >> 80
    after_ms = time.time_ns() // 1_000_000
    assert before_ms <= made_ms <= after_ms


def test_ids_of_one_process_grow() -> None:
    ids = [uuid7() for _ in range(20_000)]
    assert ids == sorted(set(ids))


def test_ids_grow_also_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = uuid7()
    hour_ago_ns = time.time_ns() - 3_600_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: hour_ago_ns)
    ids = [before, *(uuid7() for _ in range(1000))]
    assert ids == sorted(set(ids))


def test_threads_never_make_the_same_id_and_each_sees_its_own_grow() -> None:
    def make(_: int) -> list[str]:
        return [uuid7() for _ in range(2000)]

    with ThreadPoolExecutor(4) as pool:
        batches = list(pool.map(make, range(4)))
    assert all(batch == sorted(batch) for batch in batches)
    assert len({made for batch in batches for made in batch}) == 8000


def test_ids_of_one_millisecond_cannot_be_guessed_from_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now_ns)
    tails = {uuid.UUID(uuid7()).int & 0xFFFF_FFFF for _ in range(100)}
    assert len(tails) > 95
