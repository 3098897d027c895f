"""Where a server listens, as it is configured: what protects each address, and whether that is enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement_server.api.grpc.admission import Admission
from engagement_server.api.grpc.listener import ListenerPolicy
from engagement_server.transport.exposure import Exposed, Protection, require_protected

if TYPE_CHECKING:
    from engagement_server.access.identities import Credentials
    from engagement_server.config import Config
    from engagement_server.http.config import HttpConfig
    from engagement_server.transport.certificate_files import CertificateFiles
    from engagement_server.transport.served_certificate import ServedCertificate


def open_certificate(config: Config) -> CertificateFiles | None:
    """The certificate of the configuration, if there is to be one. Raises ConfigurationError."""
    if config.certificate_paths is None:
        return None
    # Only servers that encrypt load the library.
    from engagement_server.transport.certificate_files import CertificateFiles  # noqa: PLC0415

    return CertificateFiles.open(config.certificate_paths)


def policies_of(
    config: Config, *, certificate: ServedCertificate | None, credentials: Credentials | None
) -> list[ListenerPolicy]:
    """The listeners of a process for calls: the usual one, and that for clients with certificates."""
    policies = [ListenerPolicy(config.listen, Admission(credentials), certificate)]
    if config.mtls_listen:
        admission = Admission(credentials, by_certificate=True)
        policies.append(
            ListenerPolicy(config.mtls_listen, admission, certificate, requires_client_certificate=True)
        )
    return policies


def require_protected_listeners(
    config: Config, http: HttpConfig | None, *, asks_identity: bool = False
) -> list[str]:
    """Warnings about what the operator has switched off. Raises ConfigurationError.

    `asks_identity` tells whether callers are asked who they are.
    """
    exposed = [Exposed("--listen", config.listen)]
    if config.mtls_listen:
        exposed.append(Exposed("--mtls-listen", config.mtls_listen))
    if http is not None and http.is_on and http.is_named:  # by default it is on the loopback
        exposed.append(Exposed("--http", http.http))
    return require_protected(
        exposed,
        Protection(is_encrypted=config.certificate_paths is not None, asks_identity=asks_identity),
        allows_no_tls=config.insecure_no_tls,
        allows_no_auth=config.insecure_no_auth,
    )
