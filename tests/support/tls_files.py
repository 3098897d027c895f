"""Certificates of a server in a folder that is mounted as secrets are: a link that is swapped."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import grpc
import trustme
from cryptography import x509

from engagement_server.transport.served_certificate import CertificatePaths
from tests.support.connection import Connection, connection_of

_CHAIN, _KEY, _CLIENTS = "tls.crt", "tls.key", "clients.pem"


class Identity(NamedTuple):
    """A certificate with its key."""

    chain: bytes
    key: bytes

    @property
    def serial(self) -> int:
        """The number of the certificate."""
        return x509.load_pem_x509_certificate(self.chain).serial_number


class TlsFiles:
    """A folder with the certificate of a server, its key, and the authority of its clients."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._versions = 0
        self.authority = trustme.CA()
        self.identity = self.issue()
        folder.mkdir()
        self.put(self.identity)
        for name in (_CHAIN, _KEY, _CLIENTS):
            (folder / name).symlink_to(Path("..data") / name)

    @property
    def paths(self) -> CertificatePaths:
        """What the server is given."""
        return CertificatePaths(*(self._folder / name for name in (_CHAIN, _KEY, _CLIENTS)))

    @property
    def options(self) -> tuple[str, ...]:
        """Options of a server that encrypts."""
        return ("--tls-cert", str(self.paths.chain), "--tls-key", str(self.paths.key))

    @property
    def mutual_options(self) -> tuple[str, ...]:
        """Options of a server with a listener for clients that have certificates."""
        return (*self.options, "--mtls-listen", "127.0.0.1:0", "--mtls-ca", str(self.paths.authorities))

    def issue(self, *names: str, expires: datetime | None = None) -> Identity:
        """A new certificate of the authority."""
        issued = self.authority.issue_cert(*(names or ("localhost", "127.0.0.1")), not_after=expires)
        return Identity(issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes())

    def put(self, identity: Identity, *, clients: bytes | None = None) -> None:
        """Swaps the files for others, all at once."""
        self._versions += 1
        version = self._folder / f"..version-{self._versions}"
        version.mkdir()
        (version / _CHAIN).write_bytes(identity.chain)
        (version / _KEY).write_bytes(identity.key)
        (version / _CLIENTS).write_bytes(self.authority.cert_pem.bytes() if clients is None else clients)
        (self._folder / "..new").symlink_to(version.name)
        os.replace(self._folder / "..new", self._folder / "..data")
        self.identity = identity

    def credentials(self, client: Identity | None = None) -> grpc.ChannelCredentials:
        """Those of a client that trusts the authority."""
        root = self.authority.cert_pem.bytes()
        if client is None:
            return grpc.ssl_channel_credentials(root)
        return grpc.ssl_channel_credentials(root, client.key, client.chain)

    @asynccontextmanager
    async def connect(self, address: str, client: Identity | None = None) -> AsyncIterator[Connection]:
        """Opens a connection of its own."""
        async with connection_of(address, self.credentials(client)) as connection:
            yield connection


def served_serial(address: str) -> int:
    """The number of the certificate that a new connection gets; 0 if there is no answer."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, int(port)), timeout=10) as plain,
            context.wrap_socket(plain) as encrypted,
        ):
            data = encrypted.getpeercert(binary_form=True)
    except OSError:
        return 0
    return x509.load_der_x509_certificate(data).serial_number if data else 0
