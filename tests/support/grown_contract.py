"""A copy of the server and the Python client whose contract has one more field, and events with it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from engagement import v1
from tests.support.child_process import REPOSITORY
from tests.support.cli_process import Cli

FIELD = "grown_tier"
MEMBER = "grownTier"
"""Its name in a source."""
COLUMN = f"customer_info.{FIELD}"
_SET = "message CustomerInfo {"
_NUMBER = max(field.number for field in v1.CustomerInfo.DESCRIPTOR.fields) + 1
_DECLARATION = f"""
  // Tier of a programme that the contract did not know before.
  optional string {FIELD} = {_NUMBER} [(buf.validate.field).string = {{
    max_len: 50000
    not_contains: "\\x00"
  }}];
"""
_IGNORED = shutil.ignore_patterns("__pycache__", "node_modules")


@dataclass(frozen=True)
class GrownContract:
    """The folder of the copy."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> GrownContract:
        """Copies what is needed, adds the field and its rule, and generates the code."""
        for part in ("protos", "server", "clients/python"):
            shutil.copytree(REPOSITORY / part, folder / part, ignore=_IGNORED)
        proto = folder / "protos/engagement/v1/attributes.proto"
        before, begin, fields = proto.read_text().partition(_SET)
        own, end, after = fields.partition("\n}\n")
        proto.write_text("".join((before, begin, own, _DECLARATION, end, after)))
        subprocess.run([sys.executable, "protos/contract.py", "generate"], cwd=folder, check=True)
        return cls(folder)

    @property
    def environment(self) -> dict[str, str]:
        """Makes a Python process run the copy."""
        return {"PYTHONPATH": f"{self.folder / 'server'}:{self.folder / 'clients/python'}"}

    def run(self, code: str, *arguments: str) -> str:
        """Runs code with the copy; returns its output."""
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True
        ).stdout

    def cli(self, cli: Cli) -> Cli:
        """The command line of the copy, in the place of another."""
        return replace(cli, settings=self.environment)


def with_tier(event: v1.Event, tier: str) -> v1.Event:
    """The event with the field, which this process does not know."""
    value = tier.encode()
    assert len(value) < 128
    tag = _NUMBER << 3 | 2
    added = bytes([tag & 0x7F | 0x80, tag >> 7, len(value)]) + value
    event.customer_info.MergeFromString(added)
    return event
