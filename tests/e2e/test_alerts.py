"""Each alert fires once its cause is there, and not before."""

from __future__ import annotations

import ast
import asyncio
import itertools
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import nats
import pytest

from engagement import EngagementClient, v1
from engagement_server.api.observers import Observers
from engagement_server.config import Config
from engagement_server.governor.memory import MIN_PROCESS_BYTES, process_bytes
from engagement_server.log.nats import marks
from engagement_server.metrics.exposition import Exposition
from engagement_server.metrics.measures import Measures
from engagement_server.node import Server
from engagement_server.store.database import FILE_NAME
from tests.support.alerts import EXPRESSIONS, Watch, watch
from tests.support.connection import ACCOUNT, Connection, connect
from tests.support.events import bad_event, customer_event
from tests.support.full_disk import full_disk
from tests.support.nats_cluster import NatsCluster
from tests.support.raw_subscription import RawSubscription, subscribing
from tests.support.refused_call import expect_refused
from tests.support.server_process import ServerProcess
from tests.support.shifted_clock import ShiftedClock
from tests.support.small_disk import SmallDiskServer, small_disk
from tests.support.store_file import damage_root, open_store
from tests.support.tls_files import TlsFiles
from tests.support.waiting import eventually

_ON = {"ENGAGEMENT_HTTP": "127.0.0.1:0"}
_LONG_AGO = timedelta(days=400)
_DISK_BYTES = 72 << 20
_RARE_SNAPSHOTS = ("--snapshot-hours", "8000", "--log-days", "2000")
# Where there can be any; subscriptions are then in other processes than the management port.
_WORKERS = ("--workers", "2") if sys.platform == "linux" else ()
_SUBJECT = "engagement.0.commits"

# No room for snapshots, which are streams too.
_ONE_STREAM = """
accounts { small { jetstream: { max_streams: 1 }, users: [{ user: small, password: small }] } }
no_auth_user: small
"""


def with_role(number: int) -> v1.Event:
    event = customer_event(f"event-{number:04}", role=f"Role of zq{number:04}zq")
    event.consumer_id = f"consumer-{number}"
    return event


def flip(path: Path, spot: bytes) -> None:
    """Flips a bit of the only place in a file that matches."""
    content = bytearray(path.read_bytes())
    (found,) = re.finditer(spot, content)
    content[found.start()] ^= 1
    path.write_bytes(content)


async def test_of_one_server(tmp_path: Path) -> None:
    store = tmp_path / "data" / FILE_NAME
    with ServerProcess(tmp_path / "data", environment=_ON).start() as server:
        watched = watch(lambda: server.http_address)
        async with connect(server.address) as connection:
            await connection.record_batch([with_role(number) for number in range(300)])
            await watched.begin(
                *("EngagementRejectionsHigh", "EngagementCallsFail", "EngagementNotReady"),
                "EngagementErasurePending",
            )
            await expect_refused(connection.record(bad_event()))
            await watched.expect("EngagementRejectionsHigh")
            with closing(open_store(tmp_path / "data")) as reader:
                # Erased bytes stay in the write-ahead log while somebody reads what was there before.
                reader.execute("BEGIN; SELECT * FROM accounts").fetchall()
                erasing = asyncio.create_task(erase(server.address))
                await watched.expect("EngagementErasurePending")
            await erasing
            with full_disk(server):
                await fill(connection)
            await watched.expect("EngagementCallsFail")
        store.rename(tmp_path / "moved")
        await watched.expect("EngagementNotReady")
        (tmp_path / "moved").rename(store)
        assert not await watched.fires("EngagementDown")
        server.stop()
        await watched.expect("EngagementDown")
        flip(store, b"Role of zq0150zq")
        server.start()
        await watched.begin("EngagementDown", "EngagementDataDamaged")
        async with connect(server.address) as connection:
            await expect_refused(connection.events.GetEvent(named("event-0150")))
        await watched.expect("EngagementDataDamaged")


async def erase(address: str) -> None:
    async with EngagementClient(address, account_id=ACCOUNT) as client:
        await client.erase_consumer(consumer_id="ada")


async def fill(connection: Connection) -> None:
    """Records until there is no room for more."""
    numbers = itertools.count()

    async def is_full() -> bool:
        try:
            batch = [customer_event(f"large-{next(numbers)}", role="x" * 40_000) for _ in range(20)]
            await connection.record_batch(batch)
        except grpc.aio.AioRpcError:
            return True
        return False

    await eventually(is_full, "the disk is full")


def named(event_id: str) -> v1.GetEventRequest:
    return v1.GetEventRequest(account_id=ACCOUNT, event_id=event_id)


async def test_of_a_disk(tmp_path: Path) -> None:
    server = SmallDiskServer(tmp_path / "data", environment=_ON, options=("--reserve-megabytes", "8"))
    with small_disk(server, size_bytes=_DISK_BYTES):
        server.start()
        watched = watch(lambda: server.http_address)
        await watched.begin("EngagementDiskNearlyFull")
        server.fill_disk()
        await watched.expect("EngagementDiskNearlyFull")


