"""The calls of IngestService that read what became of events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement import v1
from engagement.calls import Calls

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import grpc
    from google.protobuf.timestamp_pb2 import Timestamp


class IngestReads(Calls):
    """Part of `EngagementClient`."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        account_id: str,
        timeout_seconds: float,
        metadata: Sequence[tuple[str, str]],
    ) -> None:
        """`metadata` goes with every call."""
        super().__init__(channel, account_id=account_id, timeout_seconds=timeout_seconds, metadata=metadata)
        self._ingest = v1.IngestServiceStub(channel)

    async def list_rejections(
        self,
        *,
        start_time: datetime | Timestamp | None = None,
        end_time: datetime | Timestamp | None = None,
        source: str | None = None,
    ) -> v1.ListRejectionsResponse:
        """Which sources broke which rules in the last two days, as this server has counted, and the last few.

        Only in the hours from that of `start_time` to that of `end_time`, and only events with exactly this
        source; an empty one means events without any.
        """
        request = v1.ListRejectionsRequest(
            account_id=self.account_id, start_time=start_time, end_time=end_time, source=source
        )
        return await self._call(self._ingest.ListRejections, request)
