"""A server that plays the conversations of `clients/vectors` with clients of any language.

A case lists the calls that the server expects, in order, and for each call the messages to receive and send
and the times to wait. The account id of a call selects the case. The server records every deviation from
the script; `ListEntities` of the account returns them, together with the calls that never came.

Usage: python -m clients.vectors.scripted_server
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import trustme
from google.protobuf import any_pb2, json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from engagement import v1

CONVERSATIONS = Path(__file__).parent / "conversations.json"
_STEP_TIMEOUT_SECONDS = 20.0
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

Json = Any  # a value that json.loads returns
Context = grpc.aio.ServicerContext[Message, Message]
if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]  # each method has message types of its own


class ScriptError(Exception):
    """A client deviated from the script."""


@dataclass
class Conversation:
    """The state of one case: the calls that are left and the deviations so far."""

    name: str
    calls: list[Json]
    problems: list[str] = field(default_factory=list)
    upload_pages: list[Json] = field(default_factory=list)
    """Pages that every call of GetUpload reads from."""
    _names: dict[str, Json] = field(default_factory=dict)
    _last_end: float = 0.0

    def begin(self, method: str, metadata: Mapping[str, str]) -> list[Json]:
        """Takes the steps of the next call. Raises ScriptError if the script expects another call."""
        if not self.calls:
            raise ScriptError(f"unexpected call of {method}")
        call = self.calls[0]
        if call["method"] != method:
            raise ScriptError(f"call of {method} instead of {call['method']}")
        if not call.get("repeats"):
            self.calls.pop(0)
        waited_seconds = time.monotonic() - self._last_end
        if waited_seconds < call.get("not_before_seconds", 0):
            raise ScriptError(f"{method} came too early: {waited_seconds:.3f} s after the previous call")
        for key, value in call.get("metadata", {}).items():
            if metadata.get(key) != value:
                raise ScriptError(f"{method}: metadata {key} is {metadata.get(key)!r}, not {value!r}")
        steps: list[Json] = call["steps"]
        return steps

    def end(self) -> None:
        """Notes the end of a call, from which the next one counts its delay."""
        self._last_end = time.monotonic()

    def compare(self, place: str, expected: Json, actual: Json) -> None:
        """Raises ScriptError if a received value differs from the expected one.

        Only the members that the script names are compared; a member that it names null must be absent.
        "$name" matches any string and "$uuid7:name" any UUIDv7; later, each matches only the same string.
        """
        if isinstance(expected, dict) and isinstance(actual, dict):
            for key, value in expected.items():
                if value is not None or key in actual:
                    self.compare(f"{place}.{key}", value, actual.get(key))
        elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
            for index, (value, other) in enumerate(zip(expected, actual, strict=True)):
                self.compare(f"{place}[{index}]", value, other)
        elif isinstance(expected, str) and expected.startswith("$"):
            if expected.startswith("$uuid7:") and not _UUID7.fullmatch(actual or ""):
                raise ScriptError(f"{place} is {actual!r}, not a UUIDv7")
            if self._names.setdefault(expected, actual) != actual:
                raise ScriptError(f"{place} is {actual!r}, not {self._names[expected]!r} as before")
        elif expected != actual:
            raise ScriptError(f"{place} is {json.dumps(actual)}, not {json.dumps(expected)}")

    def fill(self, value: Json) -> Json:
        """Replaces the names in a value to send with the strings that they matched."""
        if isinstance(value, dict):
            return {key: self.fill(member) for key, member in value.items()}
        if isinstance(value, list):
            return [self.fill(member) for member in value]
        return self._names.get(value, value) if isinstance(value, str) else value


class ScriptedServer:
    """Plays every case once, beginning with its first call."""

    def __init__(self) -> None:
        cases = json.loads(CONVERSATIONS.read_text())["cases"]
        self._conversations = {case["name"]: Conversation(case["name"], case["server"]) for case in cases}

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Handlers for the methods that conversations use."""
        ingest = {
            "RecordEvent": self._unary(v1.RecordEventRequest, v1.RecordEventResponse),
            "RecordEvents": self._unary(v1.RecordEventsRequest, v1.RecordEventsResponse),
            "GetUpload": grpc.unary_unary_rpc_method_handler(
                self._get_upload, v1.GetUploadRequest.FromString, v1.GetUploadResponse.SerializeToString
            ),
            "UploadEvents": grpc.stream_stream_rpc_method_handler(
                self._upload, v1.UploadEventsRequest.FromString, v1.UploadEventsResponse.SerializeToString
            ),
        }
        events = {
            "ListEvents": self._unary(v1.ListEventsRequest, v1.ListEventsResponse),
            "SubscribeEvents": grpc.unary_stream_rpc_method_handler(
                self._subscribe,
                v1.SubscribeEventsRequest.FromString,
                v1.SubscribeEventsResponse.SerializeToString,
            ),
        }
        entities = {
            "ListEntities": grpc.unary_unary_rpc_method_handler(
                self._list_problems,
                v1.ListEntitiesRequest.FromString,
                v1.ListEntitiesResponse.SerializeToString,
            )
        }
        services = {"IngestService": ingest, "EventService": events, "EntityService": entities}
        return [
            grpc.method_handlers_generic_handler(f"engagement.v1.{name}", methods)
            for name, methods in services.items()
        ]

    def _conversation(self, account_id: str) -> Conversation:
        if account_id not in self._conversations:
            self._conversations[account_id] = Conversation(account_id, [])
        return self._conversations[account_id]

    async def _list_problems(
        self, request: v1.ListEntitiesRequest, context: Context
    ) -> v1.ListEntitiesResponse:
        conversation = self._conversation(request.account_id)
        never = [f"{call['method']} was not called" for call in conversation.calls if not call.get("repeats")]
        return v1.ListEntitiesResponse(names=conversation.problems + never)

    async def _get_upload(self, request: v1.GetUploadRequest, context: Context) -> v1.GetUploadResponse:
        conversation = self._conversation(request.account_id)
        pages = conversation.upload_pages
        if not pages:
            await _refuse(context, conversation, "unexpected call of GetUpload")
        number = int(request.page_token or 0)
        response = json_format.ParseDict(conversation.fill(pages[number]), v1.GetUploadResponse())
        if number + 1 < len(pages):
            response.next_page_token = str(number + 1)
        return response

    def _unary(self, request_type: type[Message], response_type: type[Message]) -> Handler:
        async def answer(request: Message, context: Context) -> Message:
            replies: list[Message] = []

            async def send(message: Message) -> None:
                replies.append(message)

            call = _Call(context, response_type, send=send, received=[request])
            await self._play(request_type.__name__.removesuffix("Request"), call, request)
            return replies[0]

        return grpc.unary_unary_rpc_method_handler(
            answer, request_type.FromString, response_type.SerializeToString
        )

    async def _subscribe(self, request: v1.SubscribeEventsRequest, context: Context) -> None:
        call = _Call(context, v1.SubscribeEventsResponse, send=context.write, received=[request])
        await self._play("SubscribeEvents", call, request)

    async def _upload(self, _: object, context: Context) -> None:
        # The account id is in the first message.
        opening: Any = await context.read()
        call = _Call(context, v1.UploadEventsResponse, send=context.write, received=[opening])
        await self._play("UploadEvents", call, opening.open)

    async def _play(self, method: str, call: _Call, request: Any) -> None:
        conversation = self._conversation(request.account_id)
        try:
            metadata = {key: str(value) for key, value in call.context.invocation_metadata() or ()}
            for step in conversation.begin(method, metadata):
                await call.play(step, conversation)
        except ScriptError as error:
            await _refuse(call.context, conversation, str(error))
        finally:
            conversation.end()


