"""A node without a quorum of its log says so, accepts nothing, and catches up later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import pytest

from engagement import v1
from engagement_server.config import Config
from engagement_server.log.nats import jetstream_log, opening
from engagement_server.log.nats.config import LogConfig
from engagement_server.node import Server
from tests.support.agreement import agreed, views_agree
from tests.support.calls import one
from tests.support.events import customer_event
from tests.support.nats_cluster import NatsCluster
from tests.support.raw_subscription import RawSubscription, kinds, subscribing
from tests.support.refused_call import expect_refused
from tests.support.server_cluster import stream_leader
from tests.support.server_process import is_serving
from tests.support.waiting import DEADLINE_SECONDS, deadline, eventually

_ACCOUNT = "acme"
_VIEW_AGE_SECONDS = 3.0
_PUBLISH_SECONDS = 3.0
_PATIENCE_SECONDS = 0.5
_MAX_AGE_MS = 600_000
pytestmark = pytest.mark.timeout(4 * DEADLINE_SECONDS)
_VIEW_AGE_KEY = "engagement-view-age-ms"
_Closing = v1.SubscribeEventsResponse.Closing


class Node:
    """A node in this process that knows only one server of the log, and a plain channel to it."""

    def __init__(self, address: str, channel: grpc.aio.Channel, folder: Path) -> None:
        self.address = address
        self.folder = folder
        self.ingest = v1.IngestServiceStub(channel)
        self.events = v1.EventServiceStub(channel)

    @classmethod
    @asynccontextmanager
    async def running(cls, data_dir: Path, *, log: str) -> AsyncIterator[Node]:
        server = await Server.start(
            Config(listen="127.0.0.1:0", data=data_dir),
            LogConfig(log=log, max_view_age_seconds=_VIEW_AGE_SECONDS),
        )
        async with grpc.aio.insecure_channel(server.address) as channel:
            yield cls(server.address, channel, data_dir)
        await server.stop()

    async def record(self, event_id: str) -> v1.EventResult:
        return (await self.ingest.RecordEvent(one(customer_event(event_id)))).result

    async def record_until_accepted(self, event_id: str) -> None:
        """Records an event as soon as there is a quorum."""

        async def is_accepted() -> bool:
            try:
                await self.record(event_id)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                return False
            return True

        await eventually(is_accepted, f"{event_id} is accepted")

    async def is_serving(self, service: str = "") -> bool:
        return await asyncio.to_thread(is_serving, self.address, service)

    async def has_stopped_serving(self) -> bool:
        return not await self.is_serving()

    async def stored_ids(self) -> list[str]:
        response = await self.events.ListEvents(v1.ListEventsRequest(account_id=_ACCOUNT))
        return [stored.event.event_id for stored in response.events]

    async def view_age_ms(self) -> int | None:
        """The age in the initial metadata of a read; None: the view is current."""
        call = self.events.ListEvents(v1.ListEventsRequest(account_id=_ACCOUNT))
        age = dict(await call.initial_metadata()).get(_VIEW_AGE_KEY)
        await call
        return None if age is None else int(age)

    async def is_current(self) -> bool:
        return await self.view_age_ms() is None

    async def subscribe_to_tail(self) -> RawSubscription:
        """A subscription that has caught up, as soon as the view is current."""
        opened: list[RawSubscription] = []

        async def has_caught_up() -> bool:
            opened.append(self.subscribe())
            try:
                messages = await opened[-1].read_until("caught_up", "closing")
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                return False
            return messages[-1].HasField("caught_up")

        await eventually(has_caught_up, "a subscriber caught up")
        return opened[-1]

    def subscribe(self, *, stop_at_tail: bool = False) -> RawSubscription:
        return RawSubscription(self.events, subscribing(account_id=_ACCOUNT, stop_at_tail=stop_at_tail))


@dataclass(frozen=True)
class Cluster:
    """Three servers of a log and a node for each; all nodes have one event."""

    nats: NatsCluster
    nodes: list[Node]

    @classmethod
    @asynccontextmanager
    async def running(cls, folder: Path) -> AsyncIterator[Cluster]:
        nats = NatsCluster(folder / "nats", cuttable=True)
        async with AsyncExitStack() as stack:
            stack.callback(nats.stop)
            await asyncio.to_thread(nats.start)

            async def start(number: int) -> Node:
                node = Node.running(folder / f"node-{number}", log=nats.urls[number])
                return await stack.enter_async_context(node)

            nodes = await asyncio.gather(*map(start, range(3)))
            for node in nodes:
                await eventually(node.is_serving, "a node takes calls")
            await nodes[0].record_until_accepted("before")
            await agreed([node.address for node in nodes], account_id=_ACCOUNT)
            yield cls(nats, nodes)


async def _check_refused(call: Awaitable[object]) -> None:
    refused = await expect_refused(call)
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")


async def _check_refused_at_once(call: Callable[[], Awaitable[object]]) -> None:
    """Checks that a call is refused without waiting for the log; one fast attempt is proof on any machine."""

    async def does_not_wait() -> bool:
        began = time.monotonic()
        await _check_refused(call())
        return time.monotonic() - began < _PUBLISH_SECONDS

    await eventually(does_not_wait, "a node that is cut off refuses at once")


async def _check_cut_off(node: Node, *, running: RawSubscription) -> None:
    """Checks the behaviour of a node that has just lost the quorum."""
    attempt = asyncio.create_task(_check_refused(node.record("during")))
    # A leader notices after some seconds that it is cut off.
    await eventually(node.has_stopped_serving, "the node says that it is cut off")
    *_, closing = await running.rest()
    assert closing.closing.reason == _Closing.REASON_NOT_CURRENT
    await attempt
    await _check_old(node)


async def _check_old(node: Node) -> None:
    """Checks the answers of a node whose view is not current."""
    await _check_refused_at_once(lambda: node.record("later"))
    await _check_refused(node.subscribe().call.read())
    assert not await node.is_serving("engagement.v1.IngestService")
    assert not await node.is_serving("partition/0")
    # Stored events can be read and exported.
    assert await node.is_serving("engagement.v1.EventService")
    assert await node.stored_ids() == ["before"]
    age_ms = await node.view_age_ms()
    assert age_ms is not None
    assert 1000 * _VIEW_AGE_SECONDS <= age_ms < _MAX_AGE_MS
    assert kinds(await node.subscribe(stop_at_tail=True).rest())[-1] == "caught_up"
    # Other events may exist elsewhere.
    unknown = v1.GetEventRequest(account_id=_ACCOUNT, event_id="elsewhere")
    await _check_refused_at_once(lambda: node.events.GetEvent(unknown))


async def _check_healed(nodes: list[Node]) -> None:
    """Repeats the refused calls at all nodes; they hold the same afterwards."""
    for node in nodes:
        await eventually(node.is_serving, "a node takes calls again")
    for node in nodes:
        for event_id in ("during", "later"):
            await node.record_until_accepted(event_id)
        await eventually(node.is_current, "the view is current again")
    ids = [event_id for event_id, _ in await agreed([node.address for node in nodes], account_id=_ACCOUNT)]
    assert ids[0] == "before"
    assert {"during", "later"} < set(ids)
    assert len(set(ids)) == len(ids)
    await views_agree([node.folder for node in nodes])


async def _cut_off_one(folder: Path, *, leads: bool, silently: bool) -> None:
    async with Cluster.running(folder) as cluster:
        nats, nodes = cluster.nats, cluster.nodes
        leader = stream_leader(nats)
        assert leader is not None
        number = leader if leads else (leader + 1) % 3
        cut_off, other = nodes[number], nodes[(number + 1) % 3]
        running = await cut_off.subscribe_to_tail()
        nats.cut(number, silently=silently)
        going_on = asyncio.create_task(other.record_until_accepted("elsewhere"))
        await _check_cut_off(cut_off, running=running)
        async with deadline("the other nodes went on"):
            await going_on
        # The node that is cut off has none of it, and still says so.
        assert await cut_off.stored_ids() == ["before"]
        assert not await cut_off.is_serving()
        nats.heal(number)
        await _check_healed(nodes)
        assert "elsewhere" in await cut_off.stored_ids()


async def _leave_one_of_three(folder: Path) -> None:
    async with Cluster.running(folder) as cluster:
        own_log = cluster.nats.urls[0]
        async with Node.running(folder / "late", log=own_log) as late:
            await agreed([late.address, cluster.nodes[0].address], account_id=_ACCOUNT)
        subscriptions = [await node.subscribe_to_tail() for node in cluster.nodes]
        for server in cluster.nats.nodes[1:]:
            server.kill()
        await asyncio.gather(
            *(
                _check_cut_off(node, running=subscription)
                for node, subscription in zip(cluster.nodes, subscriptions, strict=True)
            )
        )
        async with Node.running(folder / "late", log=own_log) as late:
            await _check_old(late)
            for server in cluster.nats.nodes[1:]:
                await asyncio.to_thread(server.restart)
            await _check_healed([*cluster.nodes, late])


_OUTAGES: dict[str, Callable[[Path], Awaitable[None]]] = {
    "the leader is cut off": partial(_cut_off_one, leads=True, silently=False),
    "the leader is silent": partial(_cut_off_one, leads=True, silently=True),
    "another is cut off": partial(_cut_off_one, leads=False, silently=False),
    "another is silent": partial(_cut_off_one, leads=False, silently=True),
    "two of three are dead": _leave_one_of_three,
}


async def test_a_node_without_a_quorum_promises_nothing_and_catches_up_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream_log, "PUBLISH_SECONDS", _PUBLISH_SECONDS)
    monkeypatch.setattr(opening, "_PATIENCE_SECONDS", _PATIENCE_SECONDS)

    async def outlive(name: str) -> None:
        began = time.monotonic()
        try:
            await _OUTAGES[name](tmp_path / name.replace(" ", "-"))
        except BaseException as error:
            error.add_note(f"where {name}")
            raise
        print(f"{name}: {time.monotonic() - began:.1f} s")

    # All at once: each of them spends its time waiting for elections.
    async with asyncio.TaskGroup() as group:
        for name in _OUTAGES:
            group.create_task(outlive(name))
