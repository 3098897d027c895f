"""The identity of a call: a principal, by what it has shown, and for how long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from engagement_server.access.principals import EVERYBODY, Principal


@dataclass(frozen=True, slots=True)
class Identity:
    """Who makes a call."""

    principal: Principal
    credential: str = ""
    """`token`, `jwt` or `certificate`; empty if the server does not ask."""
    credential_id: str = ""
    """Which one, for logs: never a secret."""
    expires_at: float | None = None
    """Epoch seconds from which on it is not accepted."""
    proof: tuple[str, ...] = ()
    """By which secret or key it was shown, as the directory knows them: not for logs."""


NOBODY_ASKED: Final = Identity(EVERYBODY)
"""Of every call to a server that does not ask who calls."""


class Credentials(Protocol):
    """Something that finds out who shows a token or a certificate.

    Its answers may change with each version of its files; `is_current` tells streams when theirs has.
    """

    def identify_token(self, token: str) -> Identity:
        """Returns the identity of a bearer token. Raises TokenInvalidError and TokenExpiredError."""

    def identify_certificate(self, shown: Mapping[str, Iterable[bytes]]) -> Identity:
        """Returns the identity of a client certificate, by the properties of its connection.

        Raises TokenMissingError, TokenInvalidError and TokenExpiredError.
        """

    def is_current(self, identity: Identity) -> bool:
        """Whether the identity would be given again now, with the same rights."""
