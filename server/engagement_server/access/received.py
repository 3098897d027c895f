"""What a process knows of callers that does not read the files itself: it gets their contents."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from engagement_server.access.directory import Directory, Known
from engagement_server.access.last_uses import LastUses
from engagement_server.access.parsing import know

if TYPE_CHECKING:
    from engagement_server.access.config import AccessConfig
    from engagement_server.access.files import AllContents

ASK_SECONDS: Final = 60.0
"""Between questions for keys that are not loaded."""


class ReceivedAccess:
    """Versions of the files of access, each of which has been found to be good."""

    def __init__(
        self, config: AccessConfig, contents: AllContents, *, on_unknown_key: Callable[[], None]
    ) -> None:
        """`on_unknown_key` is called at most once a minute. Raises ConfigurationError."""
        self._config = config
        self._on_unknown_key = on_unknown_key
        self._asked = float("-inf")
        self.uses = LastUses()
        """What this process has seen, for the one that keeps it."""
        self.directory = Directory(
            know(Known(), contents, config=config), uses=self.uses, on_unknown_key=self._ask
        )

    async def take(self, contents: AllContents) -> None:
        """Takes a new version of some files. Raises ConfigurationError."""
        known = await asyncio.to_thread(know, self.directory.known, contents, config=self._config)
        self.directory.replace(known)

    def _ask(self) -> None:
        now = time.monotonic()
        if now - self._asked >= ASK_SECONDS:
            self._asked = now
            self._on_unknown_key()
