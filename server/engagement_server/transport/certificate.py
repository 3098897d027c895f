"""Reads certificates from files, and takes them only if all of them can be served together."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from engagement_server.errors import ConfigurationError
from engagement_server.transport.served_certificate import Pem

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from engagement_server.transport.served_certificate import CertificatePaths

MAX_FILE_BYTES: Final = 1024 * 1024
_MIN_RSA_BITS: Final = 2048


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its key, ready to be served."""

    pem: Pem
    expires_at: float
    """In seconds of the epoch."""
    context: ssl.SSLContext
    """For servers that use the standard library."""


def read_pem(paths: CertificatePaths) -> Pem:
    """The bytes of the files, unchecked. Raises ConfigurationError."""
    return Pem(
        _read("--tls-cert", paths.chain),
        _read("--tls-key", paths.key),
        b"" if paths.authorities is None else _read("--mtls-ca", paths.authorities),
    )


def check_certificate(pem: Pem, paths: CertificatePaths) -> Certificate | None:
    """The certificate that was read from these files; None if they have changed since.

    Raises ConfigurationError if it cannot be served.
    """
    leaf = _certificates(pem.chain, "--tls-cert", paths.chain)[0]
    _require_key(pem, leaf, paths)
    if paths.authorities is not None:
        _certificates(pem.authorities, "--mtls-ca", paths.authorities)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(paths.chain, paths.key, password=_refuse_password)
    except (OSError, ValueError) as error:
        if read_pem(paths) != pem:
            return None
        raise ConfigurationError(
            f"the certificate of --tls-cert {paths.chain} cannot be served: {error}"
        ) from error
    # The standard library reads files only, so they may not be those of a moment ago.
    if read_pem(paths) != pem:
        return None
    return Certificate(pem, leaf.not_valid_after_utc.timestamp(), context)


def _read(option: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{option} {path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigurationError(
            f"{option} {path} has more than {MAX_FILE_BYTES} bytes, which is no PEM file"
        )
    return data


def _certificates(data: bytes, option: str, path: Path) -> list[x509.Certificate]:
    """At least one. Raises ConfigurationError."""
    try:
        return x509.load_pem_x509_certificates(data)
    except (ValueError, x509.InvalidVersion) as error:
        raise ConfigurationError(
            f"{option} {path} holds no certificates that can be read; give a PEM file"
        ) from error


def _require_key(pem: Pem, leaf: x509.Certificate, paths: CertificatePaths) -> None:
    """Raises ConfigurationError unless the key is that of the certificate."""
    try:
        key = load_pem_private_key(pem.key, password=None)
    except TypeError as error:
        raise ConfigurationError(
            f"the key in --tls-key {paths.key} has a password, which nobody can enter here; decrypt the file"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(
            f"--tls-key {paths.key} holds no private key that can be read; give a PEM file"
        ) from error
    public = leaf.public_key()
    if _encoded(key.public_key()) != _encoded(public):
        raise ConfigurationError(
            f"the key in --tls-key {paths.key} does not belong to the certificate in --tls-cert"
            f" {paths.chain}; give those that were issued together"
        )
    if not _is_supported(public):
        raise ConfigurationError(
            f"the key of --tls-cert {paths.chain} must be RSA of at least {_MIN_RSA_BITS} bits, or ECDSA with"
            " the curve P-256 or P-384; have such a certificate issued"
        )


def _is_supported(key: PublicKeyTypes) -> bool:
    """Whether clients with the library's defaults take it: they refuse Ed25519 and P-521."""
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= _MIN_RSA_BITS
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1)


def _encoded(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _refuse_password() -> str:
    """Instead of asking at the terminal; keys with a password are refused before."""
    raise ValueError("it has a password")
