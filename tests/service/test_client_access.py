"""Tokens and certificates of the Python client, beyond the cases that all clients share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any  # messages of any type

import grpc
import pytest
import trustme

from engagement import DeadlineError, EngagementClient, v1
from engagement.channel import tls_credentials
from engagement.tokens import Tokens
from tests.support.waiting import deadline

_SECRET = "t1"


Context = grpc.aio.ServicerContext[Any, Any]  # of every method


async def tell_version(_: object, context: Context) -> v1.GetServerInfoResponse:
    return v1.GetServerInfoResponse(version=_caller(context))


async def tell_twice(_: object, context: Context) -> AsyncIterator[v1.SubscribeEventsResponse]:
    for _ in range(2):
        yield v1.SubscribeEventsResponse(cursor=_caller(context))
    await asyncio.Event().wait()


def _caller(context: Context) -> str:
    (name,) = context.auth_context()["x509_subject_alternative_name"]
    return name.decode()


@asynccontextmanager
async def naming_server(authority: trustme.CA) -> AsyncIterator[str]:
    """Tells each caller, as its version and in a stream, whose certificate it has seen."""
    certificate = authority.issue_cert("localhost")
    credentials = grpc.ssl_server_credentials(
        [(certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())],
        root_certificates=authority.cert_pem.bytes(),
        require_client_auth=True,
    )
    server = grpc.aio.server()
    info: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(
        tell_version, response_serializer=v1.GetServerInfoResponse.SerializeToString
    )
    subscription: grpc.RpcMethodHandler[Any, Any] = grpc.unary_stream_rpc_method_handler(
        tell_twice, response_serializer=v1.SubscribeEventsResponse.SerializeToString
    )
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler("engagement.v1.ServerService", {"GetServerInfo": info}),
            grpc.method_handlers_generic_handler(
                "engagement.v1.EventService", {"SubscribeEvents": subscription}
            ),
        )
    )
    port = server.add_secure_port("localhost:0", credentials)
    await server.start()
    try:
        yield f"localhost:{port}"
    finally:
        await server.stop(None)


def credentials_of(authority: trustme.CA, name: str) -> grpc.ChannelCredentials:
    certificate = authority.issue_cert(name)
    return tls_credentials(
        ca=authority.cert_pem.bytes(),
        certificate=certificate.cert_chain_pems[0].bytes(),
        key=certificate.private_key_pem.bytes(),
    )


async def test_a_certificate_is_replaced_while_a_stream_goes_on_with_the_former_one() -> None:
    authority = trustme.CA()
    async with (
        deadline("all calls are made"),
        naming_server(authority) as address,
        EngagementClient(
            address, account_id="acme", credentials=credentials_of(authority, "first.example.com")
        ) as client,
    ):
        stream = (await client.subscribe_events(v1.SubscribeEventsRequest())).call
        assert "first.example.com" in str(await stream.read())
        assert (await client.get_server_info()).version == "first.example.com"
        client.replace_credentials(credentials_of(authority, "second.example.com"))
        assert (await client.get_server_info()).version == "second.example.com"
        assert "first.example.com" in str(await stream.read())
        await client.close()
        assert await stream.code() is grpc.StatusCode.CANCELLED


async def test_a_client_in_plain_text_does_not_become_an_encrypted_one() -> None:
    async with EngagementClient("127.0.0.1:1", account_id="acme") as client:
        with pytest.raises(ValueError, match="create one with credentials"):
            client.replace_credentials(tls_credentials())


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(ValueError, match="both"):
        tls_credentials(certificate=b"pem")


async def test_calls_at_once_wait_for_one_answer() -> None:
    asks = 0
    answer = asyncio.Event()

    async def source() -> str:
        nonlocal asks
        asks += 1
        await answer.wait()
        return _SECRET

    tokens = Tokens(source)
    async with deadline("all have a token"):
        waiting = [asyncio.create_task(tokens.current(timeout_seconds=60.0)) for _ in range(5)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        answer.set()
        assert await asyncio.gather(*waiting[1:]) == [_SECRET] * 4
    assert asks == 1


async def test_a_newer_answer_is_not_discarded_for_an_older_one() -> None:
    answers = iter(["t1", "t2", "t3"])
    tokens = Tokens(lambda: (next(answers), time.time() + 3600))
    assert await tokens.current(timeout_seconds=1.0) == "t1"
    for _ in range(2):  # as two calls that failed with the same token
        assert tokens.discard("t1")
        assert await tokens.current(timeout_seconds=1.0) == "t2"


async def test_a_failure_of_the_function_is_that_of_the_call() -> None:
    def source() -> str:
        raise LookupError("the vault is closed")

    async with EngagementClient("127.0.0.1:1", account_id="acme", token=source) as client:
        with pytest.raises(LookupError, match="vault"):
            await client.get_server_info()
        with pytest.raises(LookupError, match="vault"):
            await anext(client.follow(earliest=True))


async def test_waiting_for_a_token_counts_towards_the_deadline() -> None:
    async def source() -> str:
        await asyncio.Event().wait()
        return _SECRET

    async with EngagementClient(
        "127.0.0.1:1", account_id="acme", token=source, timeout_seconds=0.1
    ) as client:
        with pytest.raises(DeadlineError, match="no token"):
            await client.get_server_info()
