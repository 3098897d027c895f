"""Quotas as users of the command line meet them: uploads wait for their rate, and end at a full account."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli_process import Cli
from tests.support.known_callers import KnownCallers, principal
from tests.support.server_process import ServerProcess
from tests.support.waiting import wait_until

RATE = 1_000
SCOPES = ["ingest", "read"]
FULL = principal("full", scopes=SCOPES, stored_bytes=10_000, max_new_accounts=1)
GRANTS = (
    principal("crm", scopes=SCOPES, events_per_second=RATE, concurrent_streams=4),
    FULL,
    principal("free", scopes=SCOPES),
)


@pytest.fixture
def callers(tmp_path: Path) -> KnownCallers:
    callers = KnownCallers(tmp_path / "access")
    callers.grant(*GRANTS)
    return callers


@pytest.fixture
def cli(tmp_path: Path, callers: KnownCallers) -> Iterator[dict[str, Cli]]:
    """The command line of each principal of a server with workers."""
    tokens = {each["name"]: callers.token(each["name"]) for each in GRANTS}
    workers = {"ENGAGEMENT_WORKERS": "2"}
    with ServerProcess(tmp_path / "data", environment=workers, options=callers.options).start() as server:
        yield {
            name: Cli(tmp_path, server=server.address, settings={"ENGAGEMENT_TOKEN": token})
            for name, token in tokens.items()
        }


def events(cli: Cli, count: int) -> str:
    """The path of a file of events."""
    lines = (
        json.dumps({"eventId": f"e-{number}", "customerInfo": {"balance": "1"}}) for number in range(count)
    )
    return str(cli.write("events.ndjson", *lines))


def test_whoami_shows_the_quotas(cli: dict[str, Cli]) -> None:
    crm, full = cli["crm"].run("whoami").stdout, cli["full"].run("whoami").stdout
    assert "events a second\t1,000\nconcurrent streams\t4\n" in crm
    assert "stored bytes of an account\t10,000\nnew accounts\t1\n" in full
    assert "events a second" not in full
    assert json.loads(cli["full"].run("whoami", "--json").stdout)["quotas"]["storedBytes"] == "10000"
    assert "quotas" not in json.loads(cli["free"].run("whoami", "--json").stdout)


def test_an_upload_waits_for_its_rate_and_completes(cli: dict[str, Cli]) -> None:
    done = cli["crm"].run("upload", events(cli["crm"], 4 * RATE))
    assert done.status == 0, done


def test_an_upload_into_a_full_account_says_why_it_ends_and_goes_on_with_a_higher_quota(
    cli: dict[str, Cli], callers: KnownCallers
) -> None:
    path = events(cli["full"], 2_000)
    ended = cli["full"].run("upload", path)
    assert ended.status not in (0, 1), ended
    assert (
        "the quota stored_bytes of 10,000 is used up; waiting does not help, so ask for more" in ended.stderr
    )
    callers.grant({**FULL, "stored_bytes": 1_000_000})
    wait_until(lambda: "1,000,000" in cli["full"].run("whoami").stdout, "the grant has its new quota")
    assert cli["full"].run("upload", path).status == 0
