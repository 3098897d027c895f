"""The calls that an upload makes; an EngagementClient has them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, TypeAlias

import grpc

from engagement import v1
from engagement.streams import OpenStream

# Text, because the library's classes take type arguments only in its stubs.
UploadCall: TypeAlias = "grpc.aio.StreamStreamCall[v1.UploadEventsRequest, v1.UploadEventsResponse]"


class UploadClient(Protocol):
    """A client for one account."""

    @property
    def account_id(self) -> str:
        """The account that the events belong to."""

    @property
    def timeout_seconds(self) -> float:
        """How long to wait for the first message from the server."""

    @property
    def is_token_renewable(self) -> bool:
        """Whether there may be another token after one has expired."""

    async def upload_events(self) -> OpenStream[UploadCall]:
        """Opens an upload stream."""

    async def get_upload(self, upload_id: str) -> v1.Upload:
        """The state of an upload. Raises NotFoundError."""

    def upload_rejections(self, upload_id: str) -> AsyncIterator[v1.UploadResult]:
        """The rejected events of an upload, in order. Raises NotFoundError."""
