"""`engagement profile` against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.cli_process import Cli
from tests.support.server_process import ServerProcess

EVENTS = (
    {
        "eventId": "e-1",
        "consumerId": "c-1",
        "authenticated": True,
        "customerInfo": {
            "serverTimeStamp": "1700000000000",
            "customerId": "k-1",
            "role": "broker\u001b[31m",
            "lastPaymentDate": {"year": 2014, "month": 3, "day": 1},
        },
    },
    {
        "eventId": "e-2",
        "consumerId": "c-1",
        "personalInfo": {
            "serverTimeStamp": "1700086400000",
            "otherContacts": [{"email": "z@example.com"}, {"phone": "2"}],
        },
    },
    {
        "eventId": "e-3",
        "consumerId": "c-1",
        "authenticated": True,
        "customerInfo": {"serverTimeStamp": "1700086400000", "balance": ""},
    },
)
MERGED = """\
attribute\tvalue\ttime\tauthenticated\tevent_id\tsource
consumerId\tc-1\t\t\t\t
balance\t\t2023-11-15T22:13:20.000Z\ttrue\te-3\ta.ndjson
customerId\tk-1\t2023-11-14T22:13:20.000Z\ttrue\te-1\ta.ndjson
role\tbroker\\x1b[31m\t2023-11-14T22:13:20.000Z\ttrue\te-1\ta.ndjson
lastPaymentDate\t2014-03-01\t2023-11-14T22:13:20.000Z\ttrue\te-1\ta.ndjson
otherContacts[0].email\tz@example.com\t2023-11-15T22:13:20.000Z\tfalse\te-2\ta.ndjson
otherContacts[1].phone\t2\t2023-11-15T22:13:20.000Z\tfalse\te-2\ta.ndjson
"""


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The command line for an account that holds EVENTS."""
    folder = tmp_path_factory.mktemp("profile")
    server = ServerProcess(folder / "data").start()
    cli = Cli(folder, server=server.address)
    assert cli.run("upload", str(cli.write("a.ndjson", *map(json.dumps, EVENTS)))).status == 0
    yield cli
    server.kill()


@pytest.mark.parametrize("subject", [("--consumer", "c-1"), ("--customer", "k-1")])
def test_a_profile_shows_each_value_with_its_event(cli: Cli, subject: tuple[str, str]) -> None:
    shown = cli.run("profile", *subject)
    assert (shown.status, shown.stdout) == (0, MERGED)


def test_replacing_shows_the_latest_event_of_each_set(cli: Cli) -> None:
    lines = cli.run("profile", "--consumer", "c-1", "--replace").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines[2:]] == [
        "balance",
        "otherContacts[0].email",
        "otherContacts[1].phone",
    ]


def test_json_is_the_whole_profile(cli: Cli) -> None:
    profile = json.loads(cli.run("profile", "--consumer", "c-1", "--json").stdout)
    assert profile["customerInfo"]["balance"] == ""
    assert profile["sources"]["customer_info.role"]["eventId"] == "e-1"


def test_an_unknown_consumer_is_not_found(cli: Cli) -> None:
    done = cli.run("profile", "--consumer", "nobody")
    assert (done.status, done.stdout) == (1, "")
    assert "no event of the account describes the consumer with consumerId 'nobody'" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("--consumer", "c-1", "--customer", "k-1")])
def test_one_subject_is_required(cli: Cli, arguments: tuple[str, ...]) -> None:
    done = cli.run("profile", *arguments)
    assert done.status == 2
    assert "Give either --consumer or --customer." in done.stderr
