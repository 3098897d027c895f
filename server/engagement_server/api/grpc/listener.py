"""An address that takes calls: its gRPC server, whether it speaks TLS, and what it asks of clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import grpc

from engagement_server.api.grpc.admission import ASKS_NOBODY
from engagement_server.api.listening import cannot_listen, require_free

if TYPE_CHECKING:
    from engagement_server.api.grpc.admission import Admission
    from engagement_server.transport.served_certificate import Pem, ServedCertificate


class ListenerPolicy(NamedTuple):
    """How an address takes calls."""

    address: str
    """HOST:PORT; port 0 stands for any free one."""
    admission: Admission = ASKS_NOBODY
    certificate: ServedCertificate | None = None
    """Without one, calls come in plain text."""
    requires_client_certificate: bool = False


class Listener:
    """A gRPC server with one address."""

    def __init__(
        self, policy: ListenerPolicy, options: Sequence[tuple[str, int]], *, is_reserved: bool
    ) -> None:
        """The address `is_reserved` if another process keeps it for this one."""
        self.policy = policy
        self.grpc = grpc.aio.server(options=options)
        self._is_reserved = is_reserved

    async def listen(self) -> str:
        """Takes calls; returns the address with its actual port. Raises ConfigurationError."""
        address, certificate = self.policy.address, self.policy.certificate
        host, _, _ = address.rpartition(":")
        if not self._is_reserved:
            require_free(address)
        try:
            if certificate is None:
                port = self.grpc.add_insecure_port(address)
            else:
                credentials = _credentials(
                    certificate, requires_client=self.policy.requires_client_certificate
                )
                port = self.grpc.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise cannot_listen(address, error) from error
        await self.grpc.start()
        return f"{host}:{port}"


def _credentials(certificate: ServedCertificate, *, requires_client: bool) -> grpc.ServerCredentials:
    """Those of whatever is served when a connection comes in."""
    given = certificate.pem

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        # Before each handshake, one at a time, in a thread of the library.
        nonlocal given
        pem = certificate.pem
        if pem is given:
            return None
        given = pem
        return _configuration(pem, requires_client=requires_client)

    first = _configuration(given, requires_client=requires_client)
    return grpc.dynamic_ssl_server_credentials(first, fetch, requires_client)  # type: ignore[arg-type]  # may be None


def _configuration(pem: Pem, *, requires_client: bool) -> grpc.ServerCertificateConfiguration:
    authorities = pem.authorities if requires_client else None
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.chain)], authorities)
