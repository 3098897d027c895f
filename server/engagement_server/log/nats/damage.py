"""Whether a node refuses its partition, because the log or the view is damaged, and since which message."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from engagement_server.errors import InapplicableCommitError, LogDamagedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from engagement_server.errors import UnusableMessageError
    from engagement_server.store.log_digest import Divergence

_log = logging.getLogger(__name__)


class Damage:
    """The damage of one log, as far as this node is concerned."""

    def __init__(self, log: str, *, on_change: Callable[[LogDamagedError | None], None]) -> None:
        """`on_change` is called with what callers are told from now on; None: the partition is served."""
        self._log = log
        self._on_change = on_change
        self._message: LogDamagedError | None = None
        self._sequence = 0
        self._divergence: LogDamagedError | None = None

    @property
    def current(self) -> LogDamagedError | None:
        """The error for all calls; None if there is no damage."""
        return self._message or self._divergence

    def stop_before(self, error: UnusableMessageError) -> None:
        """Notes that the view cannot go on to a message."""
        self._sequence = error.sequence
        before = self.current
        self._message = LogDamagedError(log=self._log, sequence=error.sequence, cause=str(error))
        self._report(before, exc_info=error if isinstance(error, InapplicableCommitError) else None)

    def advance(self, sequence: int) -> None:
        """Notes that the view has applied everything up to a message."""
        if self._message is not None and sequence >= self._sequence:
            before, self._message = self.current, None
            self._report(before)

    def compare(self, divergence: Divergence | None) -> None:
        """Notes the comparison of the view with others."""
        found = None
        if divergence is not None:
            found = LogDamagedError(log=self._log, sequence=divergence.after + 1, cause=divergence.cause)
        before, self._divergence = self.current, found
        self._report(before)

    def _report(self, before: LogDamagedError | None, *, exc_info: Exception | None = None) -> None:
        now = self.current
        if str(now) == str(before):
            return
        if now is None:
            _log.info("%s: the damage is repaired, serving again", self._log)
        else:
            _log.error(
                "%s; docs/cluster.md, “When the log is damaged”, has the way back", now, exc_info=exc_info
            )
        self._on_change(now)
