"""A server that is started with another retention than the store's is refused, at the latest once current."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engagement_server.clock import now_ms
from engagement_server.errors import ConfigurationError
from engagement_server.jobs import agreement, retention
from engagement_server.jobs.agreement import Terms, agree_on_retention
from engagement_server.model import RetentionState
from engagement_server.operations import Commit, SetRetention
from engagement_server.store.retention_rows import read_retention
from tests.support.expiring_node import DAY_MS, HOUR_MS, ExpiringNode
from tests.support.waiting import deadline

OTHER = "keeps events for 1 hour, and --retention-days asks for 1 second"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[ExpiringNode]:
    opened = ExpiringNode(tmp_path / "data")
    yield opened
    await opened.close()


async def agree(node: ExpiringNode, retention_ms: int | None) -> RetentionState:
    """The retention that a server finds at its start."""

    def read() -> RetentionState:
        with contextlib.closing(node.database.open_reader()) as connection:
            return read_retention(connection)

    terms = Terms(retention_ms, idle_uploads_ms=HOUR_MS, allows_short=True, folder=node.folder)
    return await agree_on_retention(node.log, terms, read=read)


@pytest.mark.parametrize(("wanted_ms", "set_ms"), [(None, 396 * DAY_MS), (30 * DAY_MS, 30 * DAY_MS)])
async def test_the_first_server_sets_the_retention(
    node: ExpiringNode, wanted_ms: int | None, set_ms: int
) -> None:
    assert (await agree(node, wanted_ms)).retention_ms == set_ms
    assert (await agree(node, None)).retention_ms == set_ms
    with pytest.raises(ConfigurationError, match="and --retention-days asks for 1 second"):
        await agree(node, 1000)
    assert (await agree(node, None)).retention_ms == set_ms


async def test_a_server_that_is_behind_at_its_start_is_refused_once_it_has_caught_up(
    node: ExpiringNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(retention, "BEHIND_SECONDS", 0.01)
    await node.fill({"acme": 3}, age_ms=HOUR_MS // 2)
    node.log.is_behind = True
    assert (await agree(node, 1000)).retention_ms == HOUR_MS
    async with node.job(retention_ms=1000):
        node.log.is_behind = False
        async with deadline("the server ends"):
            with pytest.raises(ConfigurationError, match=OTHER):
                await node.log.failure
    assert await node.left() == 3


async def test_a_server_that_runs_goes_on_with_the_retention_that_an_operator_has_set(
    node: ExpiringNode,
) -> None:
    await node.fill({"acme": 4}, age_ms=4 * HOUR_MS, retention_ms=3 * HOUR_MS)
    await node.fill({"acme": 3})
    async with node.job(retention_ms=3 * HOUR_MS):
        await node.wait_until_left(3)
        await node.log.commit(Commit([SetRetention(HOUR_MS, is_first=False)], now_ms()))
        await node.wait_until_left(0)
    assert not node.log.failure.done()
