"""A check of the log names what is wrong with it, and claims nothing about what it could not read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engagement_server.log.nats import marks
from engagement_server.log.nats.checking import DAMAGED, FOREIGN, MISSING, check_log
from tests.support.events import customer_event
from tests.support.nats_cluster import NatsCluster
from tests.support.replicated_log import ReplicatedLog


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits only briefly for servers that send nothing more."""
    monkeypatch.setattr("engagement_server.log.nats.checking._SILENCE_SECONDS", 0.3)


@pytest.fixture
async def log(tmp_path: Path, cluster: NatsCluster) -> AsyncIterator[ReplicatedLog]:
    async with ReplicatedLog.opened(tmp_path, cluster) as opened:
        yield opened


async def test_a_check_names_each_message_that_is_not_as_it_was_written(log: ReplicatedLog) -> None:
    node = await log.open()
    await node.record(customer_event("a"))
    foreign = await log.publish(b"not ours")
    await node.record(customer_event("b"))
    missing = await log.last_sequence()
    damaged = await log.publish(b"\xeaL\x03C?", {"Nats-Msg-Id": "p.1"})
    await log.js.delete_msg(log.settings.name, missing)
    async with log.connect() as stream:
        checked = await check_log(stream)
    found = [(each.sequence, each.kind, each.is_harmless) for each in checked.findings]
    assert found == [(foreign, FOREIGN, True), (missing, MISSING, False), (damaged, DAMAGED, False)]
    assert all(finding.is_everywhere for finding in checked.findings)
    assert checked.unread == []


async def test_a_server_that_is_slow_to_begin_is_not_said_to_lack_messages(
    log: ReplicatedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engagement_server.log.nats.checking._SILENCE_SECONDS", 0.0)
    node = await log.open()
    await node.record(customer_event("a"))
    async with log.connect() as stream:
        checked = await check_log(stream)
    assert (checked.findings, checked.read, checked.unread) == ([], [], [""])


async def test_many_foreign_messages_hide_no_damage_from_a_check(
    log: ReplicatedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engagement_server.log.nats.checking.MAX_FINDINGS", 2)
    await log.open()
    await log.close()
    foreign = [await log.publish(b"not ours") for _ in range(3)]
    damaged = [await log.publish(marks.PREFIX + b"?") for _ in range(4)]
    async with log.connect() as stream:
        checked = await check_log(stream)
    assert [each.sequence for each in checked.findings] == [*foreign[:2], *damaged[:2]]
    assert checked.is_cut
