"""Answers of a server of the log that trying again does not change, such as one to a wrong password."""

from __future__ import annotations

import ssl
from typing import Any, Final

from nats.aio.client import Client
from nats.errors import Error as NatsError

_OF_USER: Final = "authorization violation"
"""In the text of the library's error, which has no type of its own."""
_OF_CERTIFICATES: Final = ("CERTIFICATE_REQUIRED", "UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN")
"""In the reasons of TLS for an alert of the server."""


class PlainTextError(NatsError):
    """A server does not ask for TLS, although we do."""


class EncryptingClient(Client):
    """A client that ends before it sends a password if the connection is to be encrypted and is not.

    The library follows the server in this, so whoever answers in its place would get to read everything.
    """

    def __init__(self, *, encrypts: bool) -> None:
        super().__init__()
        self._encrypts = encrypts

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # noqa: FBT001, FBT002  # as the library calls it
        if self._encrypts and not info.get("tls_required"):
            raise PlainTextError
        await super()._process_info(info, initial_connection)


def denial_of(error: BaseException | None) -> str:
    """Why a server cannot be used with these settings, and what to change; empty if waiting may help."""
    match error:
        case PlainTextError():
            return "it does not use TLS; give its address as nats://, or turn TLS on there"
        case ssl.SSLCertVerificationError():
            return (
                f"its certificate is not trusted ({error.verify_message}); check --log-tls-ca, and that --log"
                " has the name in the certificate"
            )
        case ssl.SSLError() if any(reason in (error.reason or "") for reason in _OF_CERTIFICATES):
            return "it refuses our certificate; check --log-tls-cert and --log-tls-key"
        case None:
            return ""
        case _ if _OF_USER in str(error).lower():
            return "it refuses the user; check the user and password in --log, or --log-credentials"
        case _:
            return ""
