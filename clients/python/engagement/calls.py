"""One call of the contract, with typed errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from engagement.errors import typed_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class Calls:
    """A channel to a server, and what goes with every call."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        account_id: str,
        timeout_seconds: float,
        metadata: Sequence[tuple[str, str]],
    ) -> None:
        """`metadata` goes with every call."""
        self.account_id = account_id
        self.timeout_seconds = timeout_seconds
        self._channel = channel
        self._metadata = metadata

    async def _call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response], request: _Request
    ) -> _Response:
        with typed_errors():
            return await method(request, timeout=self.timeout_seconds, metadata=self._metadata)