async def test_of_jobs_and_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = process_bytes()
    assert taken is not None
    limit = max(MIN_PROCESS_BYTES, taken * 3 // 2)
    config = Config(listen="127.0.0.1:0", data=tmp_path / "data", max_memory=str(limit))
    measures = Measures()

    async def read() -> str:
        return (await Exposition(measures).render("")).content.decode()

    watched = Watch(read)
    server = await Server.start(config, observers=Observers(measures))
    await watched.begin("EngagementJobStalled", "EngagementMemoryNearLimit")
    held = b"x" * (limit * 9 // 10 - taken)
    await watched.expect("EngagementMemoryNearLimit")
    del held
    await server.stop()
    damage_root(tmp_path / "data", "erasures_running")
    monkeypatch.setattr("engagement_server.supervision.MIN_RESTART_SECONDS", 0.001)
    server = await Server.start(config, observers=Observers(measures))
    await watched.expect("EngagementJobStalled")
    await server.stop()


async def test_of_clocks_and_snapshots(tmp_path: Path) -> None:
    clock = ShiftedClock(tmp_path / "shift")
    clock.shift(-_LONG_AGO)
    with (
        NatsCluster(tmp_path / "nats", size=1) as log,
        node(tmp_path, log, *_RARE_SNAPSHOTS, *_WORKERS, environment=clock.environment) as server,
    ):
        watched = watch(lambda: server.http_address)
        await watched.begin("EngagementSnapshotOld", "EngagementExpiryHeld", "EngagementSubscriptionLags")
        async with connect(server.address) as connection:
            for number in range(4):
                large = [customer_event(f"{number}-{each}", role="x" * 40_000) for each in range(100)]
                await connection.record_batch(large)

            async def has_snapshot() -> bool:
                return not await watched.fires("EngagementSnapshotMissing")

            await eventually(has_snapshot, "a snapshot is taken")
            clock.shift(timedelta())
            await watched.expect("EngagementSnapshotOld")
            async with EngagementClient(server.address, account_id=ACCOUNT) as patient:
                await patient.record_event(customer_event("after"))
            await watched.expect("EngagementExpiryHeld")
            stalled = RawSubscription(connection.events, subscribing())
            await stalled.read()
            await watched.expect("EngagementSubscriptionLags")
            stalled.call.cancel()


async def test_of_a_log(tmp_path: Path) -> None:
    with (
        NatsCluster(tmp_path / "nats", size=1, settings=_ONE_STREAM) as log,
        node(tmp_path, log) as server,
    ):
        watched = watch(lambda: server.http_address)
        (broker,) = log.nodes
        client = await nats.connect(log.urls)
        async with connect(server.address) as connection:
            await connection.record(customer_event("first"))
            await watched.begin(
                *("EngagementLogBehind", "EngagementLogDamaged", "EngagementLogForeignMessages"),
                *("EngagementLogSlow", "EngagementCallsSlow"),
            )
            await watched.expect("EngagementSnapshotMissing")
            await client.jetstream().publish(_SUBJECT, b"not ours")
            await watched.expect("EngagementLogForeignMessages")
            broker.pause()
            late = asyncio.ensure_future(connection.record(customer_event("late")))
            await watched.expect("EngagementLogBehind")
            broker.resume()
            await asyncio.wait([late])
            await watched.expect("EngagementLogSlow")
            await watched.expect("EngagementCallsSlow")
            headers = {"Nats-Msg-Id": "p.1", marks.HEADER: marks.mark("p.1", b"one")}
            await client.jetstream().publish(_SUBJECT, b"another", headers=headers)
            await watched.expect("EngagementLogDamaged")
        await client.close()


@contextmanager
def node(
    folder: Path, log: NatsCluster, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[ServerProcess]:
    """A server over a replicated log."""
    with ServerProcess(
        folder / "data",
        environment={**_ON, **(environment or {})},
        options=("--log", log.url, "--log-replicas", "1", *options),
    ).start() as server:
        yield server


async def test_of_a_certificate(tmp_path: Path) -> None:
    files = TlsFiles(tmp_path / "secret")
    with ServerProcess(tmp_path / "data", environment=_ON, options=files.options).start() as server:
        watched = watch(lambda: server.http_address)
        await watched.begin("EngagementCertificateExpires")
        files.put(files.issue(expires=datetime.now(UTC) + timedelta(days=1)))
        await watched.expect("EngagementCertificateExpires")


def test_each_alert_is_caused_here() -> None:
    here = ast.parse(Path(__file__).read_text())
    expected = {
        argument.value
        for call in ast.walk(here)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "expect"
        for argument in call.args
        if isinstance(argument, ast.Constant)
    }
    assert expected == EXPRESSIONS.keys()
