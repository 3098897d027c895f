"""Watches that the files of the stores are there: what is written to one that was removed is lost."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from engagement_server.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engagement_server.store.database import DatabaseFile

WATCH_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class Presence:
    """Whether the files of open stores were there when they were looked at last."""

    def __init__(self, databases: Sequence[DatabaseFile]) -> None:
        self._databases = databases
        self.problem = ""
        """What is wrong; empty if nothing is."""

    async def watch(self, report: Callable[[bool], None]) -> None:
        """Reports when a file was removed or replaced, and when it is back.

        Commits are refused from then on, without any doing of this.
        """
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            problem = self._find_problem()
            if bool(problem) == bool(self.problem):
                continue
            self.problem = problem
            report(not problem)
            if problem:
                _log.error("no event is accepted: %s. Stop the server and put the files back", problem)
            else:
                _log.warning("the files of the store are back: events are accepted again")

    def _find_problem(self) -> str:
        for database in self._databases:
            try:
                database.require_present()
            except StoreUnavailableError as error:
                return str(error)
        return ""
