"""Who may see more than probes do, where callers are asked who they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engagement_server.access.audit_kinds import Kind
from engagement_server.access.audit_lines import Event, Line, now_text
from engagement_server.access.scopes import SCOPES
from engagement_server.errors import UnauthenticatedError

if TYPE_CHECKING:
    from starlette.datastructures import Headers

    from engagement_server.access.audit import Auditor
    from engagement_server.access.identities import Credentials
    from engagement_server.access.principals import Accounts
    from engagement_server.http.guard import Look

_BEARER: Final = "bearer "


def operators(credentials: Credentials) -> Look:
    """Decides by the token of a request: its grant must have the scope `operate`."""

    def look(headers: Headers) -> Accounts | None:
        authorization = headers.get("authorization", "")
        if authorization[: len(_BEARER)].lower() != _BEARER:
            return None
        try:
            identity = credentials.identify_token(authorization[len(_BEARER) :].strip())
        except UnauthenticatedError:
            return None
        principal = identity.principal
        return principal.accounts if SCOPES["operate"] in principal.scopes else None

    return look


def note_refused_visitor(audit: Auditor, address: str) -> None:
    """Writes the audit line of a request that was refused because of who sent it."""
    audit.note(
        Line(
            time=now_text(),
            kind=Kind.DENIALS,
            event=Event.DENIED,
            address=address,
            method="http",
            outcome="UNAUTHENTICATED",
        )
    )
