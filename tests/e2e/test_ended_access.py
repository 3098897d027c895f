"""Streams of every kind end soon after their callers' rights, whatever those were shown by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from engagement import v1
from engagement_server.access import watch
from engagement_server.api.grpc import rights
from tests.support.events import customer_event
from tests.support.known_callers import ISSUER, KnownCallers, principal, shown, signed, signing_key
from tests.support.raw_subscription import RawSubscription, subscribing
from tests.support.raw_upload import RawUpload, chunk, opening
from tests.support.server_process import ServerProcess
from tests.support.tls_files import TlsFiles
from tests.support.waiting import deadline, eventually

ACCOUNT = "acme"
_PREFIX = "expiring-"
_EXPIRING = tuple(_PREFIX + kind for kind in ("secret", "jwt", "certificate"))
UPLOAD_ENDS = v1.UploadEventsResponse.Closing.REASON_UNAUTHENTICATED
FOLLOWING_ENDS = v1.SubscribeEventsResponse.Closing.REASON_UNAUTHENTICATED
Metadata = tuple[tuple[str, str], ...]
Ended = Callable[[], Awaitable[None]]
"""Waits for the end of a stream, and checks what it says."""


class Caller(NamedTuple):
    """Somebody who will lose all rights."""

    channel: grpc.aio.Channel
    metadata: Metadata
    name: str


def test_a_change_of_the_files_ends_every_stream_within_ten_seconds() -> None:
    looks = watch.POLL_SECONDS + watch.AGAIN_SECONDS + rights.LOOK_SECONDS
    until_reset = -(-rights.END_SECONDS // rights.LOOK_SECONDS) * rights.LOOK_SECONDS
    assert looks + until_reset < 9, "leave a second for what takes time"


async def idle_upload(caller: Caller) -> Ended:
    upload = RawUpload(v1.IngestServiceStub(caller.channel), metadata=caller.metadata)
    await upload.send(opening(upload_id=f"{caller.name} idle"))
    await upload.receive()

    async def ended() -> None:
        assert (await upload.receive_rest())[-1].closing.reason == UPLOAD_ENDS
        assert await upload.call.code() is grpc.StatusCode.OK

    return ended


async def busy_upload(caller: Caller) -> Ended:
    upload = RawUpload(v1.IngestServiceStub(caller.channel), metadata=caller.metadata)
    await upload.send(opening(upload_id=f"{caller.name} busy"))
    await upload.receive()

    async def send() -> None:
        for sequence in count(1):
            await upload.send(chunk(sequence, customer_event(f"{caller.name} {sequence}")))
            await asyncio.sleep(0.01)  # a steady rate, as of a connector

    sending = asyncio.create_task(send())

    async def ended() -> None:
        rest = await upload.receive_rest()
        sending.cancel()
        assert rest[-1].closing.reason == UPLOAD_ENDS
        assert await upload.call.code() is grpc.StatusCode.OK

    return ended


async def subscription(caller: Caller) -> Ended:
    stream = RawSubscription(v1.EventServiceStub(caller.channel), subscribing(), metadata=caller.metadata)
    await stream.read_until("caught_up")

    async def ended() -> None:
        assert (await stream.rest())[-1].closing.reason == FOLLOWING_ENDS

    return ended


async def reflection(caller: Caller) -> Ended:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(caller.channel)  # type: ignore[arg-type]  # it is async
    call = stub.ServerReflectionInfo(metadata=caller.metadata)
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    await call.read()

    async def ended() -> None:
        async with deadline("the stream is ended"):
            assert await call.read() is grpc.aio.EOF
            assert await call.code() is grpc.StatusCode.OK

    return ended


STREAMS = (idle_upload, busy_upload, subscription, reflection)


class Rights:
    """A server's files, and callers with each kind of credential, whose rights will end."""

    def __init__(self, folder: Path) -> None:
        self.tls = TlsFiles(folder / "secret")
        self.known = KnownCallers(folder / "access")
        self.key = signing_key()
        self.known.publish(self.key)
        self.grant("secret", "jwt", "certificate", *_EXPIRING)

    def grant(self, *names: str) -> None:
        """Grants these, and no others."""
        self.known.grant(
            *(
                principal(
                    name,
                    scopes=["ingest", "read"],
                    jwts=[{"issuer": ISSUER, "subject": name}],
                    certificates=[f"dns:{name}.test"],
                )
                for name in names
            )
        )

    async def callers(
        self, server: ServerProcess, stack: AsyncExitStack, *, prefix: str = "", seconds: float = 3600
    ) -> list[Caller]:
        """One of each kind, whose credentials expire after some seconds; the server knows them all."""
        expires = time.time() + seconds
        secret = self.known.token(f"{prefix}secret", expire_ms=int(expires * 1000))
        # Clocks may differ by half a minute.
        jwt = signed(self.key, sub=f"{prefix}jwt", exp=int(expires) - 30)
        client = self.tls.issue(f"{prefix}certificate.test", expires=datetime.fromtimestamp(expires, UTC))
        found = []
        for name, token, connected in (
            ("secret", secret, self.tls.connect(server.address)),
            ("jwt", jwt, self.tls.connect(server.address)),
            ("certificate", None, self.tls.connect(server.mtls_address, client)),
        ):
            connection = await stack.enter_async_context(connected)
            found.append(Caller(connection.channel, shown(token, ACCOUNT), prefix + name))
        for caller in found:
            # With workers, each learns of the new tokens by itself.
            await eventually(lambda caller=caller: is_known(caller), f"{caller.name} is known")  # type: ignore[misc]
        return found


@pytest.fixture
def files(tmp_path: Path) -> Rights:
    return Rights(tmp_path)


@pytest.fixture(params=["1", "2"], ids=["one-process", "workers"])
def server(request: pytest.FixtureRequest, tmp_path: Path, files: Rights) -> Iterator[ServerProcess]:
    options = (*files.tls.mutual_options, *files.known.options, "--workers", request.param)
    with ServerProcess(tmp_path / "data", options=options).start() as process:
        yield process


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as entered:
        yield entered


async def is_known(caller: Caller) -> bool:
    stub = v1.ServerServiceStub(caller.channel)
    try:
        await stub.GetIdentity(v1.GetIdentityRequest(), metadata=caller.metadata)
    except grpc.aio.AioRpcError:
        return False
    return True


@pytest.mark.timeout(240)
async def test_streams_of_every_kind_end_with_every_kind_of_credential(
    server: ServerProcess, files: Rights, stack: AsyncExitStack
) -> None:
    began = time.monotonic()
    callers = await files.callers(server, stack)
    endings = [await begin(caller) for caller in callers for begin in STREAMS]
    # As long as it took here, and longer: a busy machine needs its time.
    seconds = 4 + 2 * (time.monotonic() - began)
    expiring = await files.callers(server, stack, prefix=_PREFIX, seconds=seconds)
    expiries = [await begin(caller) for caller in expiring for begin in STREAMS]
    files.grant(*_EXPIRING)
    await asyncio.gather(*(ended() for ended in (*endings, *expiries)))
    for caller in (*callers, *expiring):
        assert not await is_known(caller)
