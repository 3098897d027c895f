"""Where callers are asked who they are, the management port asks too, but not probes, nor for the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engagement import EngagementClient, v1
from tests.support.events import customer_event
from tests.support.known_callers import KnownCallers, principal
from tests.support.management import ask
from tests.support.server_process import ServerProcess
from tests.support.waiting import eventually

OPEN = ("/livez", "/readyz", "/", "/page.js", "/page.css", "/page.svg")
CLOSED = ("/metrics", "/stats.json", "/readyz?verbose", "/nowhere")


class Asking:
    """A server that asks, and the tokens of an operator and of a reader."""

    def __init__(self, folder: Path) -> None:
        callers = KnownCallers(folder / "access")
        callers.publish()
        self.operator, self.reader = callers.token("ops"), callers.token("reader")
        self.narrow, self.producer = callers.token("narrow"), callers.token("producer")
        callers.grant(
            principal("ops", accounts=["*"], scopes=["operate"]),
            principal("narrow", accounts=["brand-*", "acme"], scopes=["operate"]),
            principal("reader"),
            principal("producer", accounts=["*"], scopes=["ingest"]),
        )
        self.server = ServerProcess(
            folder / "data", environment={"ENGAGEMENT_HTTP": "127.0.0.1:0"}, options=callers.options
        )

    def status(self, path: str, token: str | None = None) -> int:
        """The status of an answer."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return ask(self.server.http_address, path, **headers).status


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    asking = Asking(tmp_path)
    with asking.server as server:
        server.start()
        yield asking


def test_only_operators_see_what_a_server_does(asking: Asking) -> None:
    for path in OPEN:
        assert asking.status(path) == 200, path
    for path in CLOSED:
        answered = 404 if path == "/nowhere" else 200
        assert asking.status(path) == asking.status(path, asking.reader) == 401, path
        assert asking.status(path, asking.operator + "x") == asking.status(path, "") == 401, path
        assert asking.status(path, asking.operator) == answered, path


async def test_operators_see_the_accounts_that_their_grant_covers(asking: Asking) -> None:
    everything, covered = ["acme", "brand-1", "other"], ["acme", "brand-1"]
    invalid = v1.Event(event_id="bad", consumer_id="\0", customer_info={})
    for account in everything:
        async with EngagementClient(
            asking.server.address, account_id=account, token=asking.producer
        ) as client:
            await client.record_events([customer_event("good"), invalid], allow_partial=True)

    def named(token: str) -> list[str]:
        answer = ask(asking.server.http_address, "/stats.json", authorization=f"Bearer {token}")
        return sorted({rule["accountId"] for rule in json.loads(answer.text)["rejectedRules"]})

    await eventually(lambda: named(asking.operator) == everything, "all are counted")
    assert named(asking.narrow) == covered
    for token, expected in (
        (asking.operator, ["acme", "brand-1", "other"]),
        (asking.narrow, ["acme", "brand-1"]),
    ):
        async with EngagementClient(asking.server.address, account_id="-", token=token) as client:
            for size in (1, 2, 1000):
                assert [each.account_id async for each in client.list_accounts(page_size=size)] == expected
            stats = await client.get_server_stats()
            assert sorted({rule.account_id for rule in stats.rejected_rules}) == expected
            assert stats.rejected_events == 3


def test_an_answer_to_a_stranger_says_what_to_send(asking: Asking) -> None:
    answer = ask(asking.server.http_address, "/metrics")
    assert answer.text == "send a token whose grant has the scope operate, as `Authorization: Bearer …`\n"
    assert answer.headers["www-authenticate"] == "Bearer"
