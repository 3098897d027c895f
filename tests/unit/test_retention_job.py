"""The job that expires goes on past damage and failures, in bounded passes, and says what it has removed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engagement_server.clock import now_ms
from engagement_server.jobs import retention
from engagement_server.operations import Commit, RecordBatch, SetRetention
from tests.support.events import batch_of, customer_events
from tests.support.expiring_node import HOUR_MS, ExpiringNode
from tests.support.store_file import open_store
from tests.support.waiting import eventually


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[ExpiringNode]:
    opened = ExpiringNode(tmp_path / "data")
    yield opened
    await opened.close()


def removed(caplog: pytest.LogCaptureFixture) -> list[int]:
    """How many events the log lines say were removed."""
    found = (re.match(r"removed (\d+) events that were accepted before", each) for each in caplog.messages)
    return [int(each[1]) for each in found if each]


async def test_a_node_that_is_behind_does_not_spin_when_the_retention_changes(node: ExpiringNode) -> None:
    await node.fill({"acme": 1})
    node.log.is_behind = True
    async with node.job() as job:
        await node.log.commit(Commit([SetRetention(2 * HOUR_MS, is_first=False)], now_ms()))
        await node.log.commit(Commit([SetRetention(HOUR_MS, is_first=False)], now_ms()))
        looks = node.log.looks
        await eventually(lambda: node.log.looks > looks or job.done(), "the job looks again")
        assert not job.done()
        assert await node.left() == 1
        node.log.is_behind = False
        await node.wait_until_left(0)


async def test_a_node_that_is_behind_tries_to_remove_nothing_and_logs_no_error(
    node: ExpiringNode, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BEHIND_SECONDS", 0.01)
    await node.fill({"acme": 1})
    node.log.is_behind = node.log.is_cut = True
    async with node.job():
        await eventually(lambda: node.log.looks > 5, "the job has looked again")
        assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == []
        node.log.is_behind = node.log.is_cut = False
        await node.wait_until_left(0)


async def damage(node: ExpiringNode) -> None:
    """Damages an event in the middle of the first account."""
    await node.log.close()
    with contextlib.closing(open_store(node.folder)) as connection:
        rows = connection.execute("SELECT pageno FROM dbstat WHERE name = 'events' AND pagetype = 'leaf'")
        page = [int(str(number)) for (number,) in rows][3]
    file = node.folder / "engagement.db"
    content = bytearray(file.read_bytes())
    content[(page - 1) * 4096] ^= 1  # the kind of the page
    file.write_bytes(content)
    await node.committer.close()
    node.open_log()


async def test_an_account_with_damage_that_cannot_be_removed_holds_up_no_other(
    node: ExpiringNode, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "INTERVAL_SECONDS", 0.02)
    await node.fill({"damaged": 600, "sound": 700})
    await damage(node)
    caplog.set_level(logging.INFO)
    async with node.job() as job:
        await node.wait_until_left(0, "sound")
        await eventually(lambda: sum(removed(caplog)) >= 700, "the pass has ended")
        commits = node.log.commits
        await eventually(lambda: node.log.commits > commits + 10, "there are more passes")
        assert not job.done()
    assert await node.left("damaged") > 0
    assert [each.partition(" cannot")[0] for each in damage_lines(caplog)] == ["account damaged"]


def damage_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each for each in caplog.messages if "engagement check" in each]


async def test_an_account_with_damage_is_tried_again_after_a_while(
    node: ExpiringNode, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert retention.DAMAGE_RETRY_SECONDS == 3600
    monkeypatch.setattr(retention, "DAMAGE_RETRY_SECONDS", 0.1)
    monkeypatch.setattr(retention, "INTERVAL_SECONDS", 0.02)
    await node.fill({"damaged": 600})
    await damage(node)
    async with node.job():
        await eventually(lambda: len(damage_lines(caplog)) > 1, "it is tried again")


async def test_a_pass_that_is_stopped_or_fails_says_what_it_has_removed(
    node: ExpiringNode, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await node.fill({"acme": 9000})
    async with node.job() as job:

        async def has_begun() -> bool:
            return await node.left() < 9000

        await eventually(has_begun, "the first events are gone")
        node.log.is_cut = True
        await eventually(lambda: bool(removed(caplog)), "the pass has ended")
        assert not job.done()
    left = await node.left()
    assert left > 0
    assert removed(caplog) == [9000 - left]


async def test_a_pass_ends_in_time_and_begins_with_the_accounts_that_have_least_to_remove(
    node: ExpiringNode, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await node.fill({"a": 900, "b": 20, "c": 700})
    async with node.job(max_pass_seconds=0):
        await eventually(lambda: sum(removed(caplog)) == 1620, "everything has expired")
    assert removed(caplog) == [20, 700, 900]


async def test_a_pass_that_failed_is_tried_again_within_a_minute(
    node: ExpiringNode, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert retention.RETRY_SECONDS <= 60
    monkeypatch.setattr(retention, "RETRY_SECONDS", 0.02)
    await node.fill({"acme": 9000})
    async with node.job():

        async def has_begun() -> bool:
            return await node.left() < 9000

        await eventually(has_begun, "the first events are gone")
        node.log.is_cut = True
        await eventually(lambda: "expiry is tried again in" in caplog.text, "the pass has failed")
        assert await node.left() > 0
        node.log.is_cut = False
        await node.wait_until_left(0)


async def test_expiry_pauses_after_a_step_for_as_long_as_it_took_while_a_caller_waits(
    node: ExpiringNode,
) -> None:
    await node.fill({"a": 300, "b": 400, "c": 500})
    node.log.takes_calls.clear()
    call = RecordBatch("other", batch_of(customer_events(1)), is_atomic=True)
    waiting = asyncio.create_task(node.committer.submit(call, returns=object))
    await eventually(lambda: node.committer.is_busy, "a caller waits")
    async with node.job():
        await node.wait_until_left(0)
        await eventually(lambda: [len(each) for each in node.log.steps.values()] == [2, 2, 2], "all ends")
    assert not waiting.done()
    node.log.takes_calls.set()
    await waiting
    for (began, ended), (next_began, _) in node.log.steps.values():
        assert next_began - ended >= ended - began
