"""Reads whom a client certificate names. The transport has checked its chain and that its key is there."""

from __future__ import annotations

from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from engagement_server.errors import TokenInvalidError

MAX_NAMES: Final = 100
_UNREADABLE: Final = (
    *(ValueError, TypeError, UnsupportedAlgorithm),
    *(x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType),
)
"""What the library raises for certificates that make no sense to it; they have no base of their own."""


class Certificate(NamedTuple):
    """What a certificate says that matters here."""

    names: tuple[str, ...]
    """`uri:…` and `dns:…` of its alternative names; never its common name, which anything may be."""
    begins_at: float
    """Epoch seconds."""
    expires_at: float


def read_certificate(pem: bytes) -> Certificate:
    """Reads a certificate (PEM). Raises TokenInvalidError."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = alternatives.get_values_for_type(x509.UniformResourceIdentifier)
        hosts = alternatives.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound as error:
        raise TokenInvalidError("the certificate has no alternative names") from error
    except _UNREADABLE as error:
        raise TokenInvalidError("the certificate cannot be read") from error
    names = (*(f"uri:{uri}" for uri in uris), *(f"dns:{host.lower()}" for host in hosts))
    if len(names) > MAX_NAMES:
        raise TokenInvalidError("the certificate has too many names")
    return Certificate(
        names, certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    )
