"""Nodes over one replicated log: any of them answers any call, and continues another's work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import grpc
import pytest

from engagement import EngagementClient, NotFoundError, Uploader, v1
from engagement_server.config import Config
from engagement_server.jobs import erasures
from engagement_server.log.nats.config import LogConfig
from engagement_server.node import Server
from tests.support.agreement import agreed, clients, views_agree
from tests.support.events import bad_event, customer_event, customer_events
from tests.support.marked_events import SUBJECT, files_with, marked_events
from tests.support.nats_cluster import NatsCluster
from tests.support.raw_subscription import RawSubscription, ids, subscribing
from tests.support.raw_upload import RawUpload, chunk, finish, opening
from tests.support.refused_call import expect_refused
from tests.support.server_cluster import ServerCluster
from tests.support.view_rows import held_view
from tests.support.waiting import deadline, eventually

if TYPE_CHECKING:
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

_MARKER = "zqmark"
_ERASED_EVENTS = 2000


class Cluster(NamedTuple):
    nats: NatsCluster
    servers: ServerCluster

    @property
    def folders(self) -> list[Path]:
        return [node.data_dir for node in self.servers.nodes]

    async def start_again(self, number: int) -> None:
        await asyncio.to_thread(self.servers.restart, number)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes over three servers of the log."""
    folder = tmp_path_factory.mktemp("cluster")
    with (
        NatsCluster(folder / "nats", cuttable=True) as nats,
        ServerCluster(folder / "nodes", nats) as servers,
    ):
        yield Cluster(nats, servers)


@pytest.fixture
async def cluster(running: Cluster) -> AsyncIterator[Cluster]:
    """The same cluster; all views must be equal after the test."""
    yield running
    await views_agree(running.folders)


@pytest.fixture
def account(request: pytest.FixtureRequest) -> str:
    """An account of its own for each test."""
    return str(request.node.name)[:64]


@asynccontextmanager
async def channels(cluster: Cluster) -> AsyncIterator[list[grpc.aio.Channel]]:
    """A plain channel to each node."""
    opened = [grpc.aio.insecure_channel(address) for address in cluster.servers.addresses]
    yield opened
    for channel in opened:
        await channel.close()


async def test_what_is_recorded_at_one_node_is_read_at_all(cluster: Cluster, account: str) -> None:
    async with clients(*cluster.servers.addresses, account_id=account) as (first, *others):
        cursors: list[str] = []
        for event in customer_events(30):
            cursors.append((await first.record_event(event)).cursor)
            # It reads its own write.
            assert (await first.get_event(event_id=event.event_id)).cursor == cursors[-1]
        for other in others:
            async with deadline("the other node answered"):
                assert (await other.get_event(cursor=cursors[-1])).event.event_id == event.event_id
        listed = await agreed(cluster.servers.addresses, account_id=account)
    assert [cursor for _, cursor in listed] == cursors


async def test_cursors_and_page_tokens_are_good_at_all_nodes(cluster: Cluster, account: str) -> None:
    request = v1.ListEventsRequest(account_id=account, page_size=7)
    async with (
        channels(cluster) as nodes,
        EngagementClient(cluster.servers.addresses[0], account_id=account) as client,
    ):
        results = (await client.record_events(customer_events(100))).results
        seen: list[str] = []
        while not seen or request.page_token:
            node = nodes[len(seen) % len(nodes)]
            response = await v1.EventServiceStub(node).ListEvents(request)
            seen += [stored.cursor for stored in response.events]
            request.page_token = response.next_page_token
        assert seen == [result.cursor for result in results]
        for node in nodes:
            half = subscribing(account_id=account, after_cursor=results[49].cursor, stop_at_tail=True)
            messages = await RawSubscription(v1.EventServiceStub(node), half).rest()
            assert [stored.cursor for message in messages for stored in message.batch.events] == seen[50:]


async def test_a_cursor_that_is_as_new_as_can_be_is_good_at_all_nodes(cluster: Cluster, account: str) -> None:
    async with clients(*cluster.servers.addresses, account_id=account) as nodes:
        for number in range(20):
            result = await nodes[number % 3].record_event(customer_event(f"event-{number}"))
            async with nodes[(number + 1) % 3].follow(after_cursor=result.cursor, stop_at_tail=True) as rest:
                assert [stored async for stored in rest] == []
            assert (await nodes[(number + 2) % 3].get_event(cursor=result.cursor)).cursor == result.cursor


