"""One call of the contract: with its account and a token, repeated where that is safe, with typed errors."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar, cast

from engagement.errors import EngagementError, QuotaExceededError, is_expired_token, typed_errors
from engagement.retry import keeping_cancellation
from engagement.streams import OpenStream

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from engagement.channel import ReplaceableChannel
    from engagement.tokens import Tokens

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Call = TypeVar("_Call")

_MIN_QUOTA_WAIT_SECONDS: Final = 0.1


class Calls:
    """A channel to a server, and what goes with every call."""

    def __init__(
        self, channel: ReplaceableChannel, *, account_id: str, timeout_seconds: float, tokens: Tokens
    ) -> None:
        self.account_id = account_id
        self.timeout_seconds = timeout_seconds
        self._replaceable_channel = channel
        # It has what stubs use of a channel.
        self._channel = cast("grpc.aio.Channel", channel)
        self._tokens = tokens

    @property
    def is_token_renewable(self) -> bool:
        """Whether there may be another token after one has expired."""
        return self._tokens.is_renewable

    async def _call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        *,
        names_account: bool = True,
    ) -> _Response:
        """Makes a call, and repeats it within its deadline after TOKEN_EXPIRED, once, and as quotas ask."""
        deadline = time.monotonic() + self.timeout_seconds
        has_renewed_token = False
        while True:
            left_seconds = max(0.0, deadline - time.monotonic())
            token = await self._tokens.current(timeout_seconds=left_seconds)
            metadata = self._metadata(token, names_account=names_account)
            left_seconds = max(0.0, deadline - time.monotonic())
            try:
                with keeping_cancellation(), typed_errors():
                    return await method(request, timeout=left_seconds, metadata=metadata)
            except EngagementError as error:
                if is_expired_token(error) and not has_renewed_token and self._tokens.discard(token):
                    has_renewed_token = True
                    continue
                wait_seconds = _quota_wait_seconds(error)
                if wait_seconds is None or time.monotonic() + wait_seconds > deadline:
                    raise
            await asyncio.sleep(wait_seconds)

    async def _open(self, start: Callable[[tuple[tuple[str, str], ...]], _Call]) -> OpenStream[_Call]:
        """Opens a stream about the account; `start` takes its metadata."""
        token = await self._tokens.current(timeout_seconds=self.timeout_seconds)
        call = start(self._metadata(token, names_account=True))
        return OpenStream(call, partial(self._tokens.discard, token))

    def _metadata(self, token: str | None, *, names_account: bool) -> tuple[tuple[str, str], ...]:
        account = (("engagement-account", self.account_id),) if names_account else ()
        return account if token is None else (*account, ("authorization", f"Bearer {token}"))


def _quota_wait_seconds(error: EngagementError) -> float | None:
    """How long to wait for a quota; None if that is not what a call failed for, or waiting does not help."""
    if not isinstance(error, QuotaExceededError) or error.retry_delay_seconds is None:
        return None
    return max(error.retry_delay_seconds, _MIN_QUOTA_WAIT_SECONDS)
