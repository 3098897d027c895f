"""Agrees with the store on how long events are kept: a property of the data, not of a process.

See docs/decisions/0041-retention-is-kept-with-the-data.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engagement_server.clock import now_ms
from engagement_server.errors import ConfigurationError, UnavailableError
from engagement_server.jobs.spans import DAY_MS, duration_text
from engagement_server.model import RetentionState
from engagement_server.operations import Commit, SetRetention

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from engagement_server.log.base import CommitLog

DEFAULT_RETENTION_MS = 396 * DAY_MS
PATIENCE_SECONDS = 10.0
"""A node that is still behind the log then agrees later, before it expires anything."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a server was started."""

    retention_ms: int | None
    """None: whatever the store says."""
    idle_uploads_ms: int
    allows_short: bool
    """Whether the retention may be less than a day."""
    folder: Path
    """The data folder, for messages."""

    def first_retention(self) -> SetRetention:
        """Sets the retention of a store that has none."""
        return SetRetention(self.retention_ms or DEFAULT_RETENTION_MS, is_first=True)

    def require_agreement(self, state: RetentionState) -> None:
        """Raises ConfigurationError if the server was started with another retention than the store's."""
        stored_ms, wanted_ms = state.retention_ms, self.retention_ms
        if stored_ms is None or wanted_ms in {None, stored_ms}:
            return
        assert wanted_ms is not None
        raise ConfigurationError(
            f"{self.folder} keeps events for {duration_text(stored_ms)}, and --retention-days asks for"
            f" {duration_text(wanted_ms)}: leave the option out, or change all nodes with"
            f" `engagement retention set --days {wanted_ms / DAY_MS:g}`"
        )


async def agree_on_retention(
    log: CommitLog, terms: Terms, *, read: Callable[[], RetentionState]
) -> RetentionState:
    """Sets the retention of a new store, or compares it; returns it as `read` finds it in the store.

    A node that cannot follow its log now agrees later. Raises ConfigurationError.
    """
    state = read()
    if state.retention_ms is not None and terms.retention_ms is None:
        return state
    await _wait_until_current(log)
    if not log.is_current:
        return state
    state = read()
    if state.retention_ms is None:
        with contextlib.suppress(UnavailableError):
            await log.commit(Commit([terms.first_retention()], now_ms()))
            state = read()
    terms.require_agreement(state)
    return state


async def _wait_until_current(log: CommitLog) -> None:
    """Waits for a log that has just been opened, but not for long."""
    changed = asyncio.Event()
    log.watch_freshness(lambda _: changed.set())
    if log.is_current:
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await changed.wait()
