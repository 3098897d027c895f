"""The audit log of a server in a test: its settings, and what is in its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

from engagement_server.access.audit_config import AuditConfig
from engagement_server.access.audit_kinds import Kind

Said: TypeAlias = dict[str, Any]
"""A line as programs read it."""
KEY = b"0123456789abcdef0123456789abcdef"


class AuditFiles:
    """A folder for the audit log, and its key beside it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.key_path = folder / "audit.key"
        self.key_path.write_bytes(KEY)
        self.folder = folder / "audit"

    def config(self, **settings: Any) -> AuditConfig:
        """Settings with all kinds, unless the test says otherwise."""
        chosen = {"audit_kinds": ",".join(Kind), **settings}
        return AuditConfig(audit=self.folder, audit_key=self.key_path, **chosen)

    def options(self, *, kinds: str = ",".join(Kind)) -> tuple[str, ...]:
        """The same as options of `engagement serve`."""
        places = ("--audit", str(self.folder), "--audit-key", str(self.key_path))
        return (*places, "--audit-kinds", kinds)

    @property
    def text(self) -> str:
        """All that is in the files."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.jsonl")))

    def lines(self, kind: str, **said: object) -> list[Said]:
        """The lines of a kind that say this, in their order, without those that were cut."""
        paths = sorted(self.folder.glob(f"{kind}.[0-9]*.jsonl"))
        texts = [path.read_text() for path in (*paths, self.folder / f"{kind}.jsonl") if path.exists()]
        found = [json.loads(line) for line in "".join(texts).split("\n") if line.endswith("}")]
        return [each for each in found if all(each.get(key) == value for key, value in said.items())]
