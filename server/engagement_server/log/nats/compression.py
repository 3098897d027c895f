"""Compresses commits for the log, to a third of the bytes on the network and on the disk of each replica."""

from __future__ import annotations

import asyncio
import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from engagement_server.faults import UnreadableCommitError

# Higher levels cost more time than the saved bytes are worth.
_LEVEL = 1
# Compressing less takes no longer than starting a thread.
_MIN_THREAD_BYTES = 64 * 1024


async def compress(data: bytes) -> bytes:
    """Compresses data, in a thread if it is large."""
    if len(data) < _MIN_THREAD_BYTES:
        return zstd.compress(data, _LEVEL)
    return await asyncio.to_thread(zstd.compress, data, _LEVEL)


def decompress(data: bytes) -> bytes:
    """Decompresses data. Raises UnreadableCommitError."""
    try:
        return zstd.decompress(data)
    except zstd.ZstdError as error:
        raise UnreadableCommitError(str(error)) from error
