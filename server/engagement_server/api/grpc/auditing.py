"""Writes the audit lines of calls: the one place where calls meet the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import grpc

from engagement_server.access.audit import Subjects
from engagement_server.access.audit_kinds import Kind
from engagement_server.access.audit_lines import Event, Line, now_text
from engagement_server.access.audited import AUDITED, erasure_id_of, is_export, is_preview
from engagement_server.access.publishing import address_of
from engagement_server.api.grpc.call_lines import is_account
from engagement_server.errors import (
    AccountMismatchError,
    PermissionDeniedError,
    QuotaExceededError,
    RequestError,
    UnauthenticatedError,
)
from engagement_server.validation import require_valid

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor

    from engagement_server.access.audit import Auditor
    from engagement_server.access.audited import Audited
    from engagement_server.api.grpc.call import GrpcCall

_OK: Final = "OK"
_CANCELLED: Final = "CANCELLED"
_THIS_MACHINE: Final = "loopback"
_DENIALS: Final = (UnauthenticatedError, PermissionDeniedError, AccountMismatchError, QuotaExceededError)

Handler = Callable[[Any, "GrpcCall"], Awaitable[Any]]  # Any: handlers of all types pass through here


class CallAudit:
    """What the audit log gets of the calls of one method."""

    def __init__(self, method: MethodDescriptor, auditor: Auditor) -> None:
        self._auditor = auditor
        self._name = f"{method.containing_service.full_name}/{method.name}"
        self._audited = AUDITED.get(method.full_name)
        self._is_stream = method.server_streaming

    def wrapped(self, handler: Handler) -> Handler:
        """The handler of the method with a line for each of its calls, if there are to be any."""
        audited, wanted = self._audited, self._auditor.settings.kinds
        if audited is None or wanted.isdisjoint((audited.kind, Kind.MASKED_READS)):
            return handler

        async def handle(request: Any, call: GrpcCall) -> Any:  # Any: as above
            has_begun = self._is_stream or audited.begins(request)
            if has_begun:  # nothing is left to be said against the request before its line
                require_valid(request)
            running = _Running(self._auditor, self._name, audited, request, call)
            if audited.begins(request):
                await self._auditor.record(running.line(Event.BEGIN))
            elif self._is_stream:
                self._auditor.note(running.line(Event.BEGIN))
            outcome = "INTERNAL"
            try:
                response = await handler(request, call)
                running.erasure_id = running.erasure_id or erasure_id_of(response)
                outcome = _OK
            except (asyncio.CancelledError, grpc.aio.InternalError):  # the client has gone
                outcome = _CANCELLED
                raise
            except RequestError as error:
                # A denial has a line of its own.
                outcome = "" if isinstance(error, _DENIALS) and not has_begun else error.reason
                raise
            finally:
                if outcome:
                    event = Event.END if has_begun else Event.CALL if outcome == _OK else Event.FAILED
                    self._auditor.note(running.line(event, outcome=outcome))
            return response

        return handle

    def note_denied(self, call: GrpcCall, error: Exception) -> None:
        """Writes a line if the error refuses the call because of who makes it."""
        if isinstance(error, _DENIALS):
            note_denial(self._auditor, self._name, call, reason=error.reason)


class _Running:
    """A call that is audited."""

    def __init__(
        self, auditor: Auditor, name: str, audited: Audited, request: Any, call: GrpcCall
    ) -> None:  # Any: as above
        self.erasure_id = erasure_id_of(request)
        self._name = name
        self._audited = audited
        self._request = request
        self._call = call
        sees_all = call.identity.principal.sees_persons
        self._is_masked = audited.is_masked and not sees_all
        self._kind = Kind.MASKED_READS if self._is_masked else audited.kind
        account_id: str = getattr(request, "account_id", "")
        self._account_id = account_id if is_account(account_id) else ""
        self._subjects = Subjects()
        if self._kind in auditor.settings.kinds:
            self._subjects = auditor.settings.subjects(account_id, audited.ids(request))

    def line(self, event: Event, *, outcome: str = "") -> Line:
        """A line about the call as it is now."""
        principal, credential, address = _caller(self._call)
        counts = self._audited.counts_events and event is not Event.BEGIN
        return Line(
            time=now_text(),
            kind=self._kind,
            event=event,
            principal=principal,
            credential=credential,
            address=address,
            method=self._name,
            account=self._account_id,
            subjects=self._subjects.hashes,
            more_subjects=self._subjects.more,
            is_export=is_export(self._request),
            is_preview=is_preview(self._request),
            events=self._call.facts.events if counts else None,
            erasure_id=self.erasure_id,
            is_masked=self._is_masked,
            request_id=self._call.request_id,
            outcome=outcome,
        )


def note_denial(auditor: Auditor, name: str, call: GrpcCall, *, reason: str) -> None:
    """Writes a line about a call that was refused because of who makes it."""
    principal, credential, address = _caller(call)
    # What strangers say may be anything.
    account_id = call.named_account if principal and is_account(call.named_account) else ""
    auditor.note(
        Line(
            time=now_text(),
            kind=Kind.DENIALS,
            event=Event.DENIED,
            principal=principal,
            credential=credential,
            address=address,
            method=name,
            account=account_id,
            request_id=call.request_id,
            outcome=reason,
        )
    )


def _caller(call: GrpcCall) -> tuple[str, str, str]:
    """The principal and its credential, or the address of a caller who is not known."""
    identity = call.facts.identity
    if identity.principal.name:
        return identity.principal.name, identity.credential, ""
    return "", "", address_of(call.peer) or _THIS_MACHINE
