"""The calls of ServerService, which are about a server and no account."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from engagement import v1
from engagement.calls import Calls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import timedelta

    from engagement.v1.server_service_pb2_grpc import ServerServiceAsyncStub


class ServerCalls(Calls):
    """Part of `EngagementClient`."""

    @cached_property
    def _server(self) -> ServerServiceAsyncStub:
        return v1.ServerServiceStub(self._channel)

    async def get_server_info(self) -> v1.GetServerInfoResponse:
        """The version and the limits of the server."""
        return await self._call(self._server.GetServerInfo, v1.GetServerInfoRequest(), names_account=False)

    async def get_identity(self) -> v1.GetIdentityResponse:
        """Who the server takes the caller for, and what they may do."""
        return await self._call(self._server.GetIdentity, v1.GetIdentityRequest(), names_account=False)

    async def get_server_stats(self) -> v1.GetServerStatsResponse:
        """What the server does now and did in the last minutes, for operators."""
        return await self._call(self._server.GetServerStats, v1.GetServerStatsRequest(), names_account=False)

    async def list_accounts(self, *, page_size: int = 1000) -> AsyncIterator[v1.Account]:
        """The accounts that have been written to, of the partitions of the node, by id; for operators."""
        request = v1.ListAccountsRequest(page_size=page_size)
        while True:
            response = await self._call(self._server.ListAccounts, request, names_account=False)
            for account in response.accounts:
                yield account
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def set_retention(
        self, retention: timedelta, *, validate_only: bool = False
    ) -> v1.SetRetentionResponse:
        """Changes how long events are kept, for all accounts, or counts what that would remove.

        For operators: what a shorter retention removes is gone for good. Raises InvalidArgumentError if it is
        less than a day, unless the server allows that.
        """
        request = v1.SetRetentionRequest(validate_only=validate_only)
        request.retention.FromTimedelta(retention)
        return await self._call(self._server.SetRetention, request, names_account=False)

    async def release_expiry(self, *, validate_only: bool = False) -> v1.ReleaseExpiryResponse:
        """Ends a hold of expiry, for all accounts, or counts what that would remove; for operators."""
        request = v1.ReleaseExpiryRequest(validate_only=validate_only)
        return await self._call(self._server.ReleaseExpiry, request, names_account=False)
