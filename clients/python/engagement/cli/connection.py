"""Calls the server as the options of a command say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from engagement.cli.access import Access
from engagement.cli.connection_options import current_access
from engagement.cli.explanations import explain
from engagement.client import EngagementClient
from engagement.errors import EngagementError

_Result = TypeVar("_Result")


class Connection:
    """A client and its event loop, for synchronous code. Raises CommandError."""

    def __init__(
        self, runner: asyncio.Runner, *, client: EngagementClient, server: str, access: Access
    ) -> None:
        self._runner = runner
        self._client = client
        self._server = server
        self._access = access
        self._stamp = access.stamp()

    def call(self, make_call: Callable[[EngagementClient], Awaitable[_Result]]) -> _Result:
        """Makes a call and returns its result."""

        async def run() -> _Result:
            self._take_renewed_certificate()
            return await make_call(self._client)

        try:
            return self._runner.run(run())
        except EngagementError as error:
            raise explain(error, server=self._server, access=self._access) from error
        except asyncio.CancelledError:
            # Only an interrupt cancels it. The runner turns that into a KeyboardInterrupt, unless the signal
            # arrives between its installation of the handler and its reset of the count of signals.
            raise KeyboardInterrupt from None

    def _take_renewed_certificate(self) -> None:
        # A pair that is only half replaced, or gone for a moment, is taken when it is complete.
        with suppress(OSError):
            if (stamp := self._access.stamp()) != self._stamp:
                credentials = self._access.credentials()
                self._stamp = stamp
                if credentials is not None:
                    self._client.replace_credentials(credentials)

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
            raise explain(failure, server=self._server, access=self._access) from failure


@contextmanager
def connect(server: str, *, account: str = "") -> Iterator[Connection]:
    """A connection to a server for an account, as the options of the running command say how.

    It connects with the first call. Raises CommandError if the token would leave this machine in plain text.
    """
    access = current_access()
    access.require_safe(server)
    with asyncio.Runner() as runner:
        client = runner.run(_make_client(server, account=account, access=access))
        try:
            yield Connection(runner, client=client, server=server, access=access)
        finally:
            runner.run(client.close())


async def _make_client(server: str, *, account: str, access: Access) -> EngagementClient:
    # A client belongs to the loop that is running when it is created.
    return EngagementClient(
        server,
        account_id=account,
        credentials=access.credentials(),
        token=access.token_source(),
        allow_plaintext_token=True,  # `require_safe` has looked
    )
