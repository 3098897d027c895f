"""Asks callers of services that are not of the contract who they are, as far as those need to know."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from engagement_server.access.scopes import Requirement
from engagement_server.api.grpc.admission import ASKS_NOBODY
from engagement_server.api.grpc.call import GrpcCall
from engagement_server.api.grpc.rights import RightsWatch
from engagement_server.errors import RequestError
from engagement_server.metrics import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engagement_server.access.audit import Auditor
    from engagement_server.api.grpc.admission import Admission
    from engagement_server.api.grpc.call import Context
    from engagement_server.metrics.measures import Measures

_REFLECTION: Final = "grpc.reflection.ServerReflection"
_ANY_IDENTITY: Final = Requirement(any_of=frozenset(), is_open=False, has_account=False)


class Gate:
    """The policy of one listener for such services."""

    def __init__(self, admission: Admission, measures: Measures | None, audit: Auditor | None = None) -> None:
        self._admission = admission
        self._measures = measures
        self._audit = audit
        self._rights = RightsWatch()

    async def pass_known(self, context: Context) -> GrpcCall:
        """Returns the call of everybody whom the server knows; ends the calls of others."""
        call = GrpcCall(context)
        try:
            call.admitted = self._admission.admit(context, _ANY_IDENTITY)
        except RequestError as error:
            if self._measures is not None:
                self._measures.count(catalogue.REFUSED, error.reason).value += 1
            if self._audit is not None:
                from engagement_server.api.grpc.auditing import note_denial  # noqa: PLC0415  # loads a library

                note_denial(self._audit, _REFLECTION, call, reason=error.reason)
            await call.end(error)
        return call

    @contextmanager
    def watching(self, call: GrpcCall) -> Iterator[None]:
        """Closes a stream once its caller has lost its rights."""
        self._rights.add(call)
        try:
            yield
        finally:
            self._rights.remove(call)


OPEN_GATE: Final = Gate(ASKS_NOBODY, None)
"""Nobody is asked."""
