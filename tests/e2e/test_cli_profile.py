"""`engagement profile` against a real server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.support.cli_process import Cli
from tests.support.server_process import ServerProcess

EVENTS = (
    {
        "eventId": "e-1",
        "source": "crm",
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
        "source": "web",
        "consumerId": "c-1",
        "personalInfo": {
            "serverTimeStamp": "1700086400000",
            "otherContacts": [{"email": "z@example.com"}, {"phone": "2"}],
        },
    },
    {
        "eventId": "e-3",
        "source": "crm",
        "consumerId": "c-1",
        "authenticated": True,
        "customerInfo": {"serverTimeStamp": "1700086400000", "balance": ""},
    },
)
MERGED = """\
attribute\tvalue\ttime\tauthenticated\tevent_id\tsource
consumerId\tc-1\t\t\t\t
balance\t\t2023-11-15T22:13:20.000Z\ttrue\te-3\tcrm
customerId\tk-1\t2023-11-14T22:13:20.000Z\ttrue\te-1\tcrm
role\tbroker\\x1b[31m\t2023-11-14T22:13:20.000Z\ttrue\te-1\tcrm
lastPaymentDate\t2014-03-01\t2023-11-14T22:13:20.000Z\ttrue\te-1\tcrm
otherContacts[0].email\tz@example.com\t2023-11-15T22:13:20.000Z\tfalse\te-2\tweb
otherContacts[1].phone\t2\t2023-11-15T22:13:20.000Z\tfalse\te-2\tweb
"""

CONTESTED = (
    {
        "eventId": "f-1",
        "consumerId": "c-2",
        "authenticated": True,
        "customerInfo": {"serverTimeStamp": "1700086400000", "customerStatus": "GOLD", "customerType": "x"},
    },
    {
        "eventId": "f-2",
        "consumerId": "c-2",
        "source": "web",
        "customerInfo": {"serverTimeStamp": "1700086400001", "customerStatus": "lead", "balance": "2"},
    },
    {
        "eventId": "f-3",
        "consumerId": "c-2",
        "source": "crm",
        "customerInfo": {"serverTimeStamp": "1700000000000", "balance": "1"},
    },
)
REASONS = """\
attribute\tvalue\ttime\tauthenticated\tevent_id\tsource
consumerId\tc-2\t\t\t\t
customerStatus\tGOLD\t2023-11-15T22:13:20.000Z\ttrue\tf-1\t
matchedCustomerStatus\tGold\t2023-11-15T22:13:20.000Z\ttrue\tf-1\t
customerType\tx\t2023-11-15T22:13:20.000Z\ttrue\tf-1\t
balance\t2\t2023-11-15T22:13:20.001Z\tfalse\tf-2\tweb

Accepted later, but not shown:
attribute\twhy\ttime\tauthenticated\tevent_id\tsource
customerStatus\tonly the source of the value shown vouched for the customer\t2023-11-15T22:13:20.001Z\tfalse\tf-2\tweb
balance\tthe value shown is of a later time\t2023-11-14T22:13:20.000Z\tfalse\tf-3\tcrm
"""  # noqa: E501


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The command line for an account that holds EVENTS."""
    folder = tmp_path_factory.mktemp("profile")
    server = ServerProcess(folder / "data").start()
    cli = Cli(folder, server=server.address)
    assert cli.run("entities", "put", "status", "Gold").status == 0
    lines = map(json.dumps, (*EVENTS, *CONTESTED))
    assert cli.run("upload", str(cli.write("a.ndjson", *lines))).status == 0
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


def test_matched_names_sources_and_values_that_lost_are_shown(cli: Cli) -> None:
    shown = cli.run("profile", "--consumer", "c-2")
    assert (shown.status, shown.stdout) == (0, REASONS)
    profile = json.loads(cli.run("profile", "--consumer", "c-2", "--json").stdout)
    assert profile["beaten"]["customer_info.balance"]["rule"] == "RULE_LATER"
    assert profile["matchedCustomerStatus"] == "Gold"


def test_a_value_that_is_ahead_of_the_clock_is_not_shown_yet(cli: Cli) -> None:
    ahead = {
        "eventId": "g-1",
        "consumerId": "c-3",
        "customerInfo": {"serverTimeStamp": f"{(int(time.time()) + 3600) * 1000}", "balance": "1"},
    }
    assert cli.run("upload", str(cli.write("ahead.ndjson", json.dumps(ahead)))).status == 0
    lines = cli.run("profile", "--consumer", "c-3").stdout.splitlines()
    assert lines[1].split("\t")[:2] == ["consumerId", "c-3"]
    assert lines[5].split("\t")[:2] == ["balance", "its time has not come yet"]


def test_a_profile_of_the_past_has_only_earlier_events(cli: Cli) -> None:
    past = cli.run("profile", "--consumer", "c-2", "--as-of", "1700086400001").stdout
    assert "\tf-1\t" in past
    assert "balance\t1\t" in past
    done = cli.run("profile", "--consumer", "c-2", "--accepted-before", "2024-05-31")
    assert (done.status, done.stdout) == (1, "")
    wrong = cli.run("profile", "--consumer", "c-2", "--as-of", "yesterday")
    assert wrong.status == 2
    assert "'yesterday' is not an absolute time" in wrong.stderr


def test_a_profile_of_a_customer_names_other_consumers(cli: Cli) -> None:
    own = Cli(cli.folder, server=cli.server, account="several")
    events = [
        {"eventId": each, "consumerId": each, "customerInfo": {"customerId": "k-7", "role": each}}
        for each in ("web-1", "app-2")
    ]
    own.write("several.ndjson", *map(json.dumps, events))
    assert own.run("upload", "several.ndjson").status == 0
    shown = own.run("profile", "--customer", "k-7")
    assert "role\tapp-2\t" in shown.stdout
    assert shown.stderr == 'Other consumers were seen with this customer id: "web-1".\n'
    assert own.run("profile", "--customer", "k-7", "--json").stderr == ""
    assert own.run("profile", "--consumer", "web-1").stderr == ""


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
