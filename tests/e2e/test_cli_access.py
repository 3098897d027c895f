"""How the command line reaches a guarded server: tokens, TLS, certificates, and profiles that keep them."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import click
import pytest
import trustme

from engagement.cli.access import TokenFile
from engagement.cli.connection import connect
from engagement.cli.connection_options import server_option
from engagement.cli.failures import CommandError
from engagement.client import EngagementClient
from tests.support.cli_process import Cli
from tests.support.guarded_server import GuardedServer, server_credentials

TOKEN = "eng_1_secret"


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def with_settings(cli: Cli, **settings: str) -> Cli:
    return replace(cli, settings=settings)


def test_a_token_comes_from_a_file_the_environment_or_a_profile(cli: Cli) -> None:
    cli.write("token", TOKEN)
    with GuardedServer(tokens=[TOKEN]).start() as address:
        of_file = cli.run("info", "--server", address, "--token-file", "token")
        of_variable = with_settings(cli, ENGAGEMENT_TOKEN=TOKEN).run("info", "--server", address)
        named = with_settings(cli, ENGAGEMENT_TOKEN_FILE="token").run("info", "--server", address)
        assert cli.run("config", "set", "guarded", "--token-file", "token").status == 0
        of_profile = cli.run("info", "--server", address)
        over_variable = with_settings(cli, ENGAGEMENT_TOKEN="other").run(
            "info", "--server", address, "--token-file", "token"
        )
        over_profile = with_settings(cli, ENGAGEMENT_TOKEN="other").run("info", "--server", address)
    for done in (of_file, of_variable, named, of_profile, over_variable):
        assert (done.status, "guarded" in done.stdout) == (0, True), done
    assert over_profile.status == 2


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "asks for a token. Name a file with one by --token-file, set ENGAGEMENT_TOKEN, or keep"),
        ({"ENGAGEMENT_TOKEN": "unknown"}, "The token of ENGAGEMENT_TOKEN is not one that the server knows."),
        ({"ENGAGEMENT_TOKEN": "old"}, "The token of ENGAGEMENT_TOKEN has expired."),
        ({"ENGAGEMENT_TOKEN": "weak"}, "Ask whoever runs the server for the scope read"),
        ({"ENGAGEMENT_TOKEN": "foreign"}, "Choose an account of the token of ENGAGEMENT_TOKEN"),
        ({"ENGAGEMENT_TOKEN": "a", "ENGAGEMENT_TOKEN_FILE": "b"}, "are both set; unset one"),
    ],
)
def test_a_refusal_says_what_to_do(settings: dict[str, str], sentence: str, cli: Cli) -> None:
    reasons = {"old": "TOKEN_EXPIRED", "weak": "SCOPE_MISSING", "foreign": "ACCOUNT_FORBIDDEN"}
    with GuardedServer(reasons=reasons).start() as address:
        done = with_settings(cli, **settings).run_process("info", "--server", address)
    assert (done.status, done.stdout, sentence in done.stderr) == (2, "", True), done
    (line,) = done.stderr.splitlines()
    assert line.startswith("engagement: ")


def test_a_token_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    tokens = TokenFile(path)
    assert tokens() == "first"
    path.write_text("second, which is longer".replace(" ", "-"))
    assert tokens() == "second,-which-is-longer"
    path.write_text("two words")
    with pytest.raises(CommandError, match="and nothing else"):
        tokens()


def test_a_token_does_not_leave_this_machine_in_plain_text(cli: Cli) -> None:
    settings = with_settings(cli, ENGAGEMENT_TOKEN=TOKEN)
    done = settings.run("info", "--server", "engagement.invalid:50051")
    assert (done.status, "in plain text. Use TLS with https://engagement.invalid:50051" in done.stderr) == (
        2,
        True,
    )
    allowed = settings.run("info", "--server", "engagement.invalid:50051", "--allow-plaintext-token")
    assert (allowed.status, "plain text" in allowed.stderr) == (2, False)
    assert TOKEN not in done.stderr + allowed.stderr


def test_tls_trusts_the_authority_that_is_named_and_no_other(cli: Cli) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(cli.folder / "ca.pem"))
    with GuardedServer(tokens=[TOKEN]).start(server_credentials(authority)) as address:
        settings = with_settings(cli, ENGAGEMENT_TOKEN=TOKEN)
        trusting = settings.run("info", "--server", address, "--ca", "ca.pem")
        distrusting = settings.run("info", "--server", f"https://{address}")
    assert (trusting.status, trusting.stderr) == (0, "")
    assert (distrusting.status, "name the file of its authority with --ca" in distrusting.stderr) == (2, True)


def write_pair(folder: Path, authority: trustme.CA, name: str) -> None:
    certificate = authority.issue_cert(name)
    (folder / "cert.pem").write_bytes(certificate.cert_chain_pems[0].bytes())
    (folder / "key.pem").write_bytes(certificate.private_key_pem.bytes())


def test_a_running_command_shows_a_renewed_certificate(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(cli.folder / "ca.pem"))
    write_pair(cli.folder, authority, "first.example.com")
    server = GuardedServer(tokens=[TOKEN])

    @click.command()
    @server_option
    def call_twice(server: str) -> None:
        with connect(server) as connection:
            connection.call(EngagementClient.get_server_info)
            write_pair(cli.folder, authority, "the.second.example.com")
            connection.call(EngagementClient.get_server_info)

    monkeypatch.chdir(cli.folder)
    monkeypatch.setenv("ENGAGEMENT_TOKEN", TOKEN)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(cli.folder))
    with server.start(server_credentials(authority, asks_for_certificate=True)) as address:
        options = ["--server", address, "--ca", "ca.pem", "--cert", "cert.pem", "--key", "key.pem"]
        call_twice.main(options, standalone_mode=False)
    assert server.callers == ["first.example.com", "the.second.example.com"]


def test_a_certificate_without_its_key_is_refused(cli: Cli) -> None:
    done = cli.run("info", "--cert", "cert.pem")
    assert (done.status, "give both --cert and --key" in done.stderr) == (2, True)


def test_profiles_are_kept_used_and_listed(cli: Cli) -> None:
    assert "There are no profiles in" in cli.run("config", "list").stderr
    cli.run("config", "set", "one", "--server", "one.example:1", "--account", "a", "--ca", "ca.pem")
    cli.run("config", "set", "two", "--server", "two.example:2", "--token-file", "t")
    assert cli.run("config", "list").stdout.splitlines() == ["* one", "  two"]
    cli.run("config", "use", "two")
    cli.run("config", "set", "two", "--token-file", "", "--account", "b")
    assert cli.run("config", "list").stdout.splitlines() == ["  one", "* two"]
    file = cli.folder / "configuration" / "engagement" / "config.toml"
    assert file.stat().st_mode & 0o777 == 0o600
    assert tomllib.loads(file.read_text()) == {
        "profile": "two",
        "profiles": {
            "one": {"server": "one.example:1", "account": "a", "ca": "ca.pem"},
            "two": {"server": "two.example:2", "account": "b"},
        },
    }
    missing = cli.run("config", "use", "three")
    assert (missing.status, "There is no profile 'three' in" in missing.stderr) == (2, True)


def test_an_option_counts_more_than_a_variable_and_that_more_than_the_profile(cli: Cli) -> None:
    cli.run("config", "set", "one", "--server", "of.profile:1", "--account", "of-profile", "--ca", "ca.pem")

    def shown(*arguments: str, **settings: str) -> dict[str, str]:
        # Without the variables that the tests set by default.
        variables = {"ENGAGEMENT_SERVER": "", "ENGAGEMENT_ACCOUNT": "", **settings}
        done = with_settings(cli, **variables).run("config", "show", *arguments)
        assert done.status == 0, done
        return dict(line.split("\t") for line in done.stdout.splitlines())

    assert shown() == {
        "profile": "one",
        "server": "of.profile:1 (TLS)  [profile]",
        "account": "of-profile  [profile]",
        "token-file": "none",
        "ca": "ca.pem  [profile]",
        "cert": "none",
        "key": "none",
    }
    assert shown(ENGAGEMENT_ACCOUNT="of-variable")["account"] == "of-variable  [environment]"
    assert shown("--account", "given", ENGAGEMENT_ACCOUNT="x")["account"] == "given  [option]"
    secret = shown(ENGAGEMENT_TOKEN=TOKEN)
    assert secret["token"] == "set  [environment: ENGAGEMENT_TOKEN]"
    assert TOKEN not in str(secret)


def test_a_profile_is_named_by_an_option_or_a_variable(cli: Cli) -> None:
    for name in ("one", "two"):
        cli.run("config", "set", name, "--ca", f"{name}.pem")
    assert "ca\ttwo.pem" in cli.run("config", "show", "--profile", "two").stdout
    assert "ca\ttwo.pem" in cli.run("--profile", "two", "config", "show").stdout
    assert "ca\ttwo.pem" in with_settings(cli, ENGAGEMENT_PROFILE="two").run("config", "show").stdout
    unknown = cli.run("info", "--profile", "three")
    assert (unknown.status, "only: one, two." in unknown.stderr) == (2, True)


@pytest.mark.parametrize(
    ("text", "mode", "flaw"),
    [
        ("profile = 'one'", 0o644, "Others may use"),
        ("profile = ", 0o600, "is not TOML"),
        ("[profiles.one]\ntoken = 'secret'", 0o600, "must have `profile`"),
        ("profile = 'gone'", 0o600, "There is no profile 'gone'"),
    ],
)
def test_a_file_of_profiles_that_cannot_be_is_refused(text: str, mode: int, flaw: str, cli: Cli) -> None:
    file = cli.folder / "configuration" / "engagement" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    file.chmod(mode)
    done = cli.run("info")
    assert (done.status, flaw in done.stderr, "secret" in done.stderr) == (2, True, False), done
