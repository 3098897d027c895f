"""The events and views of a cluster's nodes, and waiting until they are equal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from engagement import EngagementClient, UnavailableError
from tests.support.view_rows import view_rows
from tests.support.waiting import DEADLINE_SECONDS, eventually

Listed = list[tuple[str, str]]
"""Ids and cursors of all events of an account, in the order of acceptance."""


@asynccontextmanager
async def clients(*targets: str, account_id: str) -> AsyncIterator[list[EngagementClient]]:
    """A client for each target."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(EngagementClient(target, account_id=account_id))
            for target in targets
        ]


async def listed(client: EngagementClient) -> Listed:
    """The events that one node lists."""
    mask = ["event.event_id", "cursor"]
    return [(each.event.event_id, each.cursor) async for each in client.list_events(read_mask=mask)]


async def agreed(addresses: Sequence[str], *, account_id: str, seconds: float = DEADLINE_SECONDS) -> Listed:
    """The events that all nodes list, as soon as these are the same, with equal cursors."""
    first: Listed = []

    async def do_agree() -> bool:
        nonlocal first
        try:
            first, *others = [await listed(client) for client in asked]
        except UnavailableError:  # the library waits before it reconnects
            return False
        return all(other == first for other in others)

    async with clients(*addresses, account_id=account_id) as asked:
        await eventually(do_agree, "all nodes list the same", seconds=seconds)
    return first


async def views_agree(folders: Sequence[Path], *, seconds: float = DEADLINE_SECONDS) -> None:
    """Waits until the views in some folders are the same, row by row."""
    differing: set[str] = {"all"}

    async def are_same() -> bool:
        first, *others = [await asyncio.to_thread(view_rows, folder) for folder in folders]
        differing.clear()
        differing.update(
            table
            for view in others
            for table in first.keys() | view.keys()
            if first.get(table) != view.get(table)
        )
        return not differing

    try:
        await eventually(are_same, "the views are the same", seconds=seconds)
    except TimeoutError:
        raise AssertionError(f"the views differ in {sorted(differing)}") from None
