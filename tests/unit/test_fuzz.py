"""Any bytes of strangers are read or refused. `make fuzz` tries very many more, guided by coverage."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

_PIECES = (
    b"\0",
    b"\xff",
    b'"',
    b"{",
    b"[[",
    b".",
    b"\n",
    b"9" * 20,
    b"\x80" * 9,
    b"\xed\xa0\x80",
    b"-1",
    b"null",
)
_READ = pytest.mark.parametrize("name", TARGETS)


@_READ
def test_what_a_run_begins_with_is_taken(name: str) -> None:
    assert TARGETS[name].seeds
    for seed in TARGETS[name].seeds:
        TARGETS[name].read(seed)


@_READ
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(name: str, data: bytes) -> None:
    TARGETS[name].read(data)


@_READ
@given(number=st.integers(0, 10**6))
def test_what_is_nearly_right_is_read_or_refused(name: str, number: int) -> None:
    chance = random.Random(number)
    TARGETS[name].read(_changed(chance.choice(TARGETS[name].seeds), chance))


def _changed(seed: bytes, chance: random.Random) -> bytes:
    """A seed with a few changes: bits, pieces that are put in, left out or repeated."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        at, end = sorted(chance.randint(0, len(data)) for _ in range(2))
        match chance.randrange(5):
            case 0 if data:
                data[at % len(data)] ^= 1 << chance.randrange(8)
            case 1:
                data[at:at] = chance.choice(_PIECES)
            case 2:
                del data[at : min(end, at + 40)]
            case 3:
                data[at:at] = data[at : min(end, at + 40)]
            case _:
                del data[at:]
    return bytes(data)
