"""The calls of IngestService that read what became of events."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from engagement import v1
from engagement.calls import Calls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub


_REJECTIONS_PAGE_SIZE = 1000


class IngestReads(Calls):
    """Part of `EngagementClient`."""

    @cached_property
    def _ingest(self) -> IngestServiceAsyncStub:
        return v1.IngestServiceStub(self._channel)

    async def get_upload(self, upload_id: str) -> v1.Upload:
        """The state of an upload. Raises NotFoundError."""
        request = v1.GetUploadRequest(account_id=self.account_id, upload_id=upload_id, page_size=1)
        response = await self._call(self._ingest.GetUpload, request)
        return response.upload

    async def upload_rejections(
        self, upload_id: str, *, subject_id: str = ""
    ) -> AsyncIterator[v1.UploadResult]:
        """The rejected events of an upload, in order; only those with a consumer or customer id, if given.

        Raises NotFoundError.
        """
        request = v1.GetUploadRequest(
            account_id=self.account_id,
            upload_id=upload_id,
            page_size=_REJECTIONS_PAGE_SIZE,
            subject_id=subject_id,
        )
        while True:
            response = await self._call(self._ingest.GetUpload, request)
            for rejection in response.rejections:
                yield rejection
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def list_uploads(  # noqa: PLR0913 - all are named at the call
        self,
        *,
        start_time: datetime | Timestamp | None = None,
        end_time: datetime | Timestamp | None = None,
        source_name: str = "",
        outcomes: Sequence[v1.Outcome] = (),
        subject_id: str = "",
        page_size: int = 1000,
    ) -> AsyncIterator[v1.Upload]:
        """The uploads on record, those first opened last first.

        Only those changed at `start_time` or later and before `end_time`, of a source with exactly this name,
        with an event of any of the outcomes, and with a rejected event that has this consumer or customer id.
        """
        request = v1.ListUploadsRequest(
            account_id=self.account_id,
            start_time=start_time,
            end_time=end_time,
            source_name=source_name,
            outcomes=outcomes,
            subject_id=subject_id,
            page_size=page_size,
        )
        while True:
            response = await self._call(self._ingest.ListUploads, request)
            for upload in response.uploads:
                yield upload
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

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