@dataclass
class _Call:
    """One call as the server plays it."""

    context: Context
    response_type: type[Message]
    send: Callable[[Message], Awaitable[None]]
    received: list[Message]
    """Messages that have been read and not yet compared."""
    _reading: asyncio.Future[Message] | None = None

    async def play(self, step: Json, conversation: Conversation) -> None:
        """Plays one step. Raises ScriptError if the client deviates from it."""
        ((kind, value),) = step.items()
        match kind:
            case "receive":
                message = await self._read()
                conversation.compare(type(message).__name__, value, _json(message))
            case "send":
                await self.send(json_format.ParseDict(conversation.fill(value), self.response_type()))
            case "quiet_seconds":
                await self._require_quiet(value)
            case "receive_end":
                if (message := await self._read()) is not None:
                    raise ScriptError(f"unexpected {_json(message)}")
            case "wait_seconds":
                await asyncio.sleep(value)
            case "silence":
                await self._await_cancellation()
            case "get_upload":
                conversation.upload_pages = value
            case "status":
                conversation.end()
                await self._abort(value)
            case _:
                raise ScriptError(f"unknown step {kind}")

    async def _read(self) -> Message | None:
        """The next message; None after a half-close."""
        if self.received:
            return self.received.pop()
        if not await self._has_arrived(_STEP_TIMEOUT_SECONDS):
            raise ScriptError(f"no message for {_STEP_TIMEOUT_SECONDS:g} s")
        reading, self._reading = self._reading, None
        assert reading is not None
        message = reading.result()
        return message if isinstance(message, Message) else None

    async def _require_quiet(self, seconds: float) -> None:
        """Requires silence for so long. A later message belongs to the next step."""
        if self.received or await self._has_arrived(seconds):
            raise ScriptError(f"unexpected {_json(await self._read())}")

    async def _has_arrived(self, timeout_seconds: float) -> bool:
        if self._reading is None:
            self._reading = asyncio.ensure_future(self.context.read())
        done, _ = await asyncio.wait([self._reading], timeout=timeout_seconds)
        return bool(done)

    async def _await_cancellation(self) -> None:
        """Stays silent until the client abandons the call."""
        async with asyncio.timeout(_STEP_TIMEOUT_SECONDS):
            await asyncio.Event().wait()

    async def _abort(self, value: Json) -> None:
        code = grpc.StatusCode[value["code"]]
        trailing = []
        if "reason" in value:
            trailing.append(("grpc-status-details-bin", _details(code, value).SerializeToString()))
        if "pushback_ms" in value:
            trailing.append(("grpc-retry-pushback-ms", str(value["pushback_ms"])))
        await self.context.abort(code, value.get("message", "as the script says"), tuple(trailing))


