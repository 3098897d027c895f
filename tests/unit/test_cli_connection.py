"""Calls from synchronous code, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from engagement import EngagementClient
from engagement.cli.connection import connect


async def cancel_itself(_: EngagementClient) -> None:
    """Ends as a call does whose interrupt the runner does not count, because it comes while it starts."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def count_to_three(_: EngagementClient) -> AsyncIterator[int]:
    for number in (1, 2, 3):
        yield number


def test_an_interrupt_that_the_runner_does_not_count_is_still_an_interrupt() -> None:
    with connect("127.0.0.1:1") as connection, pytest.raises(KeyboardInterrupt):
        connection.call(cancel_itself)


def test_a_listing_is_used_some_items_at_a_time() -> None:
    with connect("127.0.0.1:1") as connection:
        assert list(connection.iterate(count_to_three, at_once=2)) == [1, 2, 3]
