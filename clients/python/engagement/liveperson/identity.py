"""Derives event ids from the content of events, so that an event imported again is a duplicate."""

from __future__ import annotations

import hashlib
import json
from typing import Final

_MAX_PREFIX: Final = 2**48 - 1
_VERSION_8: Final = 8 << 76
_VARIANT: Final = 0b10 << 62
_HASH_BITS: Final = ~(0b1111 << 76 | 0b11 << 62) & (2**80 - 1)

_to_canonical_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False).encode


def make_event_id(identity: object, *, prefix: int) -> str:
    """The id of the event with this identity, in the form of a version 8 UUID of RFC 9562.

    It starts with the prefix, a time in milliseconds or a position, so that neighbouring events have
    neighbouring ids; the rest is a hash. The identity consists of lists, dicts, texts, numbers and None,
    and the id depends on nothing else.
    """
    canonical = _to_canonical_json(identity).encode("ascii")
    digest = hashlib.blake2b(canonical, digest_size=10).digest()
    tail = int.from_bytes(digest) & _HASH_BITS | _VERSION_8 | _VARIANT
    digits = f"{min(max(prefix, 0), _MAX_PREFIX) << 80 | tail:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
