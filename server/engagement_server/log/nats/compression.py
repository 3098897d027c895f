"""Commits in the log are compressed: a third of the bytes for the network and for every replica's disk."""

from __future__ import annotations

import asyncio
import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from engagement_server.faults import UnreadableCommitError

# Higher ones cost more time than they save bytes.
_LEVEL = 1
# Less is done before a thread has begun with it.
_MIN_THREAD_BYTES = 64 * 1024


async def compress(data: bytes) -> bytes:
    """The data, compressed; a lot of it beside the event loop."""
    if len(data) < _MIN_THREAD_BYTES:
        return zstd.compress(data, _LEVEL)
    return await asyncio.to_thread(zstd.compress, data, _LEVEL)


def decompress(data: bytes) -> bytes:
    """What was compressed. Raises UnreadableCommitError."""
    try:
        return zstd.decompress(data)
    except zstd.ZstdError as error:
        raise UnreadableCommitError(str(error)) from error
