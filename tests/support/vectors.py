"""The cases that clients of all languages share, and the scripted server that plays the conversations."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Self

import grpc

from engagement.channel import tls_credentials
from tests.support.child_process import REPOSITORY, ChildProcess

VECTORS = REPOSITORY / "clients/vectors"

Json = Any  # what json.loads gives


def cases(file_name: str) -> list[Json]:
    """All cases of a file."""
    found: list[Json] = json.loads((VECTORS / file_name).read_text())["cases"]
    return found


def name_of(case: Json) -> str:
    """The name of a case in a test run."""
    return str(case["name"])


class ScriptedServer(ChildProcess):
    """The scripted server in a process of its own, as clients of other languages meet it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            sys.executable, "-m", "clients.vectors.scripted_server", output=folder / "scripted-server"
        )

    def __enter__(self) -> Self:
        self.launch()
        addresses = json.loads(self.first_line())
        self.address = str(addresses["address"])
        self.tls_address = str(addresses["tls_address"])
        self.mutual_tls_address = str(addresses["mutual_tls_address"])
        self._files = {name: Path(path) for name, path in addresses.items() if name.endswith("_file")}
        return self

    def credentials(self, *, with_certificate: bool = False) -> grpc.ChannelCredentials:
        """Trusts the server, and has a certificate that the server trusts if it is asked for."""
        if not with_certificate:
            return tls_credentials(ca=self._files["ca_file"])
        return tls_credentials(
            ca=self._files["ca_file"],
            certificate=self._files["certificate_file"],
            key=self._files["key_file"],
        )
