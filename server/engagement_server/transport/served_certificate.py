"""The certificate that new connections get, in any process that takes calls."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Pem(NamedTuple):
    """What a listener needs for TLS, as PEM: checked together, and replaced together."""

    chain: bytes
    key: bytes
    authorities: bytes = b""
    """Of client certificates; empty where none are asked for."""

    def __repr__(self) -> str:
        """Without the key, which must not get into a log."""
        return f"Pem({len(self.chain)} bytes)"


class CertificatePaths(NamedTuple):
    """Where they are read from."""

    chain: Path
    key: Path
    authorities: Path | None = None


class ServedCertificate:
    """Holds what is served now. Connections that are open keep what they have begun with."""

    __slots__ = ("pem",)

    def __init__(self, pem: Pem) -> None:
        self.pem = pem
