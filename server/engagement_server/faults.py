"""Why a server cannot start or go on; callers never see these.

EngagementError
├── ConfigurationError              the server cannot start like this
└── LogError                        a replicated log cannot be used
├── LogUnreachableError
├── LogReplacedError
├── StaleViewError
├── UnreadableCommitError
├── DamagedSnapshotError
├── WriterGoneError
└── WriterFailedError
"""

from __future__ import annotations

from engagement_server.errors import EngagementError


class ConfigurationError(EngagementError):
    """The server cannot start with this configuration; the message says what to change."""


class LogError(EngagementError):
    """A replicated log cannot be followed; no caller sees it."""


class LogUnreachableError(LogError):
    """The log does not answer now; trying again helps."""


class LogReplacedError(LogError):
    """The log does not hold what this view was made from."""


class StaleViewError(LogError):
    """The log does not reach back to where this view ends; the next start makes the view anew."""


class UnreadableCommitError(LogError):
    """A message of the log is not a commit that this version knows."""


class DamagedSnapshotError(LogError):
    """A snapshot is not whole, or not what it is said to be; an older one may be."""


class WriterGoneError(LogError):
    """The process that writes for this one has ended, or has given it up."""


class WriterFailedError(LogError):
    """The process that writes for this one could not do it, for a reason that stands in its log."""
