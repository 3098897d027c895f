"""`engagement token` and `engagement whoami`, as operators and callers use them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from engagement_server.access.secrets import find_secret, token_id_of
from engagement_server.access.token_file import TokenFile
from tests.support.cli_process import Cli, event_line
from tests.support.known_callers import KnownCallers, principal
from tests.support.server_process import ServerProcess
from tests.support.tls_files import TlsFiles


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def test_a_token_is_printed_once_and_alone(cli: Cli) -> None:
    made = cli.run("token", "create", "crm", "--tokens", "tokens.json")
    assert made.status == 0
    token = made.stdout.removesuffix("\n")
    assert token_id_of(token) == "crm"
    assert token not in made.stderr
    assert 'tokens = ["crm"]' in made.stderr
    assert find_secret(TokenFile(cli.folder / "tokens.json").secrets(), token)
    listed = cli.run("token", "list", "--tokens", "tokens.json")
    (secret,) = TokenFile(cli.folder / "tokens.json").secrets()
    assert secret.digest not in listed.stdout
    assert listed.stdout.split("\t")[0] == "crm"
    assert "never expires\tnot used yet\n" in listed.stdout


def test_a_rotation_ends_with_the_old_secret(cli: Cli) -> None:
    old = cli.run("token", "create", "crm", "--tokens", "tokens.json").stdout.strip()
    rotated = cli.run("token", "rotate", "crm", "--tokens", "tokens.json", "--expires", "90d")
    assert "engagement token revoke crm --old" in rotated.stderr
    assert cli.run("token", "list", "--tokens", "tokens.json").stdout.count("crm (secret ") == 2
    assert cli.run("token", "rotate", "crm", "--tokens", "tokens.json").status == 2
    assert cli.run("token", "revoke", "crm", "--old", "--tokens", "tokens.json").status == 0
    secrets = TokenFile(cli.folder / "tokens.json").secrets()
    assert find_secret(secrets, rotated.stdout.strip())
    assert not find_secret(secrets, old)


def test_the_list_is_complete_as_json(cli: Cli) -> None:
    made = cli.run("token", "create", "crm", "--tokens", "tokens.json", "--expires", "12h", "--json").json()
    assert made["id"] == "crm"
    assert token_id_of(made["token"]) == "crm"
    listed = [
        json.loads(line)
        for line in cli.run("token", "list", "--tokens", "tokens.json", "--json").stdout.splitlines()
    ]
    (secret,) = listed[0]["secrets"]
    assert listed[0]["id"] == "crm"
    assert secret.keys() == {"create_time", "expire_time", "is_expired", "last_use_time"}
    assert secret["expire_time"] == made["expire_time"]
    assert not secret["is_expired"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("revoke", "crm", "--tokens", "tokens.json"), 1, "there is no token 'crm'"),
        (("rotate", "crm", "--tokens", "tokens.json"), 1, "there is no token 'crm'"),
        (("create", "a b", "--tokens", "tokens.json"), 2, "1 to 64 letters"),
        (("create", "crm"), 2, "--tokens FILE"),
        (("list",), 2, "--tokens FILE"),
        (("create", "crm", "--tokens", "tokens.json", "--expires", "soon"), 2, "such as 90d"),
        (("create", "crm", "--tokens", "tokens.json", "--expires", "0d"), 2, "such as 90d"),
        (("create", "crm", "--tokens", "nowhere/tokens.json"), 2, "No such file"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    cli: Cli, arguments: tuple[str, ...], status: int, message: str
) -> None:
    failed = cli.run("token", *arguments)
    assert failed.status == status
    assert message in failed.stderr
    assert failed.stdout == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tokens", "t"), "do nothing without --grants"),
        (("--jwt-keys", "k", "--jwt-issuer", "i", "--jwt-audience", "a"), "do nothing without --grants"),
        (("--grants", "g"), "needs --tokens or --jwt-keys"),
        (("--grants", "g", "--jwt-keys", "k"), "needs --jwt-issuer and --jwt-audience"),
        (("--grants", "g", "--jwt-keys", "k", "--jwt-issuer", "i"), "needs --jwt-issuer and --jwt-audience"),
        (("--grants", "g", "--tokens", "t", "--jwt-issuer", "i"), "need --jwt-keys"),
        (("--grants", "missing.toml", "--tokens", "t"), "--grants: cannot read missing.toml"),
    ],
)
def test_half_of_an_identity_is_refused_at_the_start(
    cli: Cli, options: tuple[str, ...], message: str
) -> None:
    failed = cli.run_process("serve", "--listen", "127.0.0.1:0", *options)
    assert failed.status == 2
    assert message in failed.stderr
    assert len(failed.stderr.splitlines()) == 1
    assert not (cli.folder / "data").exists()


def test_whoami_says_that_nobody_is_asked(server_process: ServerProcess, tmp_path: Path) -> None:
    cli = Cli(tmp_path, server=server_process.address)
    shown = cli.run("whoami").stdout
    assert "principal\tnobody: the server does not ask who calls\n" in shown
    assert "accounts\tall\n" in shown
    assert "scopes\tingest, read, read.pii, erase, entities, operate, admin\n" in shown
    assert cli.run("whoami", "--json").json()["principal"] == ""


def test_a_command_that_is_told_to_go_on_with_reaches_the_server_as_well(tmp_path: Path) -> None:
    callers, files = KnownCallers(tmp_path / "access"), TlsFiles(tmp_path / "tls")
    callers.publish()
    callers.grant(principal("crm", scopes=["ingest", "read", "read.pii"]))
    (tmp_path / "token").write_text(callers.token("crm"))
    (tmp_path / "ca.pem").write_bytes(files.authority.cert_pem.bytes())
    options = (*callers.options, *files.options)
    with ServerProcess(tmp_path / "data", options=options).start() as server:
        cli = Cli(tmp_path, server="127.0.0.1:1")
        cli.write("events.ndjson", event_line("first"))
        reaching = ("--server", f"https://{server.address}", "--ca", "ca.pem", "--token-file", "token")
        assert cli.run("upload", "events.ndjson", *reaching).status == 0
        exported = cli.run("export", "out.ndjson", *reaching)
        assert exported.status == 0
        command = shlex.split(exported.stderr.splitlines()[-1])
        assert command[:2] == ["engagement", "tail"]
        followed = cli.run(*command[1:], "--accepted-until", "2024-01-01")
    assert (followed.status, followed.stdout) == (0, ""), followed.stderr
