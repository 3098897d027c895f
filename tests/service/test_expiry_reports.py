"""What a server says about expiry: in its log, in GetServerInfo and in its metrics."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest

from engagement import EngagementClient, v1
from engagement_server.api.observers import Observers
from engagement_server.config import Config
from engagement_server.log.nats.config import LogConfig
from engagement_server.metrics.catalogue import EXPIRED, EXPIRY_HELD
from engagement_server.metrics.measures import Measures
from engagement_server.node import Server
from tests.support.events import customer_event, customer_events
from tests.support.nats_cluster import NatsCluster
from tests.support.waiting import eventually

MOMENT = timedelta(seconds=1)
DAY = timedelta(days=1)
LOG_NAME = "reporting"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(listen="127.0.0.1:0", data=tmp_path / "data", allow_short_retention=True)


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[LogConfig]:
    """A replicated log of one server."""
    with NatsCluster(tmp_path / "nats", size=1) as nats:
        yield LogConfig(log=nats.url, log_name=LOG_NAME, log_replicas=1)


def a_client(server: Server) -> EngagementClient:
    return EngagementClient(server.address, account_id="acme")


async def the_partition(client: EngagementClient) -> v1.Partition:
    (partition,) = (await client.get_server_info()).partitions
    return partition


async def expire_all(client: EngagementClient) -> None:
    """Lets all events expire, and then none any more."""
    await client.set_retention(MOMENT)

    async def is_empty() -> bool:
        return not [stored async for stored in client.list_events()]

    await eventually(is_empty, "all events have expired")
    await client.set_retention(DAY)


async def test_events_that_have_expired_are_counted_over_all_accounts_and_starts(config: Config) -> None:
    server = await Server.start(config)
    async with a_client(server) as client, EngagementClient(server.address, account_id="other") as other:
        await client.record_events(customer_events(7))
        await other.record_events(customer_events(5))
        assert (await the_partition(client)).expired_events == 0
        await expire_all(other)
        await expire_all(client)
        await client.record_event(customer_event("kept"))
        assert (await the_partition(client)).expired_events == 12
    await server.stop()
    server = await Server.start(config)
    async with a_client(server) as client:
        assert (await the_partition(client)).expired_events == 12
    await server.stop()


def start_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each for each in caplog.messages if each.startswith("version ")]


async def test_a_start_says_version_folder_retention_and_from_when_on_events_go(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await (await Server.start(replace(config, retention_days=30.0))).stop()
    (line,) = start_lines(caplog)
    match = re.fullmatch(
        r"version (\S+), (\S+): keeps events for (.+), removes those accepted before (\S+ \S+) UTC", line
    )
    assert match, line
    assert match.groups()[:3] == (version("engagement-attributes"), str(config.data), "30 days")
    removed_before = datetime.fromisoformat(f"{match[4]}+00:00")
    assert timedelta() < datetime.now(UTC) - timedelta(days=30) - removed_before < timedelta(minutes=2)


async def test_a_start_says_that_expiry_is_held(
    config: Config, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    await hold(await Server.start(config), monkeypatch)
    await (await Server.start(config)).stop()
    first, second = start_lines(caplog)
    assert "held" not in first
    assert second.endswith(" UTC, but expiry is held")


async def hold(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records an event with a clock that is two weeks ahead, and stops the server."""
    real_time_ns = time.time_ns
    async with a_client(server) as client:
        await client.record_event(customer_event("right"))
        with monkeypatch.context() as wrong:
            wrong.setattr(time, "time_ns", lambda: real_time_ns() + 14 * 86_400 * 10**9)
            await client.record_event(customer_event("ahead"))
            assert (await the_partition(client)).HasField("expiry_hold")
            await server.stop()


async def held(measures: Measures) -> float:
    """Whether expiry is held, as the metrics say."""
    await measures.refresh()
    return measures.gauges()[EXPIRY_HELD.name, ("0",)]


@pytest.mark.parametrize("is_replicated", [False, True])
async def test_expired_events_and_the_hold_are_measured(
    config: Config, log: LogConfig, monkeypatch: pytest.MonkeyPatch, is_replicated: bool
) -> None:
    measures, used = Measures(), log if is_replicated else None
    server = await Server.start(config, used, observers=Observers(measures))
    async with a_client(server) as client:
        await client.record_events(customer_events(7))
        expired = dict(measures.counts())[EXPIRED.name, ()]
        assert expired.value == 0
        await expire_all(client)
        await eventually(lambda: expired.value == 7, "the events are counted")
    assert await held(measures) == 0
    await hold(server, monkeypatch)
    measures = Measures()
    server = await Server.start(config, used, observers=Observers(measures))
    assert await held(measures) == 1
    async with a_client(server) as client:
        await client.release_expiry()
        assert await held(measures) == 0
    await server.stop()
