"""Where callers are asked who they are, the management port asks too, but not probes, nor for the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.known_callers import KnownCallers, principal
from tests.support.management import ask
from tests.support.server_process import ServerProcess

OPEN = ("/livez", "/readyz", "/", "/page.js", "/page.css", "/page.svg")
CLOSED = ("/metrics", "/stats.json", "/readyz?verbose", "/nowhere")


class Asking:
    """A server that asks, and the tokens of an operator and of a reader."""

    def __init__(self, folder: Path) -> None:
        callers = KnownCallers(folder / "access")
        callers.publish()
        self.operator, self.reader = callers.token("ops"), callers.token("reader")
        callers.grant(principal("ops", accounts=[], scopes=["operate"]), principal("reader"))
        self.server = ServerProcess(
            folder / "data", environment={"ENGAGEMENT_HTTP": ""}, options=callers.options
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


def test_an_answer_to_a_stranger_says_what_to_send(asking: Asking) -> None:
    answer = ask(asking.server.http_address, "/metrics")
    assert answer.text == "send a token whose grant has the scope operate, as `Authorization: Bearer …`\n"
    assert answer.headers["www-authenticate"] == "Bearer"
