"""Whether everything that was acknowledged is there."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from engagement import v1

_PAGE_EVENTS: Final = 1_000
_CONCURRENT: Final = 16
_ATTEMPTS: Final = 100
_PAUSE_SECONDS: Final = 0.1

R = TypeVar("R")


class Ledger:
    """What neighbours say was acknowledged to them."""

    def __init__(self) -> None:
        self._uploads: list[tuple[str, str, int]] = []
        self._recorded: Counter[str] = Counter()
        self._samples: list[tuple[str, str]] = []

    def add(self, report: Mapping[str, Any]) -> None:  # Any: what JSON holds
        """Takes in the report of a neighbour."""
        self._uploads += report["uploads"]
        self._recorded.update(report["recorded"])
        self._samples += report["samples"]

    @property
    def acknowledged(self) -> int:
        """How many events."""
        return sum(accepted for _, _, accepted in self._uploads) + self._recorded.total()

    async def missing(self, channel: grpc.aio.Channel) -> int:
        """How many acknowledged events are not there.

        It compares the tallies of uploads and the events of accounts, and looks up samples.
        """
        slots = asyncio.Semaphore(_CONCURRENT)
        checks = [
            *(_missing_of_upload(channel, slots, *upload) for upload in self._uploads),
            *(_missing_of_account(channel, slots, *recorded) for recorded in self._recorded.items()),
            *(_missing_sample(channel, slots, *sample) for sample in self._samples),
        ]
        return sum(await asyncio.gather(*checks))


async def stored_ids(channel: grpc.aio.Channel, account_id: str) -> Sequence[str]:
    """The ids of all events of an account."""
    return [event_id async for event_id in _walk(channel, account_id)]


async def _walk(channel: grpc.aio.Channel, account_id: str) -> AsyncIterator[str]:
    request = v1.ListEventsRequest(
        account_id=account_id, page_size=_PAGE_EVENTS, read_mask=FieldMask(paths=["event.event_id"])
    )
    while True:
        page = await _patiently(partial(v1.EventServiceStub(channel).ListEvents, request))
        for stored in page.events:
            yield stored.event.event_id
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


async def _missing_of_upload(
    channel: grpc.aio.Channel, slots: asyncio.Semaphore, account_id: str, upload_id: str, accepted: int
) -> int:
    request = v1.GetUploadRequest(account_id=account_id, upload_id=upload_id, page_size=1)
    async with slots:
        answer = await _patiently(partial(v1.IngestServiceStub(channel).GetUpload, request))
    return max(0, accepted - answer.upload.tally.accepted)


async def _missing_of_account(
    channel: grpc.aio.Channel, slots: asyncio.Semaphore, account_id: str, recorded: int
) -> int:
    async with slots:
        return max(0, recorded - len(set(await stored_ids(channel, account_id))))


async def _missing_sample(
    channel: grpc.aio.Channel, slots: asyncio.Semaphore, account_id: str, event_id: str
) -> int:
    request = v1.GetEventRequest(
        account_id=account_id, event_id=event_id, read_mask=FieldMask(paths=["event.event_id"])
    )
    async with slots:
        try:
            await _patiently(partial(v1.EventServiceStub(channel).GetEvent, request))
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            return 1
    return 0


async def _patiently(call: Callable[[], Awaitable[R]]) -> R:
    """Makes a call until the server takes it: refused calls are counted elsewhere."""
    for _ in range(_ATTEMPTS):
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            last = error
            await asyncio.sleep(_PAUSE_SECONDS)
    raise last
