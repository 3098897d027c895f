"""Credentials of tests: a token is the name of a principal, which a test may change, revoke or let expire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from engagement_server.access.identities import Identity
from engagement_server.access.principals import ANY_END, Accounts, Principal
from engagement_server.access.scopes import SCOPES
from engagement_server.errors import TokenInvalidError
from tests.support.scoped_callers import ACCOUNT, Metadata

ALL_ACCOUNTS: Final = Accounts([ANY_END])


class HeldGrants:
    """The grants of a test, by the names of their principals."""

    def __init__(self, *principals: Principal) -> None:
        self._identities = {each.name: Identity(each, "token", each.name) for each in principals}

    def identify_token(self, token: str) -> Identity:
        if token not in self._identities:
            raise TokenInvalidError("no test knows it")
        return self._identities[token]

    def identify_certificate(self, shown: Mapping[str, Iterable[bytes]]) -> Identity:
        raise TokenInvalidError("tests show no certificates")

    def is_current(self, identity: Identity) -> bool:
        current = self._identities.get(identity.credential_id)
        return current is not None and current.principal == identity.principal

    def revoke(self, name: str) -> None:
        """Removes a principal."""
        del self._identities[name]

    def put(self, principal: Principal, *, expires_at: float | None = None) -> None:
        """Adds a principal or changes its rights; its identities from now on expire then."""
        self._identities[principal.name] = Identity(principal, "token", principal.name, expires_at)

    def extend(self, name: str) -> None:
        """Lets the next identities of a principal live on; those that were given expire as they did."""
        self._identities[name] = replace(self._identities[name], expires_at=None)


def principal(
    name: str, *scopes: str, accounts: Accounts = ALL_ACCOUNTS, **restrictions: object
) -> Principal:
    """Somebody with these scopes, by default for all accounts."""
    granted = frozenset(SCOPES[scope] for scope in scopes)
    return Principal(name=name, accounts=accounts, scopes=granted, **restrictions)  # type: ignore[arg-type]  # as the test says


def calling_as(name: str, *, account_id: str = ACCOUNT) -> Metadata:
    """The metadata of a principal's call."""
    return ("authorization", f"Bearer {name}"), ("engagement-account", account_id)
