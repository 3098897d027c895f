"""PrivacyService: erasures and suppressions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement import v1
from engagement.uuid7 import uuid7
from engagement_server.api.paging import page_size
from engagement_server.log.catch_up import read_with_catch_up
from engagement_server.messages import erasure_message
from engagement_server.model import ErasureState, Subject
from engagement_server.operations import BeginErasure, LiftSuppression
from engagement_server.store.budget import STEP_SECONDS
from engagement_server.store.erasure_rows import filter_of
from engagement_server.store.event_pages import PageQuery
from engagement_server.validation import require_valid

if TYPE_CHECKING:
    from engagement_server.api.call import Call
    from engagement_server.governor.turns import Caller
    from engagement_server.partitions import Partitions
    from engagement_server.store.event_pages import RowPage
    from engagement_server.store.reader import Reader
    from engagement_server.store.readers import Readers

_MAX_SAMPLE_IDS = 100
_PREVIEW_PAGE_EVENTS = 1000
_PREVIEW_PAGE_BYTES = 16 * 1024 * 1024
# Above the number of any erasure.
_NO_NUMBER = 1 << 62
_KINDS = {
    "consumer_id": v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID,
    "customer_id": v1.SubjectKind.SUBJECT_KIND_CUSTOMER_ID,
    "conversation_id": v1.SubjectKind.SUBJECT_KIND_CONVERSATION_ID,
}


class PrivacyHandlers:
    """Handlers of PrivacyService."""

    def __init__(self, partitions: Partitions) -> None:
        self._partitions = partitions

    async def erase_consumer(self, request: v1.EraseConsumerRequest, call: Call) -> v1.EraseConsumerResponse:
        """Erases the events of a subject, or counts them if the request only validates."""
        require_valid(request)
        partition = self._partitions.of(request.account_id)
        if request.validate_only:
            return v1.EraseConsumerResponse(
                erasure=await _preview(partition.readers, request, caller=call.caller)
            )
        begin = BeginErasure(
            account_id=request.account_id,
            request_id=request.request_id,
            erasure_id=uuid7(),
            subject=_subject(request),
            suppress=request.suppress,
        )
        return v1.EraseConsumerResponse(
            erasure=erasure_message(await partition.erasures.erase(begin, caller=call.caller))
        )

    async def get_erasure(self, request: v1.GetErasureRequest, call: Call) -> v1.GetErasureResponse:
        """Returns an erasure."""
        require_valid(request)
        partition = self._partitions.of(request.account_id)

        def find(reader: Reader) -> ErasureState:
            return reader.erasures.find(request.account_id, request.erasure_id)

        state = await read_with_catch_up(
            partition.log, lambda: partition.readers.run(find, caller=call.caller)
        )
        return v1.GetErasureResponse(erasure=erasure_message(state))

    async def list_erasures(self, request: v1.ListErasuresRequest, call: Call) -> v1.ListErasuresResponse:
        """Returns a page of erasures, newest first."""
        require_valid(request)
        partition = self._partitions.of(request.account_id)
        size = page_size(request.page_size)
        arguments = f"erasures of {request.account_id}".encode()
        before_number = _NO_NUMBER
        if request.page_token:
            before_number = partition.cursors.decode_page(request.page_token, arguments=arguments)
        states = await partition.readers.run(
            lambda reader: reader.erasures.latest(
                request.account_id, before_number=before_number, max_erasures=size + 1
            ),
            caller=call.caller,
        )
        response = v1.ListErasuresResponse(erasures=map(erasure_message, states[:size]))
        if len(states) > size:
            last = states[size - 1].number
            response.next_page_token = partition.cursors.encode_page(last, arguments=arguments)
        return response

    async def lift_suppression(
        self, request: v1.LiftSuppressionRequest, call: Call
    ) -> v1.LiftSuppressionResponse:
        """Lifts a suppression."""
        require_valid(request)
        is_by_erasure = request.WhichOneof("subject") == "erasure_id"
        target = request.erasure_id if is_by_erasure else _subject(request)
        committer = self._partitions.of(request.account_id).committer
        lifted = await committer.submit(
            LiftSuppression(request.account_id, target), returns=int, caller=call.caller
        )
        return v1.LiftSuppressionResponse(lifted=lifted > 0)


async def _preview(readers: Readers, request: v1.EraseConsumerRequest, *, caller: Caller) -> v1.Erasure:
    """A preview of an erasure; reads page by page, so that other reads get their turn."""
    subject = _subject(request)
    erasure = v1.Erasure(
        request_id=request.request_id,
        subject_kind=v1.SubjectKind.Name(subject.kind),
        suppressing=request.suppress,
    )
    after: int | None = None
    while True:
        page = await _page(readers, request.account_id, subject, after, caller=caller)
        erasure.matched_events += len(page.rows)
        missing = _MAX_SAMPLE_IDS - len(erasure.sample_event_ids)
        erasure.sample_event_ids.extend(
            v1.Event.FromString(row.payload).event_id for row in page.rows[:missing]
        )
        if page.next_position is None:
            return erasure
        after = page.next_position


async def _page(
    readers: Readers, account_id: str, subject: Subject, after: int | None, *, caller: Caller
) -> RowPage:
    query = PageQuery(
        account_id=account_id,
        wanted=filter_of(subject),
        after_position=after,
        newest_first=False,
        max_events=_PREVIEW_PAGE_EVENTS,
        max_bytes=_PREVIEW_PAGE_BYTES,
        max_seconds=STEP_SECONDS,
    )
    return await readers.run(lambda reader: reader.row_page(query), caller=caller)


def _subject(request: v1.EraseConsumerRequest | v1.LiftSuppressionRequest) -> Subject:
    name = request.WhichOneof("subject") or ""
    return Subject(_KINDS[name], getattr(request, name))
