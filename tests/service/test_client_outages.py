"""Uploads through lost connections, silence, and servers that stop or crash: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engagement import EngagementClient, Progress, RejectedEvent, UnavailableError, Uploader, v1
from engagement_server.config import Config
from engagement_server.node import Server
from tests.support.event_samples import good_events, mixed_events, stored_ids
from tests.support.server_process import ServerProcess
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import DEADLINE_SECONDS, eventually


@asynccontextmanager
async def proxied(
    server: Server, *, cut_after_bytes: Callable[[], int] | None = None
) -> AsyncIterator[tuple[TcpProxy, EngagementClient, EngagementClient]]:
    """A proxy, a client behind it, and one that talks to the server directly."""
    async with (
        TcpProxy(server.address, cut_after_bytes=cut_after_bytes) as proxy,
        EngagementClient(proxy.address, account_id="acme") as distant,
        EngagementClient(server.address, account_id="acme") as direct,
        asyncio.timeout(DEADLINE_SECONDS),
    ):
        yield proxy, distant, direct


async def wait_for_upload(
    client: EngagementClient, upload_id: str, condition: Callable[[v1.Upload], bool]
) -> None:
    async def has_come_so_far() -> bool:
        return condition(await client.get_upload(upload_id))

    await eventually(has_come_so_far, "the upload has come so far")


class Pause:
    """A source that waits at one event until it may go on, and a watch that says when the upload moves."""

    def __init__(self, events: Sequence[v1.Event], *, before: int, watch_for: int) -> None:
        self._events = events
        self._before = before
        self._watch_for = watch_for
        self.may_go_on = asyncio.Event()
        self.is_moving = asyncio.Event()

    async def source(self) -> AsyncIterator[v1.Event]:
        for number, event in enumerate(self._events):
            if number == self._before:
                await self.may_go_on.wait()
            yield event

    def watch(self, progress: Progress) -> None:
        if progress.acknowledged >= self._watch_for:
            self.is_moving.set()


async def test_connections_cut_anywhere_lose_and_repeat_nothing(server: Server) -> None:
    dice = random.Random(7)
    events = mixed_events(6000, bad_every=50)
    rejected: list[RejectedEvent] = []
    async with proxied(server, cut_after_bytes=lambda: dice.randrange(5_000, 50_000)) as (_, distant, direct):
        # Shorter than all the waits together: progress must end each outage.
        uploader = Uploader(distant, chunk_events=50, on_rejection=rejected.append, max_outage_seconds=3.0)
        summary = await uploader.upload(events)
        stored = await stored_ids(direct)
    assert summary.reconnects >= 8
    assert summary.tally == v1.Tally(accepted=5880, rejected=120)
    assert stored == [event.event_id for number, event in enumerate(events) if number % 50]
    assert [item.position for item in rejected] == list(range(0, 6000, 50))
    assert all(item.event == events[item.position] for item in rejected)


async def test_without_acks_the_source_is_read_no_further_than_the_window(server: Server) -> None:
    read = 0

    def note(event: v1.Event) -> v1.Event:
        nonlocal read
        read += 1
        return event

    pause = Pause(good_events(2000), before=100, watch_for=100)
    async with proxied(server) as (proxy, distant, direct):
        uploader = Uploader(distant, upload_id="u-1", chunk_events=10, on_progress=pause.watch)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(uploader.upload(note(event) async for event in pause.source()))
            await pause.is_moving.wait()
            proxy.hold_replies()
            pause.may_go_on.set()
            await wait_for_upload(direct, "u-1", lambda upload: upload.committed_through >= 18)
            # Eight chunks are on the way, and the next one is ready.
            assert read <= 100 + 9 * 10
            proxy.cut()
    assert running.result().tally == v1.Tally(accepted=2000)


async def test_rejections_whose_acks_were_lost_are_told_once(server: Server) -> None:
    events = mixed_events(400, bad_every=10)
    pause = Pause(events, before=300, watch_for=100)
    rejected: list[RejectedEvent] = []
    async with proxied(server) as (proxy, distant, direct):
        uploader = Uploader(
            distant, upload_id="u-1", chunk_events=50, on_rejection=rejected.append, on_progress=pause.watch
        )
        async with asyncio.TaskGroup() as group:
            running = group.create_task(uploader.upload(pause.source()))
            await pause.is_moving.wait()
            proxy.hold_replies()
            await wait_for_upload(direct, "u-1", lambda upload: upload.committed_through == 6)
            proxy.cut()
            pause.may_go_on.set()
    assert running.result().reconnects == 1
    assert [item.position for item in rejected] == list(range(0, 400, 10))


async def test_an_upload_whose_end_was_lost_is_finished_with_all_rejections_told(server: Server) -> None:
    events = mixed_events(300, bad_every=10)
    pause = Pause(events, before=100, watch_for=100)
    rejected: list[RejectedEvent] = []
    async with proxied(server) as (proxy, distant, direct):
        uploader = Uploader(
            distant, upload_id="u-1", chunk_events=50, on_rejection=rejected.append, on_progress=pause.watch
        )
        async with asyncio.TaskGroup() as group:
            running = group.create_task(uploader.upload(pause.source()))
            await pause.is_moving.wait()
            proxy.hold_replies()
            pause.may_go_on.set()
            await wait_for_upload(direct, "u-1", lambda upload: upload.state == v1.Upload.STATE_FINISHED)
            proxy.cut()
    assert running.result().tally == v1.Tally(accepted=270, rejected=30)
    assert [item.position for item in rejected] == list(range(0, 300, 10))


async def test_two_heartbeats_of_silence_count_as_a_lost_connection(tmp_path: Path) -> None:
    server = await Server.start(Config(listen="127.0.0.1:0", data=tmp_path / "data", heartbeat_seconds=0.1))
    pause = Pause(good_events(200), before=150, watch_for=150)
    lost = asyncio.Event()

    def watch(progress: Progress) -> None:
        pause.watch(progress)
        if progress.reconnects:
            lost.set()

    try:
        async with proxied(server) as (proxy, distant, _), asyncio.TaskGroup() as group:
            running = group.create_task(Uploader(distant, on_progress=watch).upload(pause.source()))
            await pause.is_moving.wait()
            proxy.hold_replies()
            await lost.wait()
            proxy.cut()
            pause.may_go_on.set()
    finally:
        await server.stop()
    assert running.result().tally == v1.Tally(accepted=200)


async def test_heartbeats_keep_an_idle_upload_connected(tmp_path: Path) -> None:
    # A busy machine may be late by two short intervals, but not by two long ones.
    for heartbeat_seconds in (0.05, 0.5, 5):
        if await idle_upload(tmp_path / f"{heartbeat_seconds}", heartbeat_seconds) == 0:
            return
    raise AssertionError("heartbeats do not keep an upload connected")


async def idle_upload(data_dir: Path, heartbeat_seconds: float) -> int:
    """How often an upload reconnects while it waits for six heartbeats."""
    server = await Server.start(
        Config(listen="127.0.0.1:0", data=data_dir, heartbeat_seconds=heartbeat_seconds)
    )
    heartbeats = 0
    may_end = asyncio.Event()

    def watch(progress: Progress) -> None:
        nonlocal heartbeats
        heartbeats += 1
        if heartbeats == 6:
            may_end.set()

    async def idle() -> AsyncIterator[v1.Event]:
        await may_end.wait()
        for event in good_events(3):
            yield event

    try:
        async with EngagementClient(server.address, account_id="acme") as client:
            summary = await Uploader(client, on_progress=watch).upload(idle())
    finally:
        await server.stop()
    assert summary.tally == v1.Tally(accepted=3)
    return summary.reconnects


async def test_a_stream_that_the_server_closes_for_its_age_goes_on_in_another(tmp_path: Path) -> None:
    server = await Server.start(
        Config(listen="127.0.0.1:0", data=tmp_path / "data", max_stream_age_seconds=0.2)
    )
    pause = Pause(good_events(300), before=200, watch_for=0)

    def watch(progress: Progress) -> None:
        if progress.reconnects:
            pause.may_go_on.set()

    try:
        async with EngagementClient(server.address, account_id="acme") as client:
            summary = await Uploader(client, on_progress=watch).upload(pause.source())
    finally:
        await server.stop()
    assert summary.reconnects >= 1
    assert summary.tally == v1.Tally(accepted=300)


@pytest.mark.parametrize("end", [ServerProcess.kill, ServerProcess.stop])
async def test_a_server_that_ends_in_the_middle_and_comes_back_loses_and_repeats_nothing(
    server_process: ServerProcess, end: Callable[[ServerProcess], object]
) -> None:
    events = mixed_events(20_000, bad_every=100)
    pause = Pause(events, before=15_000, watch_for=1000)
    rejected: list[RejectedEvent] = []
    async with (
        EngagementClient(server_process.address, account_id="acme") as client,
        asyncio.timeout(DEADLINE_SECONDS),
    ):
        uploader = Uploader(client, chunk_events=100, on_progress=pause.watch, on_rejection=rejected.append)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(uploader.upload(pause.source()))
            await pause.is_moving.wait()
            await asyncio.to_thread(end, server_process)
            await asyncio.to_thread(server_process.start)
            pause.may_go_on.set()
        summary = running.result()
        stored = await stored_ids(client)
    assert summary.reconnects >= 1
    assert summary.tally == v1.Tally(accepted=19_800, rejected=200)
    assert stored == [event.event_id for number, event in enumerate(events) if number % 100]
    assert [item.position for item in rejected] == list(range(0, 20_000, 100))


async def test_an_outage_without_end_raises_what_is_wrong() -> None:
    seen: list[Progress] = []
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        async with EngagementClient(f"127.0.0.1:{bound.getsockname()[1]}", account_id="acme") as client:
            uploader = Uploader(client, max_outage_seconds=0.5, on_progress=seen.append)
            with pytest.raises(UnavailableError, match="UNAVAILABLE"):
                await uploader.upload(good_events(1))
    assert seen[-1].reconnects >= 1


async def test_cancelling_an_upload_that_waits_for_its_server_ends_it_at_once() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        async with EngagementClient(f"127.0.0.1:{bound.getsockname()[1]}", account_id="acme") as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await Uploader(client).upload(good_events(1))
    # gRPC's own task of the cancelled call ends a few turns of the loop later.
    await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "the upload's tasks ended")