async def test_events_that_one_node_accepts_reach_subscribers_of_the_others(
    cluster: Cluster, account: str
) -> None:
    async with channels(cluster) as nodes, clients(*cluster.servers.addresses, account_id=account) as callers:
        streams = [
            RawSubscription(v1.EventServiceStub(node), subscribing(account_id=account)) for node in nodes
        ]
        for stream in streams:
            await stream.read_until("caught_up")
        ids = [f"event-{number}" for number in range(30)]
        for number, event_id in enumerate(ids):
            await callers[number % 3].record_event(customer_event(event_id))
        for stream in streams:
            assert await stream.read_ids(30) == ids
            stream.call.cancel()


async def test_a_cursor_from_before_the_account_is_good_at_all_nodes(cluster: Cluster, account: str) -> None:
    async with channels(cluster) as nodes, clients(*cluster.servers.addresses, account_id=account) as callers:
        first = RawSubscription(v1.EventServiceStub(nodes[0]), subscribing(account_id=account))
        origin = (await first.read_until("caught_up"))[-1].cursor
        waiting = RawSubscription(
            v1.EventServiceStub(nodes[1]), subscribing(account_id=account, after_cursor=origin)
        )
        await waiting.read_until("caught_up")
        await callers[2].record_events(customer_events(3))
        expected = [event.event_id for event in customer_events(3)]
        for stream in (first, waiting):
            assert await stream.read_ids(3) == expected
            stream.call.cancel()
        for node in nodes:
            rest = subscribing(account_id=account, after_cursor=origin, stop_at_tail=True)
            assert ids(await RawSubscription(v1.EventServiceStub(node), rest).rest()) == expected


async def test_uploads_and_the_events_that_they_brought_are_the_same_at_all_nodes(
    cluster: Cluster, account: str
) -> None:
    async with channels(cluster) as nodes, clients(*cluster.servers.addresses, account_id=account) as callers:
        for number, caller in enumerate(callers):
            events = [customer_event(f"event-{number}-{each}") for each in "ab"]
            await Uploader(caller, upload_id=f"u-{number}", source_name="s").upload(events)
        await agreed(cluster.servers.addresses, account_id=account)
        request = v1.ListUploadsRequest(account_id=account, source_name="s", page_size=1)
        listed: list[str] = []
        while not listed or request.page_token:
            page = await v1.IngestServiceStub(nodes[len(listed) % len(nodes)]).ListUploads(request)
            listed += [each.upload_id for each in page.uploads]
            request.page_token = page.next_page_token
        assert listed == ["u-2", "u-1", "u-0"]
        for caller in callers:
            places = [
                (stored.upload.upload_id, stored.upload.event_number) async for stored in caller.list_events()
            ]
            assert places == [(f"u-{number}", each) for number in range(3) for each in (1, 2)]


async def test_an_upload_that_was_only_opened_is_gone_at_all_nodes(cluster: Cluster, account: str) -> None:
    async with channels(cluster) as nodes:
        upload = RawUpload(v1.IngestServiceStub(nodes[0]))
        await upload.send(opening(account_id=account, upload_id="left"))
        await upload.receive()
        await upload.call.done_writing()
        await upload.receive_rest()
        request = v1.GetUploadRequest(account_id=account, upload_id="left")
        for node in nodes:
            ingest = v1.IngestServiceStub(node)

            async def is_gone(ingest: IngestServiceAsyncStub = ingest) -> bool:
                try:
                    await ingest.GetUpload(request)
                except grpc.aio.AioRpcError as error:
                    return error.code() is grpc.StatusCode.NOT_FOUND
                return False

            await eventually(is_gone, "the upload is gone")


