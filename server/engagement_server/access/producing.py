"""What the grant of a caller means for the events and uploads that it brings, and for those that it sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement_server.access.principals import EVERYBODY
from engagement_server.access.scopes import SCOPES
from engagement_server.producer import ANYBODY, Producer

if TYPE_CHECKING:
    from engagement_server.access.identities import Identity


def producer_of(identity: Identity) -> Producer:
    """The caller as somebody who sends events."""
    principal = identity.principal
    if principal is EVERYBODY:
        return ANYBODY
    return Producer(
        principal=principal.name,
        is_admin=SCOPES["admin"] in principal.scopes,
        sources=principal.sources,
        may_authenticate=principal.may_authenticate,
        is_publishable=principal.is_publishable,
    )


def seen_uploads_of(identity: Identity) -> str | None:
    """The only principal whose uploads the caller sees, besides those of nobody; None if it sees all."""
    principal = identity.principal
    sees_all = not principal.scopes.isdisjoint({SCOPES["admin"], SCOPES["read"]})
    return None if sees_all else principal.name
