"""A server that plays the conversations of `clients/vectors` with clients of any language.

A case lists the calls that the server expects, in order, and for each call the messages to receive and send
and the times to wait. The account id of a call selects the case. The server records every deviation from
the script; `ListEntities` of the account returns them, together with the calls that never came.

Usage: python -m clients.vectors.scripted_server
"""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from google.protobuf import any_pb2, json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from clients.vectors.conversation import ACCOUNT_KEY, Conversation, Json, Metadata, ScriptError
from engagement import v1

CONVERSATIONS = Path(__file__).parent / "conversations.json"
_STEP_TIMEOUT_SECONDS = 20.0

Context = grpc.aio.ServicerContext[Message, Message]
if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]  # each method has message types of its own


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
        server = {
            "GetServerInfo": grpc.unary_unary_rpc_method_handler(
                _tell_version, v1.GetServerInfoRequest.FromString, v1.GetServerInfoResponse.SerializeToString
            )
        }
        services = {
            "IngestService": ingest,
            "EventService": events,
            "EntityService": entities,
            "ServerService": server,
        }
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
        with conversation.noting_problems():
            conversation.require_account("ListEntities", _metadata(context))
        return v1.ListEntitiesResponse(names=conversation.problems + never)

    async def _get_upload(self, request: v1.GetUploadRequest, context: Context) -> v1.GetUploadResponse:
        conversation = self._conversation(request.account_id)
        with conversation.noting_problems():
            conversation.require_account("GetUpload", _metadata(context))
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
            for step in conversation.begin(method, _metadata(call.context)):
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


async def _tell_version(_: v1.GetServerInfoRequest, context: Context) -> v1.GetServerInfoResponse:
    if ACCOUNT_KEY in _metadata(context):
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "GetServerInfo is not about an account")
    return v1.GetServerInfoResponse(version="scripted")


def _metadata(context: Context) -> Metadata:
    values: dict[str, list[str]] = {}
    for key, value in context.invocation_metadata() or ():
        values.setdefault(key, []).append(str(value))
    return values


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
    client_certificate = authority.issue_cert("client.example.com")
    # Two of these must never get the same port.
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(tuple(ScriptedServer().handlers()))
    port = server.add_insecure_port("127.0.0.1:0")
    tls_port = server.add_secure_port("localhost:0", _credentials(certificate))
    mutual_tls_port = server.add_secure_port(
        "localhost:0", _credentials(certificate, clients=authority.cert_pem.bytes())
    )
    with tempfile.TemporaryDirectory() as folder:
        ca_file, certificate_file, key_file = (
            Path(folder) / name for name in ("ca.pem", "client.pem", "client.key")
        )
        authority.cert_pem.write_to_path(str(ca_file))
        certificate_file.write_bytes(_chain(client_certificate))
        key_file.write_bytes(_pkcs8(client_certificate.private_key_pem.bytes()))
        await server.start()
        addresses = {
            "address": f"127.0.0.1:{port}",
            "tls_address": f"localhost:{tls_port}",
            "mutual_tls_address": f"localhost:{mutual_tls_port}",
            "ca_file": str(ca_file),
            "certificate_file": str(certificate_file),
            "key_file": str(key_file),
        }
        print(json.dumps(addresses), flush=True)
        await stop.wait()
        await server.stop(None)


def _credentials(certificate: trustme.LeafCert, *, clients: bytes | None = None) -> grpc.ServerCredentials:
    """TLS with a certificate; with `clients`, only for clients with a certificate of that authority."""
    pair = (certificate.private_key_pem.bytes(), _chain(certificate))
    return grpc.ssl_server_credentials(
        [pair], root_certificates=clients, require_client_auth=clients is not None
    )


def _pkcs8(key: bytes) -> bytes:
    """A key in the form that all libraries read."""
    loaded = load_pem_private_key(key, password=None)
    return loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _chain(certificate: trustme.LeafCert) -> bytes:
    return b"".join(blob.bytes() for blob in certificate.cert_chain_pems)


if __name__ == "__main__":
    asyncio.run(_serve())
