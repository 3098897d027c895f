"""The commits of this process that are in the log, or on their way to it, and not applied to the view yet."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from engagement_server.errors import RequestError
    from engagement_server.log_entries import LogEntry
    from engagement_server.operations import Applied, Commit


class PendingCommits:
    """Commits by the ids of their messages, and their callers, who wait for the outcome."""

    def __init__(self) -> None:
        self._commits: dict[str, Commit] = {}
        self._outcomes: dict[str, asyncio.Future[Applied]] = {}

    @contextlib.contextmanager
    def add(self, message_id: str, commit: Commit) -> Iterator[asyncio.Future[Applied]]:
        """Adds a commit for the duration of the context; the future gets its outcome."""
        outcome: asyncio.Future[Applied] = asyncio.get_running_loop().create_future()
        self._commits[message_id], self._outcomes[message_id] = commit, outcome
        try:
            yield outcome
        finally:
            del self._commits[message_id], self._outcomes[message_id]

    def get(self, message_id: str) -> Commit | None:
        """The commit with an id; None if it is another process's."""
        return self._commits.get(message_id)

    def finish(self, message_id: str, outcome: Applied) -> None:
        """Tells the caller, if there is one, what came of a commit."""
        waiting = self._outcomes.get(message_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(outcome)

    def fail(self, entries: Sequence[LogEntry], error: RequestError) -> None:
        """Tells the callers of some entries that there is no outcome yet."""
        for entry in entries:
            self._fail(entry.message_id, error)

    def fail_all(self, error: RequestError) -> None:
        """Tells all callers that there is no outcome yet."""
        for message_id in self._outcomes:
            self._fail(message_id, error)

    def _fail(self, message_id: str, error: RequestError) -> None:
        waiting = self._outcomes.get(message_id)
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)
