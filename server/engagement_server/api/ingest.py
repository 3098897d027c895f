"""IngestService: single events, batches and uploads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import nullcontext
from copy import copy
from typing import TYPE_CHECKING, Literal, TypeAlias

from engagement import v1
from engagement.limits import MAX_BATCH_EVENTS, MAX_VIOLATIONS
from engagement_server.access.producing import producer_of, seen_uploads_of
from engagement_server.api.paging import page_size
from engagement_server.api.publishing import published_response, require_publishable
from engagement_server.api.rejections import CallRejections, list_rejections
from engagement_server.api.times import require_times
from engagement_server.clock import ceil_ms
from engagement_server.errors import (
    BatchTooLargeError,
    EntityUnknownError,
    EventIdConflictError,
    FieldInvalidError,
)
from engagement_server.log.catch_up import read_with_catch_up
from engagement_server.messages import rejection_message, tally_message, upload_message, verdict_message
from engagement_server.model import Outcome, Subject, count
from engagement_server.operations import RecordBatch, Recorded
from engagement_server.store.upload_lists import ListPlace, RejectionQuery, UploadQuery
from engagement_server.streams.uploads import require_opening
from engagement_server.telemetry.spans import child, note_account
from engagement_server.validation import admit, admit_partly, event_path, examine, require_valid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement_server.access.call_quotas import CallQuotas
    from engagement_server.api.call import Call
    from engagement_server.governor.turns import Caller
    from engagement_server.metrics.rejections import Rejections
    from engagement_server.model import UploadState, Verdict
    from engagement_server.partitions import Partition, Partitions
    from engagement_server.store.reader import Reader
    from engagement_server.store.upload_lists import RejectionPage

_RecordRequest: TypeAlias = v1.RecordEventRequest | v1.RecordEventsRequest

_PERSON_IDS = v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID, v1.SubjectKind.SUBJECT_KIND_CUSTOMER_ID
# Stands in for events when only the rest of a request is validated.
_VALID_EVENT = v1.Event(customer_info=v1.CustomerInfo())


class IngestHandlers:
    """Handlers of IngestService."""

    def __init__(self, partitions: Partitions, rejections: Rejections, quotas: CallQuotas) -> None:
        self._partitions = partitions
        self._rejections = rejections
        self._quotas = quotas

    async def record_event(self, request: v1.RecordEventRequest, call: Call) -> v1.RecordEventResponse:
        """Stores one event."""
        envelope = v1.RecordEventRequest(account_id=request.account_id)
        events = []
        if request.HasField("event"):
            envelope.event.CopyFrom(_VALID_EVENT)
            events.append(request.event)
        partition, (verdict,) = await self._record(request, envelope, events, call=call, path="event")
        return v1.RecordEventResponse(result=verdict_message(verdict, cursors=partition.cursors))

    async def record_events(self, request: v1.RecordEventsRequest, call: Call) -> v1.RecordEventsResponse:
        """Stores a batch of events in one transaction."""
        if len(request.events) > MAX_BATCH_EVENTS:
            raise BatchTooLargeError(count=len(request.events), limit=MAX_BATCH_EVENTS, unit="events")
        principal = call.identity.principal
        if principal.is_publishable:
            require_publishable(request)
        envelope = v1.RecordEventsRequest(
            account_id=request.account_id, events=[_VALID_EVENT] if request.events else []
        )
        partition, verdicts = await self._record(request, envelope, request.events, call=call, path="events")
        tally = count(verdicts)
        if tally.rejected and not request.validate_only:
            self._noted(request).note_rejected(request.events, verdicts)
        if principal.is_publishable:
            return published_response(request.events, verdicts)
        return v1.RecordEventsResponse(
            results=[verdict_message(verdict, cursors=partition.cursors) for verdict in verdicts],
            tally=tally_message(tally),
        )

    async def _record(
        self,
        request: _RecordRequest,
        envelope: _RecordRequest,
        events: Sequence[v1.Event],
        *,
        call: Call,
        path: str,
    ) -> tuple[Partition, Sequence[Verdict]]:
        """See `_record_freely`; within the quotas of the caller. Raises QuotaExceededError too."""
        quotas = self._quotas.of(call.identity.principal, account_id=request.account_id, caller=call.caller)
        if quotas is None:
            return await self._record_freely(request, envelope, events, call=call, path=path)
        with quotas:
            await quotas.admit(events=len(events), may_store=not request.validate_only)
            return await self._record_freely(request, envelope, events, call=call, path=path)

    async def _record_freely(
        self,
        request: _RecordRequest,
        envelope: _RecordRequest,
        events: Sequence[v1.Event],
        *,
        call: Call,
        path: str,
    ) -> tuple[Partition, Sequence[Verdict]]:
        """One verdict for each event at the request's `path`, and the partition that gave them.

        Raises the errors of `admit` and, unless the request allows that a part of it is stored,
        EventIdConflictError and EntityUnknownError.
        """
        is_atomic = not (isinstance(request, v1.RecordEventsRequest) and request.allow_partial)
        with child("validate"):
            max_violations = MAX_VIOLATIONS if is_atomic else None
            producer = producer_of(call.identity)
            examined = await examine(events, producer=producer, max_violations=max_violations)
        try:
            if is_atomic:
                batch = admit(envelope, examined, path=path)
            else:
                batch = admit_partly(envelope, events, examined)
            partition = self._partitions.of(request.account_id)
            # One of a publishable grant counts event by event: that all fail would tell what is stored.
            is_whole = is_atomic and not producer.is_publishable
            operation = RecordBatch(request.account_id, batch, is_whole, producer.principal)
            verdicts = await _commit(
                partition, operation, is_real=not request.validate_only, caller=call.caller
            )
        except (FieldInvalidError, EventIdConflictError) as error:
            if not request.validate_only:
                self._noted(request).note_refused(events, examined, error)
            if isinstance(error, EntityUnknownError):
                raise error.within(event_path(path, error.index)) from error
            raise
        return partition, verdicts

    def _noted(self, request: _RecordRequest) -> CallRejections:
        method = "RecordEvent" if isinstance(request, v1.RecordEventRequest) else "RecordEvents"
        return CallRejections(self._rejections, account_id=request.account_id, method=method)

    async def upload_events(self, requests: AsyncIterator[v1.UploadEventsRequest], call: Call) -> None:
        """Serves an upload stream."""
        message = await anext(requests, None)
        if message is None:
            return
        opening = require_opening(message)
        call.account_id = opening.account_id
        note_account(opening.account_id)
        uploads = self._partitions.of(opening.account_id).uploads
        quotas = self._quotas.of(call.identity.principal, account_id=opening.account_id, caller=call.caller)
        with nullcontext() if quotas is None else quotas:
            await uploads.serve(
                opening,
                requests,
                call.send,
                caller=call.caller,
                on_close=call.on_close,
                producer=producer_of(call.identity),
                allowance=quotas,
                rejections=self._rejections,
            )

    async def get_upload(self, request: v1.GetUploadRequest, call: Call) -> v1.GetUploadResponse:
        """Returns an upload, and a page of its rejected events."""
        require_valid(request)
        partition = self._partitions.of(request.account_id)
        arguments = b"upload" + _list_arguments(request)
        skip = 0
        if request.page_token:
            skip = partition.cursors.decode_page(request.page_token, arguments=arguments)

        after_sequence, after_index = divmod(skip, MAX_BATCH_EVENTS)
        query = RejectionQuery(
            account_id=request.account_id,
            upload_id=request.upload_id,
            max_results=page_size(request.page_size),
            after_sequence=after_sequence,
            after_index=after_index,
            subjects=_subjects(request),
            principal=seen_uploads_of(call.identity),
        )

        def read(reader: Reader) -> tuple[UploadState, RejectionPage]:
            upload = reader.upload(query.account_id, query.upload_id, principal=query.principal)
            return upload, reader.rejections(query)

        state, page = await read_with_catch_up(
            partition.log, lambda: partition.readers.run(read, caller=call.caller)
        )
        response = v1.GetUploadResponse(
            upload=upload_message(state),
            rejections=[rejection_message(each, cursors=partition.cursors) for each in page.rejections],
        )
        if page.behind is not None:
            sequence, index = page.behind
            behind = sequence * MAX_BATCH_EVENTS + index
            response.next_page_token = partition.cursors.encode_page(behind, arguments=arguments)
        return response

    async def list_uploads(self, request: v1.ListUploadsRequest, call: Call) -> v1.ListUploadsResponse:
        """Returns a page of uploads, those first opened last first."""
        require_valid(request)
        require_times(request)
        partition = self._partitions.of(request.account_id)
        arguments = b"uploads" + _list_arguments(request)
        after = None
        if request.page_token:
            place = partition.cursors.decode_name(request.page_token, arguments=arguments)
            after = ListPlace(*map(int, place.split("-")))
        query = UploadQuery(
            account_id=request.account_id,
            max_uploads=page_size(request.page_size),
            after=after,
            start_ms=_bound_ms(request, "start_time"),
            end_ms=_bound_ms(request, "end_time"),
            source_name=request.source_name,
            outcomes=frozenset(map(Outcome, request.outcomes)),
            subjects=_subjects(request),
            principal=seen_uploads_of(call.identity),
        )
        page = await read_with_catch_up(
            partition.log,
            lambda: partition.readers.run(lambda reader: reader.uploads(query), caller=call.caller),
        )
        response = v1.ListUploadsResponse(uploads=map(upload_message, page.uploads))
        if page.next_place is not None:
            place = "-".join(map(str, page.next_place))
            response.next_page_token = partition.cursors.encode_name(place, arguments=arguments)
        return response

    async def list_rejections(
        self, request: v1.ListRejectionsRequest, call: Call
    ) -> v1.ListRejectionsResponse:
        """Returns which producers broke which rules, as far as this server has counted."""
        return await list_rejections(request, self._rejections)


def _list_arguments(request: v1.ListUploadsRequest | v1.GetUploadRequest) -> bytes:
    """The arguments that a page token is bound to; requests of other lists may have the same."""
    bound = copy(request)
    bound.ClearField("page_size")
    bound.ClearField("page_token")
    return bound.SerializeToString(deterministic=True)


def _subjects(request: v1.ListUploadsRequest | v1.GetUploadRequest) -> list[Subject]:
    """Whom a rejected event may be about; none: it does not matter."""
    return [Subject(kind, request.subject_id) for kind in _PERSON_IDS] if request.subject_id else []


def _bound_ms(request: v1.ListUploadsRequest, field: Literal["start_time", "end_time"]) -> int | None:
    """A bound of the time range; None if there is none."""
    if not request.HasField(field):
        return None
    nanoseconds: int = getattr(request, field).ToNanoseconds()
    return ceil_ms(nanoseconds)


async def _commit(
    partition: Partition, operation: RecordBatch, *, is_real: bool, caller: Caller
) -> Sequence[Verdict]:
    """One verdict for each event of a batch; stores nothing unless it is real."""
    if is_real:
        return (await partition.committer.submit(operation, returns=Recorded, caller=caller)).verdicts
    return await partition.readers.run(
        lambda reader: reader.preview(operation.account_id, operation.batch, is_atomic=operation.is_atomic),
        caller=caller,
    )
