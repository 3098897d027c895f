"""Ends streams whose callers have lost their rights: by expiry, revocation, or any change of their grant."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from engagement_server.streams.closing import Cause

if TYPE_CHECKING:
    from engagement_server.access.identities import Credentials, Identity
    from engagement_server.api.grpc.call import GrpcCall

LOOK_SECONDS: Final = 2.0
"""How often identities with streams are looked at."""
END_SECONDS: Final = 4.0
"""How long a stream may take to end, with what is being committed; then it is reset."""

_log = logging.getLogger(__name__)


class _Holder(NamedTuple):
    """Somebody with streams. Streams of one identity share it, however many they are."""

    identity: Identity
    credentials: Credentials

    def has_rights(self, *, now: float) -> bool:
        expires_at = self.identity.expires_at
        is_expired = expires_at is not None and now >= expires_at
        return not is_expired and self.credentials.is_current(self.identity)


class RightsWatch:
    """The streams of callers who were asked who they are. Where nobody is asked, it does nothing."""

    def __init__(self) -> None:
        self._streams: dict[_Holder, set[GrpcCall]] = {}
        self._ending: dict[GrpcCall, float] = {}
        """Streams that were asked to end, and since when."""
        self._timer: asyncio.TimerHandle | None = None

    def add(self, call: GrpcCall) -> None:
        """Watches a stream."""
        admitted = call.admitted
        if admitted.credentials is None:
            return
        self._streams.setdefault(_Holder(admitted.identity, admitted.credentials), set()).add(call)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def remove(self, call: GrpcCall) -> None:
        """Forgets a stream that has ended."""
        admitted = call.admitted
        if admitted.credentials is None:
            return
        self._ending.pop(call, None)
        holder = _Holder(admitted.identity, admitted.credentials)
        if (calls := self._streams.get(holder)) is not None:
            calls.discard(call)
            if not calls:
                del self._streams[holder]

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        has_streams = bool(self._streams or self._ending)
        # First: whatever fails below, others are looked at again.
        self._timer = loop.call_later(LOOK_SECONDS, self._look) if has_streams else None
        now = time.time()
        for holder in [holder for holder in self._streams if not holder.has_rights(now=now)]:
            self._end(holder, since=loop.time())
        for call in [call for call, since in self._ending.items() if loop.time() >= since + END_SECONDS]:
            call.reset()

    def _end(self, holder: _Holder, *, since: float) -> None:
        calls = self._streams.pop(holder)
        _log.info("%s has other rights now; %d streams end", holder.identity.principal.name, len(calls))
        for call in calls:
            self._ending[call] = since
            call.close(Cause.UNAUTHENTICATED)
