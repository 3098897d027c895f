"""Calls the server, and explains a failure in a line or two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import grpc

from engagement.cli.failures import CommandError, NothingFoundError
from engagement.client import EngagementClient
from engagement.errors import DeadlineError, EngagementError, NotFoundError, UnavailableError

_Result = TypeVar("_Result")
# Words of gRPC, whose messages repeat the address.
_UNRESOLVED = "address lookup failed"
_UNREACHED = "Failed to connect to remote host: "


class Connection:
    """A client and its event loop, for synchronous code. Raises CommandError."""

    def __init__(self, runner: asyncio.Runner, *, client: EngagementClient, server: str) -> None:
        self._runner = runner
        self._client = client
        self._server = server

    def call(self, make_call: Callable[[EngagementClient], Awaitable[_Result]]) -> _Result:
        """Makes a call and returns its result."""

        async def run() -> _Result:
            return await make_call(self._client)

        try:
            return self._runner.run(run())
        except EngagementError as error:
            raise _explain(error, server=self._server) from error
        except asyncio.CancelledError:
            # Only an interrupt cancels it. The runner turns that into a KeyboardInterrupt, unless the signal
            # arrives between its installation of the handler and its reset of the count of signals.
            raise KeyboardInterrupt from None

    def iterate(
        self, listing: Callable[[EngagementClient], AsyncIterator[_Result]], *, at_once: int
    ) -> Iterator[_Result]:
        """The items of a listing. The loop is stopped while they are used, so that Ctrl-C works at once.

        An error is raised after the items before it.
        """
        items = listing(self._client)
        failures: list[EngagementError] = []

        async def take_some(_: EngagementClient) -> list[_Result]:
            some: list[_Result] = []
            try:
                async for item in items:
                    some.append(item)
                    if len(some) == at_once:
                        break
            except EngagementError as error:
                failures.append(error)
            return some

        while some := self.call(take_some):
            yield from some
            if failures:
                break
        for failure in failures:
            raise _explain(failure, server=self._server) from failure


@contextmanager
def connect(server: str, *, account: str = "") -> Iterator[Connection]:
    """A connection to a server for an account; it connects with the first call."""
    with asyncio.Runner() as runner:
        client = runner.run(_make_client(server, account=account))
        try:
            yield Connection(runner, client=client, server=server)
        finally:
            runner.run(client.close())


async def _make_client(server: str, *, account: str) -> EngagementClient:
    # A client belongs to the loop that is running when it is created.
    return EngagementClient(server, account_id=account)


def _explain(error: EngagementError, *, server: str) -> CommandError:
    text = " ".join(error.message.split())
    if error.code is None:
        return CommandError(text)
    if isinstance(error, NotFoundError):
        return NothingFoundError(f"Not found: {text}")
    if error.metadata.keys() & {"nextPageToken", "resumeCursor"}:
        return CommandError(
            f"The server at {server} cannot read on: {text}. --skip-damaged leaves damaged events out."
        )
    if not isinstance(error, UnavailableError | DeadlineError):
        is_unknown = error.code is grpc.StatusCode.UNIMPLEMENTED
        problem = "is too old for this command; update it." if is_unknown else f"refused the request: {text}"
        return CommandError(f"The server at {server} {problem}")
    if error.reason:
        return CommandError(f"The server at {server} cannot answer now: {text}. Try again later.")
    return _explain_unreachable(text, server=server)


def _explain_unreachable(text: str, *, server: str) -> CommandError:
    if _UNRESOLVED in text:
        return CommandError(
            f"The host of {server} is not known here; name another with --server or ENGAGEMENT_SERVER."
        )
    return CommandError(
        f"No answer from a server at {server} ({text.rpartition(_UNREACHED)[2]}).\n"
        "Start one with 'engagement serve', or name the right one with --server or ENGAGEMENT_SERVER."
    )
