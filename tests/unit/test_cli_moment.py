"""Times on the command line."""

from __future__ import annotations

import click
import pytest

from engagement.cli.moment import read_moment, write_epoch_ms

OPTION = click.Option(["--since"])
CONTEXT = click.Context(click.Command("list"))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2024-05-31", "2024-05-31T00:00:00Z"),
        ("2024-05-31T12:00:00Z", "2024-05-31T12:00:00Z"),
        ("2024-05-31T12:00:00.250+02:00", "2024-05-31T10:00:00.250Z"),
        ("2024-05-31 12:00", "2024-05-31T12:00:00Z"),
        ("1717156800000", "2024-05-31T12:00:00Z"),
        ("0", "1970-01-01T00:00:00Z"),
    ],
)
def test_a_time_is_rfc_3339_a_date_or_epoch_milliseconds(text: str, meant: str) -> None:
    moment = read_moment(CONTEXT, OPTION, text)
    assert moment is not None
    assert moment.ToJsonString() == meant


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01", "99999999999999999999", "-1"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write 2024-05-31"):
        read_moment(CONTEXT, OPTION, text)


@pytest.mark.parametrize("text", ["20240531", "1717156800", "1"])
def test_a_number_that_is_a_day_or_seconds_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"Write a day as 2024-05-31, and seconds with three zeros"):
        read_moment(CONTEXT, OPTION, text)


def test_every_number_of_milliseconds_can_be_shown() -> None:
    assert write_epoch_ms(1) == "1970-01-01T00:00:00.001Z"
    assert write_epoch_ms(2**62) == str(2**62)
