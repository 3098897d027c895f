"""Certificates for NATS servers and their clients, from an authority of their own."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class NatsCertificates:
    """Files with which clients and servers authenticate each other."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path

    @classmethod
    def make(cls, folder: Path) -> NatsCertificates:
        """A new authority and its certificates."""
        folder.mkdir(parents=True, exist_ok=True)
        names = ("authority", "server", "server_key", "client", "client_key")
        files = cls(*(folder / f"{name}.pem" for name in names))
        authority = trustme.CA()
        server = authority.issue_cert("127.0.0.1", "localhost")
        client = authority.issue_cert("client@nats.test")
        authority.cert_pem.write_to_path(files.authority)
        server.cert_chain_pems[0].write_to_path(files.server)
        server.private_key_pem.write_to_path(files.server_key)
        client.cert_chain_pems[0].write_to_path(files.client)
        client.private_key_pem.write_to_path(files.client_key)
        return files

    def context(self) -> ssl.SSLContext:
        """The TLS settings of a client."""
        context = ssl.create_default_context(cafile=self.authority)
        context.load_cert_chain(self.client, self.client_key)
        return context
