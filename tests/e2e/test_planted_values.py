"""Values of persons are planted in every field of every call; nobody finds them who may not see them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pb2 import MethodOptions

from engagement_server.access.scopes import SCOPES
from tests.support.attack_calls import Metadata, Outcome, outcome
from tests.support.audit_lines import AuditFiles
from tests.support.collector import Collector, collector
from tests.support.connection import ACCOUNT, connect
from tests.support.contract import Method, methods
from tests.support.known_callers import KnownCallers, principal, shown
from tests.support.management import ask
from tests.support.personal_events import OPEN, SECRET
from tests.support.planted_values import IDENT, KEY, right_and_wrong_requests
from tests.support.server_process import ServerProcess
from tests.support.waiting import eventually

_PAGES = ("/metrics", "/readyz?verbose", "/stats.json", "/", "/page.js")
_READS = MethodOptions.NO_SIDE_EFFECTS
_OPEN_METRICS = "application/openmetrics-text"


@pytest.fixture
def collected() -> Iterator[Collector]:
    with collector() as running:
        yield running


@pytest.fixture
def audit(tmp_path: Path) -> AuditFiles:
    return AuditFiles(tmp_path)


@pytest.fixture
def callers(tmp_path: Path) -> dict[str, Metadata]:
    """What callers show, by who they are."""
    return {}


@pytest.fixture(params=[("1", "json"), ("2", "text")], ids=["one-process", "workers"])
def server(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    collected: Collector,
    audit: AuditFiles,
    callers: dict[str, Metadata],
) -> Iterator[ServerProcess]:
    workers, log_format = request.param
    known = KnownCallers(tmp_path / "access")
    scopes = {
        "unmasked": sorted(SCOPES),
        "masked": sorted(SCOPES.keys() - {"read.pii"}),
        "scopeless": [],
        "elsewhere": sorted(SCOPES),
    }
    known.grant(
        *(
            principal(name, scopes=granted, accounts=["other" if name == "elsewhere" else ACCOUNT])
            for name, granted in scopes.items()
        )
    )
    callers.update({name: shown(known.token(name), ACCOUNT) for name in scopes})
    callers["nobody"] = shown(None, ACCOUNT)
    options = (
        *known.options,
        *audit.options(),
        *("--log-level", "debug", "--log-format", log_format, "--workers", workers),
        *("--trace-endpoint", collected.url, "--trace-sampling", "1"),
    )
    environment = {"ENGAGEMENT_HTTP": "127.0.0.1:0"}
    with ServerProcess(tmp_path / "data", environment=environment, options=options).start() as process:
        yield process


async def call_everything(channel: grpc.aio.Channel, metadata: Metadata) -> list[tuple[Method, Outcome]]:
    """Makes right and wrong calls of all methods."""
    return [
        (method, await outcome(channel, method, requests, metadata))
        for method in methods()
        for requests in right_and_wrong_requests(method, ACCOUNT)
    ]


@pytest.mark.timeout(300)
async def test_no_planted_value_is_anywhere_but_in_unmasked_answers(
    server: ServerProcess, callers: dict[str, Metadata], collected: Collector, audit: AuditFiles
) -> None:
    found: dict[str, list[tuple[Method, Outcome]]] = {}
    async with connect(server.address) as connection:
        await call_everything(connection.channel, callers["unmasked"])  # so that there is something to read
        for name, metadata in callers.items():
            found[name] = await call_everything(connection.channel, metadata)
    told = {name: [each for _, each in calls if _tells(each, SECRET)] for name, calls in found.items()}
    assert not any(outcomes for name, outcomes in told.items() if name != "unmasked"), told
    # In answers, and in no error.
    assert told["unmasked"]
    assert all(each.code == "OK" for each in told["unmasked"]), told["unmasked"]
    read = [each for method, each in found["masked"] if method.GetOptions().idempotency_level == _READS]
    assert not any(_tells(each, KEY) for each in read)
    assert any(_tells(each, OPEN) for each in read)
    token = dict(callers["unmasked"])["authorization"]

    def pages() -> str:
        answers = [ask(server.http_address, path, authorization=token) for path in _PAGES]
        answers.append(ask(server.http_address, "/metrics", authorization=token, accept=_OPEN_METRICS))
        assert {each.status for each in answers} == {200}
        return "\n".join(each.text for each in answers)

    def has_counted() -> bool:
        return 'engagement_refused_total{reason="TOKEN_MISSING"}' in pages()

    await eventually(has_counted, "workers have sent what they have counted")
    written = {"pages": pages()}
    assert server.stop() == 0
    written |= {"log": server.messages + server.output.decode(), "traces": str(collected.spans)}
    written["audit log"] = audit.text
    assert collected.spans
    assert audit.text.count('"event":"end"')
    for name, text in written.items():
        for marker in (SECRET, KEY, IDENT):
            assert marker not in text.lower(), (name, marker, _around(text, marker))


def _tells(found: Outcome, marker: str) -> bool:
    """Whether an answer has a marker, whatever its case."""
    parts = (found.message.encode(), *(value for _, value in found.trailing), *found.messages)
    return any(marker.encode() in part.lower() for part in parts)


def _around(text: str, marker: str) -> str:
    place = text.lower().find(marker)
    return text[max(0, place - 200) : place + 200]
