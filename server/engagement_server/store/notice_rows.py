"""The rows of erasure notices: the positions of erased events, packed."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_NOTICE_EVENTS = 1_000
"""Events that one notice tells of; an erasure of more writes several."""
_POSITION_BYTES = 8


def pack_positions(positions: Sequence[int]) -> bytes:
    """The form in which a row keeps positions."""
    return struct.pack(f">{len(positions)}Q", *positions)


def unpack_positions(packed: bytes) -> Sequence[int]:
    """The positions that `pack_positions` packed."""
    return struct.unpack(f">{len(packed) // _POSITION_BYTES}Q", packed)
