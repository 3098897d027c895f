"""The stats of a server as JSON, for pages and scripts that look at it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message


class StatsDocument:
    """Renders the stats in a thread, for one request at a time."""

    def __init__(self) -> None:
        self._read: Callable[[], Message] | None = None
        # It takes some milliseconds of processor time, however many ask for it.
        self._turn = asyncio.Lock()

    def begin(self, read: Callable[[], Message]) -> None:
        """Notes that the server has started; `read` returns a message that nobody changes."""
        self._read = read

    async def render(self) -> str | None:
        """The message in the JSON mapping of protobuf, with all fields; None until the server has started."""
        if self._read is None:
            return None
        async with self._turn:
            return await asyncio.to_thread(_json, self._read())


def _json(message: Message) -> str:
    # Only servers that are looked at load the library.
    from google.protobuf.json_format import MessageToJson  # noqa: PLC0415

    return MessageToJson(message, always_print_fields_with_no_presence=True, indent=None)
