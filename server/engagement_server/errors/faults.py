"""Why a server cannot start or go on; callers never see these."""

from __future__ import annotations

from engagement_server.errors.base import EngagementError


class ConfigurationError(EngagementError):
    """The server cannot start with this configuration; the message says what to change."""


class LogError(EngagementError):
    """A replicated log cannot be used."""


class SubscriberError(LogError):
    """A subscriber of the log has failed; what it keeps up to date is wrong until the server restarts."""

    def __init__(self, cause: Exception, *, text: str) -> None:
        """`text` says what the cause is, without values."""
        super().__init__(f"a subscriber of the log failed: {text}; start the server again")
        self.__cause__ = cause


class LogUnreachableError(LogError):
    """The log does not answer; trying again may help."""


class LogAccessDeniedError(LogUnreachableError):
    """No server of the log can be used with these settings; trying again does not help."""


class LogReplacedError(LogError):
    """The log is not the one that this view was made from."""


class StaleViewError(LogError):
    """The log no longer holds the entries after this view; the next start rebuilds the view."""


class UnreadableCommitError(LogError):
    """An entry of the log is not one that this version can read."""


class UnusableMessageError(LogError):
    """A node stops before a message of the log, as long as that is in the log and not skipped."""

    def __init__(self, sequence: int, cause: str) -> None:
        super().__init__(f"message {sequence} {cause}")
        self.sequence = sequence
        self.cause = cause


class DamagedMessageError(UnusableMessageError):
    """A message of the log is missing or is not as it was written."""


class InapplicableCommitError(UnusableMessageError):
    """A view can never apply a commit; it is intact."""


class DamagedSnapshotError(LogError):
    """A snapshot is incomplete or corrupt; an older one may be fine."""


class WriterGoneError(LogError):
    """The parent process has ended, or has dropped this worker."""


class WriterFailedError(LogError):
    """The parent process failed to commit; its log has the cause."""
