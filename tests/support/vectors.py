"""The cases that clients of all languages share, and the scripted server that plays the conversations."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Self

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
        self.certificates = Path(addresses["ca_file"]).read_bytes()
        return self
