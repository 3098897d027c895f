"""The calls of PrivacyService: what is stored about a person, erasures, suppressions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from engagement import v1
from engagement.calls import Calls
from engagement.uuid7 import uuid7

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from engagement.v1.privacy_service_pb2_grpc import PrivacyServiceAsyncStub

Ids: TypeAlias = str | Sequence[str]
"""One id or several."""


class PrivacyCalls(Calls):
    """Part of `EngagementClient`."""

    @cached_property
    def _privacy(self) -> PrivacyServiceAsyncStub:
        return v1.PrivacyServiceStub(self._channel)

    async def erase_consumer(  # noqa: PLR0913 - all are named at the call
        self,
        *,
        consumer_id: Ids = (),
        customer_id: Ids = (),
        conversation_id: Ids = (),
        event_id: Ids = (),
        request_id: str = "",
        suppress: bool = False,
        validate_only: bool = False,
    ) -> v1.Erasure:
        """Erases everything stored about some consumers, customers and conversations, and single events.

        Each is one id or several; all are erased as one. Returns once the erasure is complete. If nothing has
        exactly one of the ids, it has no `complete_time`. `related` lists ids under which more of the same
        person may be stored. After a DeadlineError it continues on the server; repeat the call with the same
        `request_id` to wait for it again. Raises ConflictError if that id was used for something else.
        """
        request = v1.EraseConsumerRequest(
            account_id=self.account_id,
            request_id=request_id or uuid7(),
            subjects=[
                *(v1.Subject(consumer_id=each) for each in _listed(consumer_id)),
                *(v1.Subject(customer_id=each) for each in _listed(customer_id)),
                *(v1.Subject(conversation_id=each) for each in _listed(conversation_id)),
            ],
            event_ids=_listed(event_id),
            suppress=suppress,
            validate_only=validate_only,
        )
        response = await self._call(self._privacy.EraseConsumer, request)
        return response.erasure

    async def get_erasure(self, erasure_id: str) -> v1.Erasure:
        """The current state of an erasure. Raises NotFoundError."""
        request = v1.GetErasureRequest(account_id=self.account_id, erasure_id=erasure_id)
        response = await self._call(self._privacy.GetErasure, request)
        return response.erasure

    async def list_erasures(
        self, *, request_id: str = "", subject_id: str = "", page_size: int = 1000
    ) -> AsyncIterator[v1.Erasure]:
        """The erasures of the account, newest first: all, of one request, or those that named an id."""
        request = v1.ListErasuresRequest(
            account_id=self.account_id,
            request_id=request_id,
            subject_id=subject_id,
            page_size=page_size,
        )
        while True:
            response = await self._call(self._privacy.ListErasures, request)
            for erasure in response.erasures:
                yield erasure
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def lift_suppression(
        self,
        *,
        consumer_id: str | None = None,
        customer_id: str | None = None,
        conversation_id: str | None = None,
        erasure_id: str | None = None,
    ) -> bool:
        """Ends the suppression of a subject, or those of an erasure; false if there was none.

        Events that were erased do not come back. Raises NotFoundError if no erasure has the id.
        """
        request = v1.LiftSuppressionRequest(account_id=self.account_id, erasure_id=erasure_id)
        if erasure_id is None:
            request.subject.CopyFrom(_subject(consumer_id, customer_id, conversation_id))
        response = await self._call(self._privacy.LiftSuppression, request)
        return response.lifted

    async def get_suppression(
        self,
        *,
        consumer_id: str | None = None,
        customer_id: str | None = None,
        conversation_id: str | None = None,
    ) -> v1.GetSuppressionResponse:
        """Whether a subject is suppressed, and by which requests it was suppressed before."""
        subject = _subject(consumer_id, customer_id, conversation_id)
        request = v1.GetSuppressionRequest(account_id=self.account_id, subject=subject)
        return await self._call(self._privacy.GetSuppression, request)

    async def get_person(self, person_id: str) -> v1.GetPersonResponse:
        """What the account has under a consumer id or customer id; its events come from `list_events`."""
        request = v1.GetPersonRequest(account_id=self.account_id, id=person_id)
        return await self._call(self._privacy.GetPerson, request)


def _listed(ids: Ids) -> Sequence[str]:
    return [ids] if isinstance(ids, str) else ids


def _subject(consumer_id: str | None, customer_id: str | None, conversation_id: str | None) -> v1.Subject:
    if [consumer_id, customer_id, conversation_id].count(None) != 2:
        raise TypeError("takes exactly one of consumer_id, customer_id and conversation_id")
    return v1.Subject(consumer_id=consumer_id, customer_id=customer_id, conversation_id=conversation_id)
