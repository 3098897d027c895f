"""Asks the server, and says in a line or two what to do where that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from engagement.cli.failures import CommandError, NothingFoundError
from engagement.client import EngagementClient
from engagement.errors import DeadlineError, EngagementError, NotFoundError, UnavailableError

_Answer = TypeVar("_Answer")


class Connection:
    """A client and the event loop it lives in, for code that is not asynchronous. Raises CommandError."""

    def __init__(self, runner: asyncio.Runner, *, client: EngagementClient, server: str) -> None:
        self._runner = runner
        self._client = client
        self._server = server

    def ask(self, question: Callable[[EngagementClient], Awaitable[_Answer]]) -> _Answer:
        """The answer to a question to the server."""

        async def run() -> _Answer:
            return await question(self._client)

        try:
            return self._runner.run(run())
        except EngagementError as error:
            raise _explain(error, server=self._server) from error

    def walk(
        self, listing: Callable[[EngagementClient], AsyncIterator[_Answer]], *, at_once: int
    ) -> Iterator[_Answer]:
        """What the server lists. It is handed out while the loop stands still, so Ctrl-C works at once."""
        items = listing(self._client)

        async def take_some(_: EngagementClient) -> list[_Answer]:
            some: list[_Answer] = []
            async for item in items:
                some.append(item)
                if len(some) == at_once:
                    break
            return some

        while some := self.ask(take_some):
            yield from some


@contextmanager
def connect(server: str, *, account: str = "") -> Iterator[Connection]:
    """A connection to a server for an account; it connects when it is first asked."""
    with asyncio.Runner() as runner:
        client = runner.run(_make_client(server, account=account))
        try:
            yield Connection(runner, client=client, server=server)
        finally:
            runner.run(client.close())


async def _make_client(server: str, *, account: str) -> EngagementClient:
    # A client belongs to the loop that runs when it is made.
    return EngagementClient(server, account_id=account)


def _explain(error: EngagementError, *, server: str) -> CommandError:
    text = " ".join(error.message.split())
    if error.code is None:
        return CommandError(text)
    if isinstance(error, NotFoundError):
        return NothingFoundError(f"Not found: {text}")
    if not isinstance(error, UnavailableError | DeadlineError):
        return CommandError(f"The server at {server} refused this: {text}")
    if error.reason:
        return CommandError(f"The server at {server} cannot answer now: {text}. Try again later.")
    return CommandError(
        f"No answer from a server at {server} ({text}).\n"
        "Start one with 'engagement serve', or name the right one with --server or ENGAGEMENT_SERVER."
    )
