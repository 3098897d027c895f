"""PrivacyService: persons, erasures and suppressions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement import v1
from engagement.uuid7 import uuid7
from engagement_server.api.paging import page_size
from engagement_server.log.catch_up import read_with_catch_up
from engagement_server.messages import erasure_message, suppression_message
from engagement_server.model import Subject
from engagement_server.operations import BeginErasure, LiftSuppression
from engagement_server.store.erasure_states import ErasureQuery
from engagement_server.validation import require_valid

if TYPE_CHECKING:
    from engagement_server.api.call import Call
    from engagement_server.model import ErasureState, Suppression
    from engagement_server.partitions import Partitions
    from engagement_server.persons import Related, Survey
    from engagement_server.store.reader import Reader

# Above the number of any erasure.
_NO_NUMBER = 1 << 62
_CONSUMER_ID = v1.SubjectKind.SUBJECT_KIND_CONSUMER_ID
_CUSTOMER_ID = v1.SubjectKind.SUBJECT_KIND_CUSTOMER_ID
_EVENT_ID = v1.SubjectKind.SUBJECT_KIND_EVENT_ID
_KINDS = {
    "consumer_id": _CONSUMER_ID,
    "customer_id": _CUSTOMER_ID,
    "conversation_id": v1.SubjectKind.SUBJECT_KIND_CONVERSATION_ID,
}


class PrivacyHandlers:
    """Handlers of PrivacyService."""

    def __init__(self, partitions: Partitions) -> None:
        self._partitions = partitions

    async def erase_consumer(self, request: v1.EraseConsumerRequest, call: Call) -> v1.EraseConsumerResponse:
        """Erases the events of subjects and single events, or counts them if the request only validates."""
        require_valid(request)
        partition = self._partitions.of(request.account_id)
        subjects = [*map(_subject, request.subjects)]
        subjects += [Subject(_EVENT_ID, event_id) for event_id in request.event_ids]
        await partition.log.catch_up()  # all that any node has accepted is to be found
        survey = await partition.persons.survey(
            request.account_id,
            subjects,
            # An erasure begins within the deadline of its call, and removes damaged events as well.
            is_brief=not request.validate_only,
            caller=call.caller,
        )
        if request.validate_only:
            erasure = _preview(request, subjects, survey)
        else:
            begin = BeginErasure(
                account_id=request.account_id,
                request_id=request.request_id,
                erasure_id=uuid7(),
                subjects=subjects,
                suppress=request.suppress,
            )
            state = await partition.erasures.erase(begin, caller=call.caller)
            erasure = erasure_message(state)
            if state.erasure_id != begin.erasure_id:  # an earlier one, after which the survey finds nothing
                survey.unmatched.clear()
        _describe(erasure, subjects, survey)
        call.note_events(erasure.matched_events)
        return v1.EraseConsumerResponse(erasure=erasure)

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
        arguments = f"erasures of {request.account_id} {request.request_id} {request.subject_id}".encode()
        before_number = _NO_NUMBER
        if request.page_token:
            before_number = partition.cursors.decode_page(request.page_token, arguments=arguments)
        query = ErasureQuery(
            account_id=request.account_id,
            max_erasures=size + 1,
            before_number=before_number,
            request_id=request.request_id,
            named_id=request.subject_id,
        )
        states = await partition.readers.run(lambda reader: reader.erasures.select(query), caller=call.caller)
        response = v1.ListErasuresResponse(erasures=map(erasure_message, states[:size]))
        if len(states) > size:
            last = states[size - 1].number
            response.next_page_token = partition.cursors.encode_page(last, arguments=arguments)
        return response

    async def lift_suppression(
        self, request: v1.LiftSuppressionRequest, call: Call
    ) -> v1.LiftSuppressionResponse:
        """Lifts suppressions."""
        require_valid(request)
        target = _subject(request.subject) if request.HasField("subject") else request.erasure_id
        committer = self._partitions.of(request.account_id).committer
        lifted = await committer.submit(
            LiftSuppression(request.account_id, target), returns=int, caller=call.caller
        )
        return v1.LiftSuppressionResponse(lifted=lifted > 0)

    async def get_suppression(
        self, request: v1.GetSuppressionRequest, call: Call
    ) -> v1.GetSuppressionResponse:
        """Tells whether a subject is suppressed, and by which requests it was."""
        require_valid(request)
        found = await self._suppressions(request.account_id, [_subject(request.subject)], call)
        return v1.GetSuppressionResponse(
            suppressed=any(each.lift_time_ms is None for each in found),
            suppressions=map(suppression_message, found),
        )

    async def get_person(self, request: v1.GetPersonRequest, call: Call) -> v1.GetPersonResponse:
        """Tells what the account has under an id of a person."""
        require_valid(request)
        partition = self._partitions.of(request.account_id)
        await partition.log.catch_up()
        consumer, customer = Subject(_CONSUMER_ID, request.id), Subject(_CUSTOMER_ID, request.id)
        survey = await partition.persons.survey(
            request.account_id, [consumer, customer], is_brief=False, caller=call.caller
        )
        suppressions = await self._suppressions(request.account_id, [consumer, customer], call)
        response = v1.GetPersonResponse(
            consumer_events=survey.events_by_subject[consumer],
            customer_events=survey.events_by_subject[customer],
            events=survey.events,
            rejections=survey.rejections,
            related=map(_related_message, survey.related),
            has_more_related=survey.has_more_related,
            suppressions=map(suppression_message, suppressions),
            rejected=[
                v1.UploadPlace(upload_id=each, event_number=number) for each, number in survey.last_rejections
            ],
        )
        if survey.first_receive_ms is not None and survey.last_receive_ms is not None:
            response.first_receive_time.FromMilliseconds(survey.first_receive_ms)
            response.last_receive_time.FromMilliseconds(survey.last_receive_ms)
        return response

    async def _suppressions(self, account_id: str, subjects: list[Subject], call: Call) -> list[Suppression]:
        def read(reader: Reader) -> list[Suppression]:
            find = reader.erasures.suppressions
            found = [each for subject in subjects for each in find(account_id, subject)]
            return sorted(found, key=lambda each: -each.create_time_ms)

        return await self._partitions.of(account_id).readers.run(read, caller=call.caller)


def _preview(request: v1.EraseConsumerRequest, subjects: list[Subject], survey: Survey) -> v1.Erasure:
    return v1.Erasure(
        request_id=request.request_id,
        subject_kinds=[subject.kind for subject in subjects],  # type: ignore[misc]  # the contract's numbers
        suppressing=request.suppress,
        matched_events=survey.events,
        cleared_rejections=survey.rejections,
        sample_event_ids=survey.sample_event_ids,
    )


def _describe(erasure: v1.Erasure, subjects: list[Subject], survey: Survey) -> None:
    """Adds to an erasure what is known only while the request names the subjects."""
    erasure.related.extend(map(_related_message, survey.related))
    erasure.has_more_related = survey.has_more_related
    for index, subject in enumerate(subjects):
        if subject not in survey.unmatched:
            continue
        if subject.kind == _EVENT_ID:
            erasure.unmatched_event_ids.append(subject.value)
        else:
            erasure.unmatched_subjects.append(index)


def _related_message(related: Related) -> v1.RelatedId:
    subject, relation, events, rejections = related
    return v1.RelatedId(
        kind=subject.kind,  # type: ignore[arg-type]  # the number is the contract's
        id=subject.value,
        relation=relation,
        events=events,
        rejections=rejections,
    )


def _subject(subject: v1.Subject) -> Subject:
    name = subject.WhichOneof("id") or ""
    return Subject(_KINDS[name], getattr(subject, name))
