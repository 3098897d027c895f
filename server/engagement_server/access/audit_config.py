"""The settings of the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engagement_server.access.audit_kinds import Kind
from engagement_server.errors import ConfigurationError
from engagement_server.governor.memory import parse_size
from engagement_server.settings import check_settings, setting, shown

MIN_FILE_BYTES: Final = 64 * 1024
MAX_FILE_BYTES: Final = 1024 * 1024 * 1024
_DEFAULT_KINDS: Final = frozenset(str(kind) for kind in Kind if kind is not Kind.MASKED_READS)


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """Without a folder there is no audit log. Raises ConfigurationError for what makes no sense."""

    audit: Path | None = setting(
        None,
        metavar="FOLDER",
        help="Folder for the audit log, which says who did what with data of persons; created if missing. "
        "Without it, there is none.",
    )
    audit_key: Path | None = setting(
        None,
        metavar="FILE",
        help="Key of the hashes by which the audit log names persons. Needed with --audit, and not in its "
        "folder.",
    )
    audit_kinds: str = setting(
        "",
        metavar="KIND,…",
        help=f"What the audit log holds: some of {', '.join(Kind)}. Without it, all but masked-reads.",
    )
    audit_max_bytes: str = setting(
        "16M",
        metavar="SIZE",
        help="Begin a new file of the audit log at this size, such as 16M, from 64K to 1G.",
    )
    audit_files: int = setting(
        16,
        metavar="COUNT",
        at_least=2,
        at_most=10_000,
        help="Keep so many files of each kind of the audit log; the oldest is removed.",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if (self.audit is None) != (self.audit_key is None):
            raise ConfigurationError("--audit and --audit-key belong together; give both or none")
        if unknown := sorted(self.kinds.difference(Kind)):
            raise ConfigurationError(
                f"--audit-kinds must be some of {', '.join(Kind)}; got {shown(unknown[0])}"
            )
        if not MIN_FILE_BYTES <= (parse_size(self.audit_max_bytes) or 0) <= MAX_FILE_BYTES:
            raise ConfigurationError(
                f"--audit-max-bytes must be a size from 64K to 1G; got {shown(self.audit_max_bytes)}"
            )

    @property
    def is_on(self) -> bool:
        """Whether there is an audit log."""
        return self.audit is not None

    @property
    def kinds(self) -> frozenset[str]:
        """What it holds."""
        named = frozenset(kind.strip() for kind in self.audit_kinds.split(","))
        return named if self.audit_kinds else _DEFAULT_KINDS

    @property
    def max_file_bytes(self) -> int:
        """The size at which a new file begins."""
        return parse_size(self.audit_max_bytes) or MIN_FILE_BYTES


AUDIT_OFF: Final = AuditConfig()
"""There is no audit log."""
