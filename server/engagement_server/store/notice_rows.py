"""The rows of erasure notices: the positions of erased events, packed."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_POSITION_BYTES = 8


def pack_positions(positions: Sequence[int]) -> bytes:
    """Packs positions for a row."""
    return struct.pack(f">{len(positions)}Q", *positions)


def unpack_positions(packed: bytes) -> Sequence[int]:
    """Unpacks the positions of a row."""
    return struct.unpack(f">{len(packed) // _POSITION_BYTES}Q", packed)
