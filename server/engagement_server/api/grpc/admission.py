"""Decides who makes a call and whether it may, from its metadata alone: before a message of it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from engagement_server.access.identities import NOBODY_ASKED
from engagement_server.api.grpc.call_lines import current_facts
from engagement_server.errors import (
    AccountForbiddenError,
    AccountMismatchError,
    ScopeMissingError,
    TokenInvalidError,
    TokenMissingError,
)

if TYPE_CHECKING:
    from engagement_server.access.identities import Credentials, Identity
    from engagement_server.access.scopes import Requirement
    from engagement_server.api.grpc.call import Context

ACCOUNT_KEY: Final = "engagement-account"
_AUTHORIZATION: Final = "authorization"
_NOT_PUBLISHABLE: Final = "any of a grant that is not publishable"
_BEARER: Final = "bearer "


class Admitted(NamedTuple):
    """A call that may go on."""

    identity: Identity
    account_id: str | None = None
    """As the metadata names it; None if it names none."""
    credentials: Credentials | None = None
    """What knows the identity; None where nobody is asked."""

    def require_account(self, account_id: str) -> None:
        """Compares the account of the request. Raises AccountMismatchError."""
        if self.account_id is not None and account_id != self.account_id:
            raise AccountMismatchError


class Admission:
    """The policy of one listener."""

    def __init__(self, credentials: Credentials | None = None, *, by_certificate: bool = False) -> None:
        """Without `credentials` nobody is asked. `by_certificate`: its clients show certificates."""
        self._credentials = credentials
        self._by_certificate = by_certificate

    def admit(self, context: Context, requirement: Requirement) -> Admitted:
        """Admits a call. All is decided before anything is looked up, so an account need not exist.

        Raises UnauthenticatedError, PermissionDeniedError and AccountMismatchError.
        """
        token, account_id = _read_metadata(context)
        if self._credentials is None or requirement.is_open:
            return Admitted(NOBODY_ASKED, account_id)
        identity = current_facts().identity = self._identify(self._credentials, context, token)
        principal = identity.principal
        if requirement.any_of and requirement.any_of.isdisjoint(principal.scopes):
            raise ScopeMissingError(requirement.names)
        if principal.is_publishable and not requirement.takes_publishable:
            raise ScopeMissingError(requirement.names or _NOT_PUBLISHABLE)
        if requirement.has_account and (account_id is None or account_id not in principal.accounts):
            raise AccountForbiddenError(account_id)
        return Admitted(identity, account_id, self._credentials)

    def _identify(self, credentials: Credentials, context: Context, token: str | None) -> Identity:
        if token is not None:
            return credentials.identify_token(token)
        if self._by_certificate:
            return credentials.identify_certificate(context.auth_context())
        raise TokenMissingError


ASKS_NOBODY: Final = Admission()


def _read_metadata(context: Context) -> tuple[str | None, str | None]:
    """The bearer token of a call, and the account that it names."""
    token: str | None = None
    account_id: str | None = None
    for key, value in context.invocation_metadata() or ():
        if key == ACCOUNT_KEY:
            if account_id is not None or not isinstance(value, str):
                raise AccountMismatchError
            account_id = value
        elif key == _AUTHORIZATION:
            if token is not None or not isinstance(value, str):
                raise TokenInvalidError("the call has two")
            token = value[len(_BEARER) :] if value[: len(_BEARER)].lower() == _BEARER else ""
    return token, account_id
