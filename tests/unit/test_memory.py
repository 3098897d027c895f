"""What the server may take is divided so that it fits, and what a process takes is looked at with sense."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement_server.config import Config
from engagement_server.errors import ConfigurationError
from engagement_server.governor import memory
from engagement_server.governor.memory import (
    MIN_PROCESS_BYTES,
    MemoryMeter,
    Pressure,
    default_limit_bytes,
    parse_size,
    plan,
    process_bytes,
)

_MIB = 1 << 20
_MAX_MESSAGE_BYTES = 9 * _MIB
_UPLOAD_BYTES = 3 * _MIB
_SUBSCRIPTION_BYTES = 192 << 10


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("512M", 512 * _MIB),
        ("4G", 4096 * _MIB),
        ("1gib", 1024 * _MIB),
        ("65536K", 64 * _MIB),
        ("1024", 1024),
        ("1.5G", 1536 * _MIB),
        ("0.25M", 256 << 10),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "M", "1.5", "1.5B", ".5G", "1.G", "-1", "10 percent", "1X", "\uff19\uff19"]
)
def test_other_texts_are_no_sizes(text: str) -> None:
    assert parse_size(text) is None


@given(st.integers(MIN_PROCESS_BYTES, 1 << 44), st.integers(1, 1024))
def test_the_shares_of_a_process_fit_into_its_limit(limit_bytes: int, partitions: int) -> None:
    share = plan(limit_bytes, partitions=partitions)
    assert min(share) > 0
    waiting = partitions * (share.waiting_calls_bytes + share.waiting_uploads_bytes)
    calls = waiting + share.answers_bytes + _MAX_MESSAGE_BYTES * share.max_slow_messages
    # Each partition takes one stream of a kind, however many partitions there are.
    uploads = partitions * _UPLOAD_BYTES * (share.max_uploads if share.max_uploads > 1 else 0)
    subscriptions = (
        partitions * _SUBSCRIPTION_BYTES * (share.max_subscriptions if share.max_subscriptions > 1 else 0)
    )
    assert max(calls, uploads, subscriptions) <= limit_bytes
    assert calls + uploads + subscriptions <= 3 * limit_bytes


def test_partitions_share_what_a_process_may_take() -> None:
    alone, one_of_four = plan(1152 * _MIB), plan(1152 * _MIB, partitions=4)
    assert (
        alone._replace(
            waiting_calls_bytes=alone.waiting_calls_bytes // 4,
            waiting_uploads_bytes=alone.waiting_uploads_bytes // 4,
            max_uploads=alone.max_uploads // 4,
            max_subscriptions=alone.max_subscriptions // 4,
        )
        == one_of_four
    )


def test_processes_share_the_limit_equally() -> None:
    assert plan(900 * _MIB, processes=3) == plan(300 * _MIB)


def test_a_limit_that_is_too_small_is_refused_with_what_is_needed(tmp_path: Path) -> None:
    config = Config(data=tmp_path / "new", max_memory="256M")
    assert config.memory_plan(processes=1).limit_bytes == 256 * _MIB
    with pytest.raises(ConfigurationError, match="needs at least 576M of memory for 3 processes"):
        config.memory_plan(processes=3)
    with pytest.raises(ConfigurationError, match="needs at least 192M of memory, and may take 0M"):
        Config(max_memory="0").memory_plan(processes=1)
    with pytest.raises(
        ConfigurationError, match=r"--max-memory must be a size such as 512M, 1.5G or 2G; got 'much'"
    ):
        Config(max_memory="much")


MACHINE_BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("limits", "limit_bytes"),
    [
        (["268435456\n"], 192 * _MIB),
        (["max\n"], MACHINE_BYTES * 3 // 4),
        ([], MACHINE_BYTES * 3 // 4),
        (["9223372036854771712\n"], MACHINE_BYTES * 3 // 4),  # none, by version 1
        (["max\n", "536870912\n"], 384 * _MIB),
    ],
)
def test_the_default_is_three_quarters_of_what_the_container_or_the_machine_has(
    limits: Sequence[str], limit_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / "version 2", tmp_path / "version 1"]
    for file, limit in zip(files, limits, strict=False):
        file.write_text(limit)
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", files)
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "groups")
    assert default_limit_bytes() == limit_bytes
    assert Config().memory_plan(processes=1).limit_bytes == limit_bytes


def test_the_limit_of_a_service_counts_and_that_of_the_groups_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").write_text("1:memory:/x\n0::/system.slice/engagement.service\n")
    (tmp_path / "system.slice/engagement.service").mkdir(parents=True)
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", ())
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "_OWN_CGROUP", tmp_path / "own")
    assert default_limit_bytes() == MACHINE_BYTES * 3 // 4
    (tmp_path / "system.slice/memory.max").write_text("536870912\n")
    assert default_limit_bytes() == 384 * _MIB
    (tmp_path / "system.slice/engagement.service/memory.max").write_text("268435456\n")
    assert default_limit_bytes() == 192 * _MIB


class Process:
    """A process that takes what the test says."""

    resident_bytes: int | None = 0
    is_idle = False


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.fixture
def meter(process: Process) -> MemoryMeter:
    return MemoryMeter(1000, is_idle=lambda: process.is_idle, resident_bytes=lambda: process.resident_bytes)


@pytest.mark.parametrize(
    ("resident_bytes", "pressure"),
    [(849, Pressure.NONE), (850, Pressure.SOFT), (949, Pressure.SOFT), (950, Pressure.HARD)],
)
def test_pressure_grows_with_what_the_process_takes(
    process: Process, meter: MemoryMeter, resident_bytes: int, pressure: Pressure
) -> None:
    process.resident_bytes = resident_bytes
    assert meter.look() is pressure
    assert meter.pressure is pressure


def test_a_process_with_nothing_under_way_takes_work_however_much_it_keeps(
    process: Process, meter: MemoryMeter
) -> None:
    process.resident_bytes, process.is_idle = 2000, True
    assert meter.look() is Pressure.NONE


class Message:
    """Something that only a cycle holds, as what a refused call leaves."""

    def __init__(self) -> None:
        self.call = self


def test_beyond_the_soft_limit_cycles_are_collected(process: Process, meter: MemoryMeter) -> None:
    gc.collect()
    gc.disable()
    try:
        left = weakref.ref(Message())
        meter.look()
        assert left() is not None
        process.resident_bytes = 900
        meter.look()
        assert left() is None
    finally:
        gc.enable()


def test_a_system_that_hides_the_memory_has_no_pressure(process: Process, meter: MemoryMeter) -> None:
    process.resident_bytes = None
    assert meter.look() is Pressure.NONE


def test_the_memory_of_this_process_is_seen() -> None:
    before = process_bytes()
    block = bytearray(b"x" * (64 * _MIB))
    after = process_bytes()
    assert before is not None
    assert after is not None
    assert after - before > 0.9 * len(block)
