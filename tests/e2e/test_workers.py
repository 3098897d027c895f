"""Several worker processes are one server: any of them can take any call."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, closing
from pathlib import Path
from random import Random

import apsw
import grpc
import pytest
from grpc_health.v1 import health_pb2

from engagement import v1
from tests.support.cli_process import Cli
from tests.support.connection import ACCOUNT, Connection, connect, upload_messages
from tests.support.events import bad_event, customer_event, customer_events
from tests.support.ledger import Ledger
from tests.support.marked_events import BYSTANDER, SUBJECT, files_with, marked_events
from tests.support.producers import Caller, Producer, UploadStream, run_until_unavailable
from tests.support.raw_subscription import RawSubscription, ids, subscribing
from tests.support.raw_upload import RawUpload, chunk, opening
from tests.support.refused_call import expect_refused
from tests.support.server_process import ServerProcess
from tests.support.store_file import open_store
from tests.support.waiting import deadline, eventually
from tests.support.worker_processes import NEEDS_PROC, Workers, until_gone

pytestmark = NEEDS_PROC
_WORKERS = 2
_ENVIRONMENT = {"ENGAGEMENT_WORKERS": str(_WORKERS)}


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for all tests that do not disturb it."""
    folder = tmp_path_factory.mktemp("server")
    with ServerProcess(folder / "data", environment=_ENVIRONMENT).start() as process:
        yield process


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data", environment=_ENVIRONMENT).start() as process:
        yield process


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Closes what it has entered after the test."""
    async with AsyncExitStack() as entered:
        yield entered


@pytest.fixture
async def connections(lasting: ServerProcess, stack: AsyncExitStack) -> Mapping[int, Connection]:
    """A connection to each worker of the shared server, by process id."""
    return await Workers(lasting).connect_to_each(stack)


async def test_a_call_of_any_kind_can_be_made_at_any_worker(connections: Mapping[int, Connection]) -> None:
    first, second = connections.values()
    for number, (here, there) in enumerate([(first, second), (second, first)]):
        await _record_here_and_read_there(here, there, name=f"n{number}")
        await _change_here_and_read_there(here, there, name=f"n{number}")
    for connection in (first, second):
        info = await v1.ServerServiceStub(connection.channel).GetServerInfo(v1.GetServerInfoRequest())
        assert [partition.current for partition in info.partitions] == [True]
        assert await _health(connection) == health_pb2.HealthCheckResponse.SERVING


async def test_a_first_subscriber_at_one_worker_sees_what_another_records(
    connections: Mapping[int, Connection],
) -> None:
    here, there = connections.values()
    waiting = RawSubscription(here.events, subscribing(account_id="fresh"))
    origin = (await waiting.read_until("caught_up"))[-1].cursor
    request = v1.RecordEventRequest(account_id="fresh", event=customer_event("a"))
    await there.ingest.RecordEvent(request)
    assert await waiting.read_ids(1) == ["a"]
    waiting.call.cancel()
    for connection in (here, there):
        again = subscribing(account_id="fresh", after_cursor=origin, stop_at_tail=True)
        assert ids(await RawSubscription(connection.events, again).rest()) == ["a"]


async def test_each_worker_lists_what_another_has_recorded(connections: Mapping[int, Connection]) -> None:
    for number, here in enumerate(connections.values()):
        account_id = f"listed-{number}"
        await here.ingest.RecordEvent(v1.RecordEventRequest(account_id=account_id, event=customer_event("a")))
        for there in connections.values():
            server = v1.ServerServiceStub(there.channel)
            response = await server.ListAccounts(v1.ListAccountsRequest())
            assert (account_id, 1) in [(account.account_id, account.events) for account in response.accounts]


async def test_openings_at_any_worker_leave_no_row(
    connections: Mapping[int, Connection], lasting: ServerProcess
) -> None:
    uploads = [RawUpload(connection.ingest) for connection in connections.values()]
    for number, upload in enumerate(uploads):
        await upload.send(opening(upload_id=f"left-{number}", account_id="nowhere"))
        assert (await upload.receive()).HasField("opened")
    uploads[0].call.cancel()
    await uploads[1].call.done_writing()
    await uploads[1].receive_rest()

    def are_gone() -> bool:
        with closing(open_store(lasting.data_dir, flags=apsw.SQLITE_OPEN_READONLY)) as store:
            tables = "SELECT account_id FROM uploads UNION SELECT account_id FROM accounts"
            return ("nowhere",) not in store.execute(tables).fetchall()

    await eventually(are_gone, "the uploads are gone")


async def _health(connection: Connection) -> int:
    check: grpc.aio.UnaryUnaryMultiCallable[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]
    check = connection.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return (await check(health_pb2.HealthCheckRequest())).status


async def _record_here_and_read_there(here: Connection, there: Connection, *, name: str) -> None:
    recorded = await here.record(customer_event(f"{name}-single"))
    again = await there.record(customer_event(f"{name}-single"))
    assert (again.outcome, again.cursor) == (v1.Outcome.OUTCOME_DUPLICATE, recorded.cursor)
    await here.record_batch([customer_event(f"{name}-batch-{number}") for number in range(3)])
    conflict = await expect_refused(there.record(customer_event(f"{name}-batch-1", role="other")))
    assert (conflict.code, conflict.reason) == (grpc.StatusCode.ALREADY_EXISTS, "EVENT_ID_CONFLICT")
    found = await there.events.GetEvent(v1.GetEventRequest(account_id=ACCOUNT, cursor=recorded.cursor))
    assert found.event.event.event_id == f"{name}-single"
    page = await here.events.ListEvents(v1.ListEventsRequest(account_id=ACCOUNT, page_size=2))
    request = v1.ListEventsRequest(account_id=ACCOUNT, page_size=2, page_token=page.next_page_token)
    next_page = await there.events.ListEvents(request)
    assert not {each.cursor for each in page.events} & {each.cursor for each in next_page.events}
    call = here.ingest.UploadEvents()
    for message in upload_messages(f"{name}-upload", [[customer_event(f"{name}-up"), bad_event()]]):
        await call.write(message)
    *_, finished = [message async for message in call]
    upload = await there.ingest.GetUpload(v1.GetUploadRequest(account_id=ACCOUNT, upload_id=f"{name}-upload"))
    assert upload.upload == finished.finished.upload
    assert upload.upload.tally == v1.Tally(accepted=1, rejected=1)
    assert [each.result.event_id for each in upload.rejections] == ["bad"]


async def _change_here_and_read_there(here: Connection, there: Connection, *, name: str) -> None:
    kind = v1.EntityKind.ENTITY_KIND_CUSTOMER_TYPE
    put = v1.PutEntitiesRequest(account_id=ACCOUNT, kind=kind, names=[name], closed=True)
    entities, seen = (v1.EntityServiceStub(connection.channel) for connection in (here, there))
    await entities.PutEntities(put)
    listed = await seen.ListEntities(v1.ListEntitiesRequest(account_id=ACCOUNT, kind=kind))
    assert list(listed.names) == [name]
    unknown = customer_event(f"{name}-unknown", customer_type="none")
    refused = await expect_refused(there.record_batch([customer_event(f"{name}-known"), unknown]))
    assert (refused.reason, refused.fields) == ("ENTITY_UNKNOWN", ["events[1].customer_info.customer_type"])
    assert refused.metadata["allowed"] == f'"{name}"'
    await seen.DeleteEntity(v1.DeleteEntityRequest(account_id=ACCOUNT, kind=kind, name=name))
    await seen.PutEntities(v1.PutEntitiesRequest(account_id=ACCOUNT, kind=kind, closed=False))
    profile = v1.GetProfileRequest(account_id=ACCOUNT, consumer_id="ada")
    assert (await there.events.GetProfile(profile)).profile.consumer_id == "ada"
    erase = v1.EraseConsumerRequest(
        account_id=ACCOUNT, request_id=name, subjects=[v1.Subject(consumer_id="ada")], suppress=True
    )
    privacy, looking = (v1.PrivacyServiceStub(connection.channel) for connection in (here, there))
    erased = (await privacy.EraseConsumer(erase)).erasure
    assert erased.HasField("complete_time")
    got = await looking.GetErasure(v1.GetErasureRequest(account_id=ACCOUNT, erasure_id=erased.erasure_id))
    assert got.erasure == erased
    theirs = v1.ListEventsRequest(account_id=ACCOUNT, filter=v1.EventFilter(consumer_ids=["ada"]))
    assert not (await there.events.ListEvents(theirs)).events
    suppressed = await there.record(customer_event(f"{name}-suppressed"))
    assert suppressed.outcome == v1.Outcome.OUTCOME_SUPPRESSED
    lift = v1.LiftSuppressionRequest(account_id=ACCOUNT, erasure_id=erased.erasure_id)
    assert (await looking.LiftSuppression(lift)).lifted


async def test_a_subscriber_sees_what_any_worker_recorded_in_its_order(
    connections: Mapping[int, Connection],
) -> None:
    first, second = connections.values()
    request = v1.SubscribeEventsRequest(account_id=ACCOUNT, latest=True)
    subscriptions = [connection.events.SubscribeEvents(request) for connection in (first, second)]
    for subscription in subscriptions:
        await subscription.read()
    events = customer_events(400)
    await asyncio.gather(
        first.upload([events[start : start + 10] for start in range(0, 200, 10)]),
        *(second.record(event) for event in events[200:300]),
        second.record_batch(events[300:]),
    )
    stored = [each async for each in first.stored()][-len(events) :]
    assert {each.upload.upload_id for each in stored} == {"", "upload"}
    for subscription in subscriptions:
        seen: list[v1.StoredEvent] = []
        async with deadline("the subscriber saw all events"):
            while len(seen) < len(events):
                message = await subscription.read()
                assert isinstance(message, v1.SubscribeEventsResponse)
                seen += message.batch.events
        assert seen == stored
        subscription.cancel()


async def test_an_upload_that_goes_on_at_another_worker_ends_its_stream(
    connections: Mapping[int, Connection],
) -> None:
    first, second = connections.values()
    old, new = first.ingest.UploadEvents(), second.ingest.UploadEvents()
    opening, chunk, _ = upload_messages("contended", [[customer_event("a")]])
    for message in (opening, chunk):
        await old.write(message)
    await old.read()
    acked = await old.read()
    assert isinstance(acked, v1.UploadEventsResponse)
    assert acked.ack.committed_through == 1
    await new.write(opening)
    opened = await new.read()
    assert isinstance(opened, v1.UploadEventsResponse)
    assert opened.opened.committed_through == 1
    taken_over = await expect_refused(old.read())
    assert (taken_over.code, taken_over.reason) == (grpc.StatusCode.ABORTED, "UPLOAD_TAKEN_OVER")
    new.cancel()


async def test_an_upload_that_is_wholly_wrong_ends_at_any_worker(
    connections: Mapping[int, Connection],
) -> None:
    first, second = connections.values()
    wrong = [[bad_event(f"wrong-{number}") for number in range(500)]] * 2
    for connection, done in ((first, 0), (second, 2)):
        upload = RawUpload(connection.ingest)
        chunks = [chunk(done + number, *events) for number, events in enumerate(wrong, 1)]
        await upload.send(opening(upload_id="wrong", account_id=ACCOUNT), *chunks)
        refused = await expect_refused(upload.receive_rest())
        assert (refused.code, refused.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "UPLOAD_ALL_REJECTED",
        )
        state = await second.upload_state("wrong")
        assert refused.metadata["committedThrough"] == str(state.committed_through)
        assert state.tally.rejected >= 1000


async def test_an_erasure_at_one_worker_leaves_no_byte_while_others_read(
    lasting: ServerProcess, connections: Mapping[int, Connection]
) -> None:
    first, second = connections.values()
    await first.record_batch(marked_events(300, consumer_id=SUBJECT, marker="zqmark"))
    await first.record_batch(marked_events(300, consumer_id=BYSTANDER, marker="xkept"))
    request = v1.SubscribeEventsRequest(account_id=ACCOUNT, earliest=True)
    subscription = second.events.SubscribeEvents(request)
    await subscription.read()
    assert files_with(lasting.data_dir, "zqmark")
    has_ended = asyncio.Event()

    async def read_on() -> None:
        while not has_ended.is_set():
            await second.events.ListEvents(v1.ListEventsRequest(account_id=ACCOUNT, page_size=1000))

    reading = [asyncio.create_task(read_on()) for _ in range(4)]
    erase = v1.EraseConsumerRequest(
        account_id=ACCOUNT, request_id="r", subjects=[v1.Subject(consumer_id=SUBJECT)]
    )
    erased = (await v1.PrivacyServiceStub(first.channel).EraseConsumer(erase)).erasure
    assert (erased.erased_events, erased.HasField("complete_time")) == (300, True)
    assert [files_with(lasting.data_dir, trace) for trace in ("zqmark", SUBJECT)] == [{}, {}]
    has_ended.set()
    await asyncio.gather(*reading)
    subscription.cancel()
    again = [message async for message in second.events.SubscribeEvents(_export())]
    seen = [each.event.consumer_id for message in again for each in message.batch.events]
    assert seen.count(BYSTANDER) == 300
    assert SUBJECT not in seen


def _export() -> v1.SubscribeEventsRequest:
    return v1.SubscribeEventsRequest(account_id=ACCOUNT, earliest=True, stop_at_tail=True)


async def test_no_other_server_gets_a_port_that_workers_share(lasting: ServerProcess, tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    commands = [
        ("--workers", workers, "--listen", lasting.address, "--data", "other") for workers in ("1", "2")
    ]
    for command in commands:
        refused = await asyncio.to_thread(cli.run_process, "serve", *command)
        assert refused.status != 0
        assert "is in use; stop the program that listens there, or choose" in refused.stderr


def _producers(ledger: Ledger, *, name: str) -> list[Producer]:
    return [
        *(Caller(ledger, batch_events=size) for size in (1, 1, 1, 20)),
        *(UploadStream(ledger, name=f"{name}-{number}") for number in range(2)),
    ]


async def _wait_until_it_grows(connection: Connection) -> None:
    newest = v1.ListEventsRequest(account_id=ACCOUNT, newest_first=True, page_size=1)
    first = await connection.events.ListEvents(newest)

    async def has_grown() -> bool:
        return await connection.events.ListEvents(newest) != first

    await eventually(has_grown, "something was recorded")


async def test_a_killed_worker_loses_nothing_holds_nothing_up_and_comes_back(
    server: ServerProcess, stack: AsyncExitStack
) -> None:
    workers, ledger = Workers(server), Ledger(Random(1))
    (victim, lost), (survivor, kept) = (await workers.connect_to_each(stack)).items()
    struck, spared = _producers(ledger, name="struck"), _producers(ledger, name="spared")
    failing = [asyncio.create_task(run_until_unavailable(producer, lost)) for producer in struck]
    running = [asyncio.create_task(producer.run(kept)) for producer in spared]
    await kept.wait_until_stored(300)
    os.kill(victim, signal.SIGKILL)
    await asyncio.gather(*failing)
    await _wait_until_it_grows(kept)
    ledger.is_closed = True
    async with deadline("the producers of the other worker ended"):
        await asyncio.gather(*running)
    await ledger.check(kept)
    await eventually(lambda: workers.all_listen(_WORKERS), "all workers listen")
    assert survivor in workers.pids
    assert victim not in workers.pids
    again = await workers.connect_to_each(stack)
    (renewed,) = (connection for pid, connection in again.items() if pid != survivor)
    async with deadline("the interrupted producers went on"):
        await asyncio.gather(*(producer.run(renewed) for producer in struck))
    await ledger.check_complete(renewed)


async def test_workers_end_with_the_parent_that_is_killed_and_nothing_is_lost(
    server: ServerProcess, stack: AsyncExitStack
) -> None:
    ledger, workers = Ledger(Random(2)), Workers(server)
    producers = [*_producers(ledger, name="first"), *_producers(ledger, name="second")]
    first, second = (await workers.connect_to_each(stack)).values()
    runs = [
        asyncio.create_task(run_until_unavailable(producer, (first, second)[number % 2]))
        for number, producer in enumerate(producers)
    ]
    await first.wait_until_stored(300)
    orphans = workers.pids
    server.kill()
    await asyncio.gather(*runs)
    # At once, while the orphans may still be ending.
    await asyncio.to_thread(server.start)
    await until_gone(*orphans)
    async with connect(server.address) as connection:
        await ledger.check(connection)
        ledger.is_closed = True
        async with deadline("the interrupted producers went on"):
            await asyncio.gather(*(producer.run(connection) for producer in producers))
        await ledger.check_complete(connection)
