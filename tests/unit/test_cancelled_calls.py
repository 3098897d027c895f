"""An upload and a follower end when they are cancelled, even if the call fails at that moment."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import grpc
import pytest

from engagement import Uploader, v1
from engagement.follow import Follower
from engagement.streams import OpenStream
from tests.support.waiting import deadline


class EndingCall:
    """A call of the library that has ended as unavailable by the time that its reader is cancelled."""

    def __init__(self) -> None:
        self.is_read = asyncio.Event()

    async def read(self) -> object:
        self.is_read.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            empty = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, empty, empty) from None
        return None

    async def write(self, _: object) -> None:
        pass

    async def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def cancel(self) -> None:
        pass


class Client:
    """Whatever an upload needs of a client."""

    account_id = "acme"
    timeout_seconds = 60.0
    is_token_renewable = False

    def __init__(self, call: EndingCall) -> None:
        self._call = call

    async def upload_events(self) -> OpenStream[EndingCall]:
        return OpenStream(self._call, lambda: None)


async def cancelled_at(call: EndingCall, work: asyncio.Task[Any]) -> None:
    async with deadline("the call is read"):
        await call.is_read.wait()
    work.cancel()
    async with deadline("the work has ended"):
        with pytest.raises(asyncio.CancelledError):
            await work


async def test_an_upload_ends() -> None:
    call = EndingCall()
    uploader = Uploader(cast("Any", Client(call)))
    await cancelled_at(call, asyncio.create_task(uploader.upload([v1.Event()])))


async def test_a_follower_ends() -> None:
    call = EndingCall()

    async def subscribe(_: v1.SubscribeEventsRequest) -> OpenStream[EndingCall]:
        return OpenStream(call, lambda: None)

    follower = Follower(cast("Any", subscribe), v1.SubscribeEventsRequest(), silence_seconds=60.0)
    await cancelled_at(call, asyncio.ensure_future(anext(follower)))
