"""Any call with any request, and all that its caller learns from it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2

from engagement import v1
from tests.support.contract import Method
from tests.support.waiting import deadline

Metadata = tuple[tuple[str, str], ...]
_DETAILS, _REQUEST_ID = "grpc-status-details-bin", "x-request-id"
# Made anew in each answer, or moving with the clock.
_MADE = frozenset(("cursor", "next_page_token", "source_salt", "erasure_id", "server_time_stamp"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a caller learns: the whole status with its details, and all messages but for what is made anew."""

    code: str
    message: str = ""
    reason: str = ""
    trailing: tuple[tuple[str, bytes], ...] = ()
    messages: tuple[bytes, ...] = ()

    def renamed(self, *names: tuple[str, str]) -> Outcome:
        """The same with other texts; those of a pair are equally long, so that lengths stay right."""
        changed = self
        for old, new in names:
            assert len(old) == len(new), (old, new)
            pair = old.encode(), new.encode()
            changed = replace(
                changed,
                message=changed.message.replace(old, new),
                trailing=tuple((key, value.replace(*pair)) for key, value in changed.trailing),
                messages=tuple(each.replace(*pair) for each in changed.messages),
            )
        return changed

    def __format__(self, form: str) -> str:
        return format(str(self), form)

    def holds(self, text: str) -> bool:
        """Whether a text is anywhere in it."""
        found = (self.message.encode(), *(value for _, value in self.trailing), *self.messages)
        return any(text.encode() in each for each in found)


async def outcome(
    channel: grpc.aio.Channel, method: Method, requests: Sequence[Message], metadata: Metadata
) -> Outcome:
    """Makes a call to its end."""
    messages: list[Message] = []
    name = f"/{method.containing_service.full_name}/{method.name}"
    answer = GetMessageClass(method.output_type).FromString
    serialize = type(requests[0]).SerializeToString
    call: Any = None  # of one of three kinds
    try:
        async with deadline(f"{method.name} ended"):
            if method.client_streaming:
                call = channel.stream_stream(name, response_deserializer=answer)(metadata=metadata)
                is_to_end = requests[-1].WhichOneof("message") == "finish"
                await _send(call, requests, is_to_end=is_to_end)
                while (message := await call.read()) is not grpc.aio.EOF:
                    messages.append(message)
                    if not is_to_end:
                        break
            elif method.server_streaming:
                start = channel.unary_stream(name, serialize, answer)
                call = start(requests[0], metadata=metadata)
                messages += [message async for message in call]
            else:
                start = channel.unary_unary(name, serialize, answer)  # type: ignore[assignment]
                call = start(requests[0], metadata=metadata)
                messages.append(await call)
    except grpc.aio.AioRpcError as error:
        return _refused(error, messages)
    finally:
        if call is not None:
            call.cancel()
    return Outcome("OK", messages=tuple(map(_told, messages)))


async def _send(call: Any, requests: Sequence[Message], *, is_to_end: bool) -> None:  # Any: the library's own
    """Writes past the library, which replaces the status of a stream that ends meanwhile with INTERNAL."""
    with suppress(grpc.aio.InternalError, grpc.aio.AioRpcError):
        await call.wait_for_connection()
        for request in requests:
            await call._cython_call.send_serialized_message(request.SerializeToString())
        if is_to_end:
            await call.done_writing()


def _refused(error: grpc.aio.AioRpcError, messages: Sequence[Message]) -> Outcome:
    trailing = {
        key: value if isinstance(value, bytes) else value.encode()
        for key, value in error.trailing_metadata()
        if key != _REQUEST_ID
    }
    info = error_details_pb2.ErrorInfo()
    for detail in status_pb2.Status.FromString(trailing.get(_DETAILS, b"")).details:
        detail.Unpack(info)
    return Outcome(
        error.code().name,
        str(error.details()),
        info.reason,
        tuple(sorted(trailing.items())),
        tuple(map(_told, messages)),
    )


def _told(message: Message) -> bytes:
    """The bytes of an answer without what is made anew."""
    _scrub(message)
    return message.SerializeToString(deterministic=True)


def _scrub(message: Message) -> None:
    for field, value in message.ListFields():
        if field.name in _MADE or field.message_type is Timestamp.DESCRIPTOR:
            message.ClearField(field.name)
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for item in value if field.is_repeated else (value,):
                _scrub(item)
    if isinstance(message, v1.PutEntitiesResponse):  # has what earlier calls have put
        message.ClearField("names")
