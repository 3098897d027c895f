"""Streams that clients cancel leave nothing in the server's memory."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest

from engagement_server.api.grpc.call import GrpcCall
from engagement_server.streams.subscription import Subscription
from engagement_server.streams.tails import Tail
from engagement_server.streams.upload import UploadSession
from tests.support.raw_subscription import RawSubscription, subscribing
from tests.support.raw_upload import RawUpload, opening
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from engagement.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

STREAMS = 100
KINDS = GrpcCall, Subscription, Tail, UploadSession


def held() -> int:
    """Objects of streams that are alive."""
    gc.collect()
    return sum(isinstance(each, KINDS) for each in gc.get_objects())


@pytest.mark.parametrize("reads", [0, 2])
async def test_cancelled_subscriptions_are_dropped(events: EventServiceAsyncStub, reads: int) -> None:
    before, tasks = held(), len(asyncio.all_tasks())
    for number in range(STREAMS):
        subscription = RawSubscription(events, subscribing(account_id=f"account-{number}"))
        for _ in range(reads):
            await subscription.read()
        subscription.call.cancel()
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks, "the tasks have ended")
    await eventually(lambda: held() <= before, "the streams are gone")


async def test_cancelled_uploads_are_dropped(ingest: IngestServiceAsyncStub) -> None:
    before, tasks = held(), len(asyncio.all_tasks())
    for number in range(STREAMS):
        upload = RawUpload(ingest)
        await upload.send(opening(upload_id=f"upload-{number}"))
        await upload.receive()
        upload.call.cancel()
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks, "the tasks have ended")
    await eventually(lambda: held() <= before, "the streams are gone")
