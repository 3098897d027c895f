"""Asks the server, and says in a line or two what to do where that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from engagement.cli.failures import CommandError, NothingFoundError
from engagement.client import EngagementClient
from engagement.errors import DeadlineError, EngagementError, NotFoundError, UnavailableError

_Answer = TypeVar("_Answer")


def ask(
    question: Callable[[EngagementClient], Awaitable[_Answer]], *, server: str, account: str = ""
) -> _Answer:
    """Runs a question with a client of the account. Raises CommandError."""

    async def run() -> _Answer:
        async with EngagementClient(server, account_id=account) as client:
            return await question(client)

    try:
        return asyncio.run(run())
    except EngagementError as error:
        raise explain(error, server=server) from error


def explain(error: EngagementError, *, server: str) -> CommandError:
    """What people can do about an error."""
    text = " ".join(error.message.split())
    if isinstance(error, UnavailableError | DeadlineError) and not error.reason:
        return CommandError(
            f"No answer from a server at {server} ({text}).\n"
            "Start one with 'engagement serve', or name the right one with --server or ENGAGEMENT_SERVER."
        )
    if isinstance(error, UnavailableError):
        return CommandError(f"The server at {server} cannot answer now: {text}. Try again later.")
    if isinstance(error, NotFoundError):
        return NothingFoundError(f"Not found: {text}")
    if error.code is None:
        return CommandError(text)
    return CommandError(f"The server at {server} refused this: {text}")
