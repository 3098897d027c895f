"""An upload stream without any client logic: the test decides on each message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc

from engagement import v1
from tests.support.waiting import deadline

if TYPE_CHECKING:
    from engagement.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub

Request = v1.UploadEventsRequest
Response = v1.UploadEventsResponse


def opening(*, upload_id: str = "upload", account_id: str = "acme") -> Request:
    return Request(open=Request.Open(account_id=account_id, upload_id=upload_id))


def chunk(sequence: int, *events: v1.Event) -> Request:
    return Request(chunk=Request.Chunk(sequence=sequence, events=events))


def finish(last_sequence: int) -> Request:
    return Request(finish=Request.Finish(last_sequence=last_sequence))


class RawUpload:
    """One stream."""

    def __init__(self, ingest: IngestServiceAsyncStub, *, metadata: Sequence[tuple[str, str]] = ()) -> None:
        self.call = ingest.UploadEvents(metadata=metadata)

    async def send(self, *requests: Request) -> None:
        """Writes requests, waiting while the transport takes no more, as long as the stream goes on."""
        # Past `call.write`, which replaces the status of a stream that ends meanwhile with INTERNAL.
        with suppress(grpc.aio.InternalError, grpc.aio.AioRpcError):  # reading tells why the stream has ended
            for request in requests:
                await self.send_bytes(request.SerializeToString())

    async def send_bytes(self, message: bytes) -> None:
        """Writes what need not be a message of the contract."""
        await self.call.wait_for_connection()
        await self.call._cython_call.send_serialized_message(message)  # type: ignore[attr-defined]

    async def receive(self) -> Response:
        """The next message of the server; raises AioRpcError if it refuses."""
        response = await self._read()
        assert response is not None, "the stream has ended"
        return response

    async def open(self) -> Response.Opened:
        """Opens the upload."""
        await self.send(opening())
        return (await self.receive()).opened

    async def receive_acks(self, through: int) -> list[Response.Ack]:
        """All acks until one covers a chunk."""
        acks: list[Response.Ack] = []
        while not acks or acks[-1].committed_through < through:
            response = await self.receive()
            assert response.HasField("ack"), response
            acks.append(response.ack)
        return acks

    async def receive_rest(self) -> list[Response]:
        """All messages to the end of the stream; raises AioRpcError if it is refused."""
        responses: list[Response] = []
        while (response := await self._read()) is not None:
            responses.append(response)
        return responses

    async def _read(self) -> Response | None:
        async with deadline("a message of the upload came"):
            response = await self.call.read()
        return response if isinstance(response, Response) else None


def kinds(responses: Iterable[Response]) -> list[str | None]:
    """The kinds of the messages, consecutive acks as one."""
    found: list[str | None] = []
    for response in responses:
        kind = response.WhichOneof("message")
        if kind != "ack" or found[-1:] != ["ack"]:
            found.append(kind)
    return found