async def test_names_and_erasures_count_at_all_nodes(cluster: Cluster, account: str) -> None:
    async with clients(*cluster.servers.addresses, account_id=account) as (first, second, third):
        await first.put_entities(v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS, ["Cancelled"], closed=True)

        async def has_name() -> bool:
            listed = await second.list_entities(v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS)
            return listed.names == ["Cancelled"]

        await eventually(has_name, "another node lists the name")
        await third.record_event(customer_event("kept"))
        await second.record_events(marked_events(40, consumer_id=SUBJECT, marker=_MARKER)[::2])
        erasure = await third.erase_consumer(consumer_id=SUBJECT, suppress=True)
        assert erasure.erased_events == 20
        for client in (first, second):

            async def is_erased(client: EngagementClient = client) -> bool:
                return (await client.get_erasure(erasure.erasure_id)).erased_events == 20

            await eventually(is_erased, "another node has applied the erasure")
            with pytest.raises(NotFoundError):
                await client.get_profile(consumer_id=SUBJECT)
        (late,) = marked_events(1, consumer_id=SUBJECT, marker="late")
        suppressed = await first.record_event(late)
        assert suppressed.outcome == v1.Outcome.OUTCOME_SUPPRESSED
    assert [event_id for event_id, _ in await agreed(cluster.servers.addresses, account_id=account)] == [
        "kept"
    ]

    async def is_gone() -> bool:
        return not any(files_with(folder, _MARKER) for folder in cluster.folders)

    await eventually(is_gone, "no byte of the consumer is left")


async def test_an_upload_that_is_opened_at_another_node_ends_at_the_first(cluster: Cluster) -> None:
    events = customer_events(3)
    async with channels(cluster) as (first, second, _):
        left = RawUpload(v1.IngestServiceStub(first))
        await left.open()
        await left.send(chunk(1, events[0]))
        await left.receive_acks(1)
        right = RawUpload(v1.IngestServiceStub(second))
        assert (await right.open()).committed_through == 1
        refused = await expect_refused(left.receive_rest())
        await right.send(chunk(2, *events[1:]), finish(2))
        *_, finished = await right.receive_rest()
    assert (refused.code, refused.reason) == (grpc.StatusCode.ABORTED, "UPLOAD_TAKEN_OVER")
    assert finished.finished.upload.tally == v1.Tally(accepted=3)
    assert len(await agreed(cluster.servers.addresses, account_id="acme")) == 3


async def test_an_upload_that_was_wholly_wrong_at_one_node_ends_or_goes_on_at_another(
    cluster: Cluster,
) -> None:
    wrong = [chunk(number, *(bad_event(f"{number}-{i}") for i in range(500))) for number in (1, 2)]
    begin = opening(upload_id="wrong")
    async with channels(cluster) as (first, second, _):
        upload = RawUpload(v1.IngestServiceStub(first))
        await upload.send(begin, *wrong)
        refused = await expect_refused(upload.receive_rest())
        assert (refused.reason, refused.metadata["committedThrough"]) == ("UPLOAD_ALL_REJECTED", "2")
        again = RawUpload(v1.IngestServiceStub(second))
        await again.send(begin, chunk(3, bad_event("more")))
        refused = await expect_refused(again.receive_rest())
        assert refused.metadata == {"uploadId": "wrong", "rejected": "1001", "committedThrough": "3"}
        last = RawUpload(v1.IngestServiceStub(second))
        await last.send(begin, chunk(4, customer_event("right")), finish(4))
        *_, finished = await last.receive_rest()
    assert finished.finished.upload.tally == v1.Tally(accepted=1, rejected=1001)


async def test_an_erasure_whose_node_is_killed_is_completed_by_another(
    cluster: Cluster, account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasures, "_RESUME_SECONDS", 0.2)
    async with clients(*cluster.servers.addresses[:2], account_id=account) as (victim, other):
        events = marked_events(_ERASED_EVENTS, consumer_id=SUBJECT, marker="gone")
        for start in range(0, len(events), 500):
            await victim.record_events(events[start : start + 500])
        with held_view(cluster.folders[0], "BEGIN"):  # it cannot purge, so it cannot complete
            call = asyncio.create_task(victim.erase_consumer(consumer_id=SUBJECT, request_id="ticket"))

            async def has_begun() -> bool:
                return bool([each async for each in other.list_erasures()])

            await eventually(has_begun, "the erasure begins")
            cluster.servers.nodes[0].kill()
            call.cancel()
        (begun,) = [each async for each in other.list_erasures()]
        assert not begun.HasField("complete_time")
        survivor = await Server.start(
            Config(listen="127.0.0.1:0", data=tmp_path / "survivor"), LogConfig(log=cluster.nats.url)
        )

        async def is_complete() -> bool:
            return (await other.get_erasure(begun.erasure_id)).HasField("complete_time")

        await eventually(is_complete, "another node completes the erasure")
        await survivor.stop()
        assert (await other.get_erasure(begun.erasure_id)).erased_events == _ERASED_EVENTS
        await cluster.start_again(0)
    assert await agreed(cluster.servers.addresses, account_id=account) == []
