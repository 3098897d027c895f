"""What a user hears of an outage: one line when it begins, one when it ends."""

from __future__ import annotations

import re

import pytest

from engagement import UnavailableError
from engagement.cli.outage import OutageReport

LOST = UnavailableError(
    "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: "
    "Failed to connect to remote host: Connection refused"
)


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_attempts_are_silent_between_the_loss_and_the_return(capsys: pytest.CaptureFixture[str]) -> None:
    outage = OutageReport()
    outage.end()
    assert told(capsys) == []
    for _ in range(2):
        for _ in range(20):
            outage.begin(LOST)
        assert told(capsys) == ["engagement: Connection lost (Connection refused); reconnecting."]
        outage.end()
        outage.end()
        (line,) = told(capsys)
        assert re.fullmatch(r"engagement: Connected again after \d+\.\d s\.", line)


def test_a_server_that_is_back_and_refuses_is_told_once_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    outage = OutageReport()
    refused = UnavailableError("the server is starting", reason="STARTING")
    for error in (LOST, refused, LOST, refused):
        outage.begin(error)
    assert told(capsys) == [
        "engagement: Connection lost (Connection refused); reconnecting.",
        "engagement: The server cannot go on now: the server is starting. Waiting for it.",
    ]
