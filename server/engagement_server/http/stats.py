"""The stats of a server as JSON, for pages and scripts that look at it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engagement_server.access.seen import as_seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from engagement import v1
    from engagement_server.access.principals import Accounts


class StatsDocument:
    """Renders the stats in a thread, for one request at a time."""

    def __init__(self) -> None:
        self._read: Callable[[], v1.GetServerStatsResponse] | None = None
        # It takes some milliseconds of processor time, however many ask for it.
        self._turn = asyncio.Lock()

    def begin(self, read: Callable[[], v1.GetServerStatsResponse]) -> None:
        """Notes that the server has started; `read` returns a message that nobody changes."""
        self._read = read

    async def render(self, accounts: Accounts) -> str | None:
        """What may be seen of some accounts, in the JSON mapping of protobuf and with all fields.

        None until the server has started.
        """
        if self._read is None:
            return None
        async with self._turn:
            return await asyncio.to_thread(_json, as_seen(self._read(), accounts))


def _json(message: Message) -> str:
    # Only servers that are looked at load the library.
    from google.protobuf.json_format import MessageToJson  # noqa: PLC0415

    return MessageToJson(message, always_print_fields_with_no_presence=True, indent=None)