async def _refuse(context: Context, conversation: Conversation, problem: str) -> None:
    conversation.problems.append(problem)
    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{conversation.name}: {problem}")


def _details(code: grpc.StatusCode, value: Json) -> status_pb2.Status:
    status = status_pb2.Status(code=code.value[0], message=value.get("message", ""))
    info = error_details_pb2.ErrorInfo(
        reason=value["reason"], domain="engagement.v1", metadata=value.get("metadata", {})
    )
    details: list[Message] = [info]
    if "retry_delay_seconds" in value:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(value["retry_delay_seconds"] * 1e9))
        details.append(retry)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _json(message: Message | None) -> Json:
    return None if message is None else json_format.MessageToDict(message)


async def _serve() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    credentials = grpc.ssl_server_credentials(
        [
            (
                certificate.private_key_pem.bytes(),
                b"".join(blob.bytes() for blob in certificate.cert_chain_pems),
            )
        ]
    )
    # Two of these must never get the same port.
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(tuple(ScriptedServer().handlers()))
    port = server.add_insecure_port("127.0.0.1:0")
    tls_port = server.add_secure_port("localhost:0", credentials)
    with tempfile.TemporaryDirectory() as folder:
        ca_file = Path(folder) / "ca.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        await server.start()
        addresses = {
            "address": f"127.0.0.1:{port}",
            "tls_address": f"localhost:{tls_port}",
            "ca_file": str(ca_file),
        }
        print(json.dumps(addresses), flush=True)
        await stop.wait()
        await server.stop(None)


if __name__ == "__main__":
    asyncio.run(_serve())
