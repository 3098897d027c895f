"""Probes never say who they are; whoever wants to see more may have to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.responses import PlainTextResponse

from engagement_server.access.principals import ALL_ACCOUNTS, Accounts
from engagement_server.http.guard import Guard
from engagement_server.http.hosts import Hosts

if TYPE_CHECKING:
    from starlette.datastructures import Headers


def is_known(headers: Headers) -> Accounts | None:
    return ALL_ACCOUNTS if headers.get("authorization") == "Bearer good" else None


async def status(guard: Guard, target: str, *, token: str = "") -> int:
    """The status that a request gets."""
    path, _, query = target.partition("?")
    headers = [(b"host", b"localhost")]
    if token:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": query.encode(),
        "headers": headers,
        "client": ("192.0.2.1", 4711),
    }
    await guard(scope, receive, send)
    code: int = sent[0]["status"]
    return code


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/readyz?anything"])
async def test_a_probe_is_not_asked(path: str) -> None:
    guard = Guard(PlainTextResponse("ok"), hosts=Hosts("127.0.0.1"), look=is_known)
    assert await status(guard, path) == 200


@pytest.mark.parametrize(
    "path", ["/metrics", "/stats.json", "/readyz?verbose", "/readyz?verbos%65=1", "/livez/", "/nothing"]
)
async def test_everything_else_asks_if_there_is_somebody_to_ask(path: str) -> None:
    guard = Guard(PlainTextResponse("ok"), hosts=Hosts("127.0.0.1"), look=is_known)
    assert await status(guard, path) == 401
    assert await status(guard, path, token="bad") == 401
    assert await status(guard, path, token="good") == 200
    assert await status(Guard(PlainTextResponse("ok"), hosts=Hosts("127.0.0.1")), path) == 200


async def test_whoever_is_refused_is_told_to_the_audit_log() -> None:
    refused: list[str] = []
    guard = Guard(PlainTextResponse("ok"), hosts=Hosts("127.0.0.1"), look=is_known, on_refused=refused.append)
    assert await status(guard, "/metrics", token="good") == 200
    assert await status(guard, "/livez") == 200
    assert refused == []
    assert await status(guard, "/metrics") == 401
    assert refused == ["192.0.2.1"]
