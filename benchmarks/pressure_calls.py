"""Neighbours that make costly calls, or hold many subscriptions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from itertools import cycle
from typing import Any, Final

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from benchmarks.events import EventSource
from benchmarks.pressure_load import Load, connection, reason_of
from benchmarks.text_events import Words, padded
from engagement import v1
from engagement.limits import MAX_EVENT_BYTES, MAX_MESSAGE_BYTES

_TIMEOUT_SECONDS: Final = 30
_PHRASES: Final = 50
_SERVICE: Final = "/engagement.v1."
_LARGE_BYTES: Final = (100_000, 300_000, 1_000_000)
_SUBSCRIBING_AT_ONCE: Final = 16
_FOLLOWERS_A_CONNECTION: Final = 5


async def search(load: Load) -> None:
    """Callers of searches that look at much and find nothing. Options: `callers`, `account`."""
    account_id = load.options["account"]
    filters = [
        # Words that stand in every event, in an order in which they never stand.
        v1.EventFilter(text=" ".join(['"of head" "of clerk" "of manager"'] * (_PHRASES // 3))),
        v1.EventFilter(text='"of director of" "finance of"'),
        # No word to look up in the index: each event is compared.
        v1.EventFilter(customer_statuses=["!!!"]),
        v1.EventFilter(authenticated=False, customer_types=["???"]),
    ]
    async with connection(load.address) as channel:
        stub = v1.EventServiceStub(channel)
        await load.begin()

        async def call(number: int) -> None:
            wanted = filters[number % len(filters)]
            request = v1.ListEventsRequest(account_id=account_id, filter=wanted)
            await stub.ListEvents(request, timeout=_TIMEOUT_SECONDS)

        await load.repeat(load.options["callers"], call)


async def profiles(load: Load) -> None:
    """Callers of one profile, by both ids and both ways of folding.

    Options: `callers`, `account`, `consumer`, `customer`.
    """
    account_id = load.options["account"]
    requests = [
        v1.GetProfileRequest(account_id=account_id, folding=folding, **subject)
        for subject in ({"consumer_id": load.options["consumer"]}, {"customer_id": load.options["customer"]})
        for folding in (v1.Folding.FOLDING_MERGE, v1.Folding.FOLDING_REPLACE)
    ]
    async with connection(load.address) as channel:
        stub = v1.EventServiceStub(channel)
        await load.begin()

        async def call(number: int) -> None:
            await stub.GetProfile(requests[number % len(requests)], timeout=_TIMEOUT_SECONDS)

        await load.repeat(load.options["callers"], call)


async def record(load: Load) -> None:
    """Callers that record one event after the other. Options: `callers`, `account`."""
    account_id, source = load.options["account"], EventSource()
    async with connection(load.address) as channel:
        stub = v1.IngestServiceStub(channel)
        await load.begin()

        async def call(_: int) -> None:
            (event,) = source.take(1)
            await stub.RecordEvent(v1.RecordEventRequest(account_id=account_id, event=event))
            load.recorded[account_id] += 1

        await load.repeat(load.options["callers"], call)


async def record_batches(load: Load) -> None:
    """Callers that record small batches, over so many accounts in turn. Options: `callers`, `accounts`."""
    load.unit = "batches"
    accounts = cycle(
        [f"batch{load.options['accounts']}-{number}" for number in range(load.options["accounts"])]
    )
    source = EventSource()
    async with connection(load.address) as channel:
        stub = v1.IngestServiceStub(channel)
        await load.begin()

        async def call(_: int) -> None:
            account_id, events = next(accounts), source.take(load.options["events"])
            await stub.RecordEvents(v1.RecordEventsRequest(account_id=account_id, events=events))
            load.recorded[account_id] += len(events)

        await load.repeat(load.options["callers"], call)


async def lone_event(load: Load) -> None:
    """The largest event that there may be, every second. Option: `account`."""
    load.unit = "events"
    account_id, source, words = load.options["account"], EventSource(), Words()
    (largest,) = source.take(1)
    padded(largest, words, MAX_EVENT_BYTES - 4_096)
    async with connection(load.address) as channel:
        stub = v1.IngestServiceStub(channel)
        await load.begin()

        async def call(_: int) -> None:
            (fresh,) = source.take(1)
            largest.event_id = fresh.event_id
            start = time.monotonic()
            await stub.RecordEvent(v1.RecordEventRequest(account_id=account_id, event=largest))
            load.recorded[account_id] += 1
            await load.pause(1.0 - (time.monotonic() - start))

        await load.repeat(1, call)


async def large_messages(load: Load) -> None:
    """Callers of messages with very many small items, all of them over a limit. Option: `callers`."""
    messages = [
        (method, message)
        for size_bytes in _LARGE_BYTES
        for method, message in _large_messages(load.options["account"], size_bytes)
    ]
    empty_events = v1.RecordEventsRequest(events=[v1.Event()]).SerializeToString()
    messages.append(("IngestService/RecordEvents", empty_events * (MAX_MESSAGE_BYTES // len(empty_events))))
    async with connection(load.address) as channel:
        await load.begin()

        async def call(number: int) -> None:
            method, message = messages[(number + load.done) % len(messages)]
            send: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_SERVICE + method)
            try:
                await send(message, timeout=_TIMEOUT_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
                    raise

        await load.repeat(load.options["callers"], call)


async def subscriptions(load: Load) -> None:
    """Idle subscriptions over several connections, as many as the server takes.

    Options: `subscriptions`, `connections`, `account`.
    """
    load.unit = "subscriptions"
    request = v1.SubscribeEventsRequest(account_id=load.options["account"], latest=True)
    slots = asyncio.Semaphore(_SUBSCRIBING_AT_ONCE)
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(connection(load.address))
            for _ in range(load.options["connections"])
        ]
        calls = []

        async def subscribe(channel: grpc.aio.Channel) -> None:
            async with slots:
                call = v1.EventServiceStub(channel).SubscribeEvents(request)
                try:
                    while not (await anext(aiter(call))).HasField("caught_up"):
                        pass
                except grpc.aio.AioRpcError as error:
                    load.refused[reason_of(error)] += 1
                else:
                    calls.append(call)

        count = load.options["subscriptions"]
        await asyncio.gather(*(subscribe(channels[number % len(channels)]) for number in range(count)))
        await load.begin()
        readers = [asyncio.create_task(_read(load, call)) for call in calls]
        await load.end()
        load.notes["subscriptions"] = sum(not reader.done() for reader in readers)
        for call in calls:
            call.cancel()
        await asyncio.wait(readers)


async def followers(load: Load) -> None:
    """Subscriptions that read everything. Options: `subscriptions`, `account`."""
    load.unit = "events"
    request = v1.SubscribeEventsRequest(account_id=load.options["account"], latest=True)
    count = load.options["subscriptions"]
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(connection(load.address))
            for _ in range(-(-count // _FOLLOWERS_A_CONNECTION))
        ]
        calls = [
            v1.EventServiceStub(channels[n % len(channels)]).SubscribeEvents(request) for n in range(count)
        ]
        for call in calls:
            while not (await anext(aiter(call))).HasField("caught_up"):
                pass
        await load.begin()
        readers = [asyncio.create_task(_read(load, call)) for call in calls]
        await load.end()
        for call in calls:
            call.cancel()
        await asyncio.wait(readers)


async def _read(load: Load, call: Any) -> None:  # Any: the library's type of a call is not public
    """Reads a subscription until it is cancelled."""
    try:
        async for message in call:
            if message.HasField("batch"):
                load.done += len(message.batch.events)
                received_ms = time.time() * 1000
                last = message.batch.events[-1].receive_time
                load.latencies_ms.append(received_ms - last.ToMilliseconds())
            elif message.HasField("closing"):
                load.refused["closing"] += 1
    except grpc.aio.AioRpcError as error:
        load.refused[reason_of(error)] += 1
    except asyncio.CancelledError:
        return


def _large_messages(account_id: str, size_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Methods with messages of about that size."""
    listing = partial(v1.ListEventsRequest, account_id=account_id)
    many: dict[str, Callable[[], Any]] = {
        "IngestService/RecordEvent": lambda: v1.RecordEventRequest(
            account_id=account_id,
            event=v1.Event(
                customer_info=v1.CustomerInfo(role="clerk"),
                additional_attributes={f"{number:06}": "" for number in range(size_bytes // 13)},
            ),
        ),
        "EventService/ListEvents": lambda: listing(
            filter=v1.EventFilter(consumer_ids=["a"] * (size_bytes // 3))
        ),
        "EventService/GetEvent": lambda: v1.GetEventRequest(
            account_id=account_id,
            event_id="x",
            read_mask=FieldMask(paths=[f"{number:05}" for number in range(size_bytes // 7)]),
        ),
        "EntityService/PutEntities": lambda: v1.PutEntitiesRequest(
            account_id=account_id,
            kind=v1.EntityKind.ENTITY_KIND_CUSTOMER_STATUS,
            names=[""] * (size_bytes // 2),
        ),
    }
    for method, make in many.items():
        yield method, make().SerializeToString()
    statuses = listing(filter=v1.EventFilter(attribute_sets=[9] * size_bytes))  # type: ignore[list-item]  # no such set
    yield "EventService/ListEvents", statuses.SerializeToString()
    contacts = v1.Event(
        personal_info=v1.PersonalInfo(other_contacts=[v1.PersonalContact(email="\0")] * (size_bytes // 5))
    )
    yield (
        "IngestService/RecordEvent",
        v1.RecordEventRequest(account_id=account_id, event=contacts).SerializeToString(),
    )
