"""The writing process and its workers survive each other's failures."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engagement import v1
from engagement_server.errors import DrainingError, StoreUnavailableError, WriterFailedError
from engagement_server.log.committer import Committer
from engagement_server.log.local import LocalLog
from engagement_server.operations import Applied, Commit, OpenUpload, RecordBatch, Result
from engagement_server.store.database import DatabaseFile
from engagement_server.workers import remote_log_server
from engagement_server.workers.channel import Channel, Kind
from engagement_server.workers.remote_log import Freshness, RemoteLog, encode_freshness
from engagement_server.workers.remote_log_server import RemoteLogServer
from tests.support.events import batch_of, customer_event
from tests.support.waiting import deadline

DEADLINE_SECONDS = 20


class LaggingLog(LocalLog):
    """A log whose view may be behind, as the test sets it."""

    def __init__(self, database: DatabaseFile) -> None:
        super().__init__(database)
        self._time_ms = 5
        self._is_current = True
        self._watchers: list[Callable[[bool], None]] = []

    @property
    def view_time_ms(self) -> int:
        return self._time_ms

    @property
    def is_current(self) -> bool:
        return self._is_current

    def watch_freshness(self, watcher: Callable[[bool], None]) -> None:
        self._watchers.append(watcher)

    async def catch_up(self) -> bool:
        return True

    def change(self, *, is_current: bool) -> None:
        self._time_ms += 1
        self._is_current = is_current
        for watcher in self._watchers:
            watcher(is_current)


class HostBench:
    """The writing side, with any number of workers."""

    def __init__(self, data_dir: Path, log: type[LocalLog]) -> None:
        self._database = DatabaseFile(data_dir)
        self.log = log(self._database)
        self.committer = Committer(self.log)
        self.host = RemoteLogServer(self.log, self.committer)
        self.killed = asyncio.Event()
        self.serving: list[asyncio.Task[None]] = []

    async def connect(self) -> socket.socket:
        """The worker's end of a new channel."""
        ours, theirs = socket.socketpair()
        channel = await Channel.open(ours)
        self.serving.append(asyncio.create_task(self.host.serve(channel, kill=self.killed.set)))
        return theirs

    async def close(self) -> None:
        await asyncio.wait(self.serving)
        self.host.close()
        await self.committer.close()
        await self.log.close()
        self._database.close()


@asynccontextmanager
async def opened(data_dir: Path, *, log: type[LocalLog] = LocalLog) -> AsyncIterator[HostBench]:
    async with deadline("the worker and its host ended"):
        bench = HostBench(data_dir, log)
        yield bench
        await bench.close()


def opening(upload_id: str) -> Commit:
    return Commit([OpenUpload("acme", upload_id, "owner")], 0)


