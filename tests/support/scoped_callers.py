"""Credentials of tests: a token is the list of its scopes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from engagement_server.access.identities import Identity
from engagement_server.access.principals import ANY_END, Accounts, Principal
from engagement_server.access.scopes import SCOPES
from engagement_server.errors import TokenInvalidError

ACCOUNT: Final = "acme"
Metadata = tuple[tuple[str, str], ...]


class ScopeTokens:
    """Gives whoever shows a token such as `read read.pii` these scopes for all accounts."""

    def identify_token(self, token: str) -> Identity:
        scopes = frozenset(SCOPES[name] for name in token.split())
        return Identity(Principal(name=token, accounts=Accounts([ANY_END]), scopes=scopes), "token")

    def identify_certificate(self, shown: Mapping[str, Iterable[bytes]]) -> Identity:
        raise TokenInvalidError("tests show no certificates")

    def is_current(self, identity: Identity) -> bool:
        return bool(identity.principal.scopes)


def showing(*scopes: str, account_id: str = ACCOUNT) -> Metadata:
    """The metadata of a call with these scopes."""
    return ("authorization", f"Bearer {' '.join(scopes)}"), ("engagement-account", account_id)


MASKED: Final = showing("read")
UNMASKED: Final = showing("read", "read.pii")
EVERYTHING: Final = showing(*SCOPES)
