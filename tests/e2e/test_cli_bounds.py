"""Errors about numbers and sizes name the option that was typed, in plain English."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli_process import Cli


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["serve", "--workers", "65"], "--workers must be a whole number from 1 to 64; got 65"),
        (
            ["serve", "--reserve-megabytes", "-1"],
            "--reserve-megabytes must be a whole number from 0 to 65536; got -1",
        ),
        (
            ["serve", "--heartbeat-seconds", "0"],
            "--heartbeat-seconds must be a number from 0.01 to 3600; got 0.0",
        ),
        (
            ["serve", "--retention-days", "36501"],
            "--retention-days must be a number more than 0 and at most 36500; got 36501.0",
        ),
        (
            ["serve", "--max-memory", "much"],
            "--max-memory must be a size such as 512M, 1.5G or 2G; got 'much'",
        ),
        (
            ["serve", "--retention-days", "0.5"],
            "--retention-days is less than a day, which removes almost everything; give"
            " --allow-short-retention as well to mean it; got 0.5",
        ),
        (
            ["serve", "--partitions", "2"],
            "more than one partition needs a replicated log; give --log as well",
        ),
        (["serve", "--http", "a"], "--http must be HOST:PORT, such as 127.0.0.1:9464, or off; got 'a'"),
        (["list", "--limit", "-1"], "Invalid value for '--limit': must be at least 0; got -1"),
        (["tail", "--limit", "0"], "Invalid value for '--limit': must be at least 1; got 0"),
        (["log", "skip", "0"], "Invalid value for 'MESSAGE': must be a whole number, at least 1; got '0'"),
        (
            ["log", "skip", "nan"],
            "Invalid value for 'MESSAGE': must be a whole number, at least 1; got 'nan'",
        ),
        (
            ["retention", "set", "--days", "nan"],
            "Invalid value for '--days': must be more than 0 and at most 36500; got nan",
        ),
        (
            ["retention", "set", "--days", "0"],
            "Invalid value for '--days': must be more than 0 and at most 36500; got 0",
        ),
    ],
)
def test_an_error_names_the_option_and_its_bounds(tmp_path: Path, arguments: list[str], error: str) -> None:
    cli = Cli(tmp_path)
    # A server that is not refused would run on.
    done = cli.run_process(*arguments) if arguments[0] == "serve" else cli.run(*arguments)
    assert (done.status, done.stderr.splitlines()[0]) == (2, f"engagement: {error}")
    assert list(tmp_path.iterdir()) == []


def test_help_shows_bounds_in_words_and_the_forms_of_a_size(tmp_path: Path) -> None:
    shown = " ".join(Cli(tmp_path).run("serve", "--help").stdout.split())
    assert "such as 512M, 1.5G or 2G." in shown
    assert "Must be from 1 to 64." in shown
    assert "Must be more than 0 and at most 36500." in shown
    assert "<=" not in shown
