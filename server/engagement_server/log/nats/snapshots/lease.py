"""The lease that lets one node at a time take a snapshot: a message in the bucket, which expires."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from nats.js.api import Header
from nats.js.errors import APIError, NotFoundError

from engagement_server.errors import LogUnreachableError
from engagement_server.log.nats.connection import retry, translated
from engagement_server.supervision import run_in_background

if TYPE_CHECKING:
    from nats.js import JetStreamContext

_log = logging.getLogger(__name__)

# Longer than the bucket needs to elect another leader.
_PATIENCE_SECONDS = 15.0
_ATTEMPT_SECONDS = 5.0
# The lease of a node that died ends after this long.
_LEASE_SECONDS = 30
_RENEWAL_SECONDS = 10.0
_TAKEN = frozenset({10071, 10164})
"""Error codes of NATS: the subject has another last message than expected."""


class SnapshotLease:
    """A lease on a subject of a stream. Raises LogUnreachableError."""

    def __init__(self, js: JetStreamContext, *, stream: str, subject: str) -> None:
        self._js = js
        self._stream = stream
        self._subject = subject
        self._holder_id = secrets.token_hex(8).encode()

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[bool]:
        """Tries to take the lease; yields whether this node holds it, and releases it afterwards."""
        renewing = None
        try:
            sequence = await self._put(known_sequence=0)
            if sequence is not None:
                renewing = run_in_background("snapshot-lease", partial(self._renew, sequence))
            yield renewing is not None
        finally:
            if renewing is not None:
                renewing.cancel()
                await asyncio.wait([renewing])
            await self._release()

    async def _renew(self, sequence: int | None) -> None:
        while sequence is not None:
            await asyncio.sleep(_RENEWAL_SECONDS)
            try:
                sequence = await self._put(known_sequence=sequence)
            except LogUnreachableError as error:
                _log.info("cannot renew the lease for a snapshot, will retry: %s", error)
        # Both nodes go on: `SnapshotBucket.complete` notices if one has removed chunks of the other.
        _log.warning("another node has taken over the lease for a snapshot")

    async def _release(self) -> None:
        with contextlib.suppress(LogUnreachableError), translated():
            async with asyncio.timeout(_ATTEMPT_SECONDS):
                # Also a lease whose acknowledgement was cancelled.
                if sequence := await self._own_sequence():
                    await self._js.delete_msg(self._stream, sequence)

    async def _put(self, *, known_sequence: int) -> int | None:
        """Replaces the lease with a known sequence, 0 for none; None if another node holds the lease."""
        headers: dict[str, str] = {
            Header.EXPECTED_LAST_SUBJECT_SEQUENCE: str(known_sequence),
            Header.ROLLUP: "sub",
        }

        async def put() -> int | None:
            try:
                ack = await self._js.publish(
                    self._subject,
                    self._holder_id,
                    stream=self._stream,
                    headers=dict(headers),
                    msg_ttl=_LEASE_SECONDS,
                )
            except APIError as error:
                if error.err_code in _TAKEN:
                    return await self._own_sequence()
                raise
            return ack.seq

        return await retry(put, seconds=_PATIENCE_SECONDS, attempt_seconds=_ATTEMPT_SECONDS)

    async def _own_sequence(self) -> int | None:
        """The sequence of a lease of ours, which may have been put without an acknowledgement."""
        try:
            message = await self._js.get_last_msg(self._stream, self._subject)
        except NotFoundError:
            return None
        return message.seq if message.data == self._holder_id else None