async def test_every_worker_hears_of_every_commit_before_its_author_has_the_results(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        author = await RemoteLog.open(await bench.connect())
        other = await RemoteLog.open(await bench.connect())
        heard: list[Applied] = []
        heard_elsewhere: asyncio.Queue[Applied] = asyncio.Queue()
        author.subscribe(heard.append)
        other.subscribe(heard_elsewhere.put_nowait)
        await author.commit(opening("first"))
        for applied in (*heard, await heard_elsewhere.get()):
            assert [opened.upload_id for opened in applied.openings] == ["first"]
        assert len(heard) == 1
        await author.close()
        await other.close()


def recording(account_id: str, *event_ids: str) -> Commit:
    batch = batch_of([customer_event(each) for each in event_ids])
    return Commit([RecordBatch(account_id, batch, is_atomic=True)], 0)


async def test_a_worker_gets_the_new_events_of_the_accounts_that_it_wants(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        logs = [await RemoteLog.open(await bench.connect()) for _ in range(3)]
        heard: list[asyncio.Queue[Applied]] = [asyncio.Queue() for _ in logs]
        for log, queue in zip(logs, heard, strict=True):
            log.subscribe(queue.put_nowait)
        logs[0].want_events("acme", are_wanted=True)
        logs[1].want_events("acme", are_wanted=True)
        logs[1].want_events("other", are_wanted=True)
        await logs[0].catch_up()
        await logs[1].catch_up()
        await logs[2].commit(recording("acme", "a", "b"))
        assert [await _ids(queue) for queue in heard] == [{"acme": ["a", "b"]}, {"acme": ["a", "b"]}, {}]
        await logs[2].commit(recording("other", "c"))
        assert [await _ids(queue) for queue in heard] == [{}, {"other": ["c"]}, {}]
        logs[1].want_events("acme", are_wanted=False)
        await logs[1].catch_up()
        await logs[2].commit(recording("acme", "d"))
        assert [await _ids(queue) for queue in heard] == [{"acme": ["d"]}, {}, {}]
        for log in logs:
            await log.close()


async def test_a_worker_that_reads_slowly_gets_no_new_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_log_server, "MAX_HANDED_BYTES", -1)  # every worker counts as slow
    async with opened(tmp_path) as bench:
        log = await RemoteLog.open(await bench.connect())
        heard: asyncio.Queue[Applied] = asyncio.Queue()
        log.subscribe(heard.put_nowait)
        log.want_events("acme", are_wanted=True)
        await log.commit(recording("acme", "a"))
        applied = await heard.get()
        assert (applied.new_events, [*applied.tails]) == ({}, ["acme"])
        await log.close()


async def _ids(heard: asyncio.Queue[Applied]) -> dict[str, list[str]]:
    """By account, the ids of the new events of the next commit."""
    return {
        account_id: [v1.Event.FromString(row.payload).event_id for row in new.read()]
        for account_id, new in (await heard.get()).new_events.items()
    }


async def test_a_worker_knows_how_well_the_log_is_followed(tmp_path: Path) -> None:
    async with opened(tmp_path, log=LaggingLog) as bench:
        assert isinstance(bench.log, LaggingLog)
        log = await RemoteLog.open(await bench.connect())
        assert (log.is_current, log.view_time_ms) == (True, 5)
        changes: asyncio.Queue[bool] = asyncio.Queue()
        log.watch_freshness(changes.put_nowait)
        for is_current in (False, True):
            bench.log.change(is_current=is_current)
            assert await changes.get() == log.is_current == is_current
        assert log.view_time_ms == 7
        assert await log.catch_up()
        await log.close()


async def test_commits_of_all_workers_share_one_commit_of_the_log(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        groups: list[int] = []
        bench.committer.subscribe(lambda operations: groups.append(len(operations)))
        logs = [await RemoteLog.open(await bench.connect()) for _ in range(10)]
        await asyncio.gather(*(log.commit(opening(f"upload-{n}")) for n, log in enumerate(logs)))
        assert sum(groups) == 10
        assert len(groups) <= 3
        for log in logs:
            await log.close()


async def test_a_worker_that_does_not_read_is_killed_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_log_server, "MAX_UNREAD_BYTES", 500_000)
    async with opened(tmp_path) as bench:
        log = await RemoteLog.open(await bench.connect())
        deaf = await bench.connect()
        number = 0
        while not bench.killed.is_set():
            await log.commit(opening(f"{number:0100000}"))
            number += 1
            assert number < 50
        await log.commit(opening("last"))
        await log.close()
        await asyncio.wait(bench.serving)
        deaf.close()


async def test_a_log_is_settled_once_every_worker_is_that_has_heard_of_all_commits(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        author = await RemoteLog.open(await bench.connect())
        other = await RemoteLog.open(await bench.connect())
        heard: list[Applied] = []
        other.subscribe(heard.append)
        heard_before: list[int] = []
        goes_on, is_asked = asyncio.Event(), asyncio.Event()

        async def settle() -> None:
            heard_before.append(len(heard))
            is_asked.set()
            await goes_on.wait()

        other.watch_settling(settle)
        await author.commit(opening("first"))
        settling = asyncio.create_task(author.settle())
        await is_asked.wait()
        assert not settling.done()
        goes_on.set()
        await settling
        assert heard_before == [1]
        assert not bench.killed.is_set()
        await author.close()
        await other.close()


async def test_a_worker_that_ends_is_settled(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        log = await RemoteLog.open(await bench.connect())
        dying = await Channel.open(await bench.connect())
        dying.send(Kind.OPENED)
        settling = asyncio.create_task(log.settle())
        while (message := await dying.receive()) is not None and message.kind != Kind.SETTLE:
            assert not settling.done()
        dying.abort()
        await settling
        assert not bench.killed.is_set()
        await log.close()


async def test_a_worker_that_hangs_is_killed_so_that_the_log_settles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_log_server, "SETTLE_SECONDS", 0.2)
    async with opened(tmp_path) as bench:
        log = await RemoteLog.open(await bench.connect())
        hanging = await Channel.open(await bench.connect())
        hanging.send(Kind.OPENED)
        await log.settle()
        assert bench.killed.is_set()
        await log.close()
        hanging.abort()


async def test_a_worker_that_starts_slowly_is_not_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_log_server, "SETTLE_SECONDS", 0.2)
    async with opened(tmp_path) as bench:
        log = await RemoteLog.open(await bench.connect())
        starting = await bench.connect()
        await log.settle()
        assert not bench.killed.is_set()
        other = await RemoteLog.open(starting)
        await other.commit(opening("first"))
        await other.close()
        await log.close()


async def test_a_worker_that_sends_is_not_killed_before_it_settles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_log_server, "SETTLE_SECONDS", 1.0)
    async with opened(tmp_path) as bench:
        log = await RemoteLog.open(await bench.connect())
        busy = await RemoteLog.open(await bench.connect())
        goes_on = asyncio.Event()

        async def settle() -> None:
            await goes_on.wait()

        busy.watch_settling(settle)
        settling = asyncio.create_task(log.settle())
        end = asyncio.get_running_loop().time() + 2 * remote_log_server.SETTLE_SECONDS
        while asyncio.get_running_loop().time() < end:
            await busy.catch_up()
        assert not settling.done()
        goes_on.set()
        await settling
        assert not bench.killed.is_set()
        await busy.close()
        await log.close()


async def test_what_was_asked_for_fails_when_the_writing_side_ends(tmp_path: Path) -> None:
    async with deadline("the commit failed"):
        ours, theirs = socket.socketpair()
        channel = await Channel.open(ours)
        channel.send(Kind.FRESHNESS, encode_freshness(Freshness(7, is_current=True)))
        log = await RemoteLog.open(theirs)
        assert (log.view_time_ms, log.is_current) == (7, True)
        commit = asyncio.create_task(log.commit(opening("first")))
        assert await channel.receive() is not None
        channel.abort()
        with pytest.raises(StoreUnavailableError):
            await commit
        await asyncio.wait([log.failure])
        with pytest.raises(StoreUnavailableError):
            await log.commit(opening("second"))
        await log.close()


async def test_a_committer_that_closes_refuses_the_commits_of_workers(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        log = await RemoteLog.open(await bench.connect())
        await bench.committer.close()
        (result,) = await log.commit(opening("first"))
        assert isinstance(result, DrainingError)
        await log.close()


async def test_an_unforeseen_failure_is_reported_and_ends_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as bench:
        log = await RemoteLog.open(await bench.connect())

        async def fail(_: Commit) -> list[Result]:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(bench.log, "commit", fail)
            with pytest.raises(WriterFailedError):
                await log.commit(opening("first"))
        await log.commit(opening("first"))
        await log.close()
