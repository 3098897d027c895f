"""Whatever a setting is given, the server starts with it or ends with one sentence and status 2.

The settings are those of the code, so a new one is tried by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import click
import pytest

from engagement_server.commands.serve import config_sections, environment_variable, sections_of, serve
from engagement_server.errors import ConfigurationError
from engagement_server.settings import option_name, type_name
from tests.support.cli_process import Cli
from tests.support.nats_certificates import NatsCertificates
from tests.support.nats_cluster import NatsCluster
from tests.support.server_process import ServerProcess
from tests.support.waiting import wait_until

SECTIONS = {setting.name: section for section in config_sections().values() for setting in fields(section)}
SETTINGS: dict[str, Field[Any]] = {
    setting.name: setting for section in config_sections().values() for setting in fields(section)
}
NUMBERS = [name for name, setting in SETTINGS.items() if type_name(setting) in {"int", "float"}]
TEXTS = ["nan", "inf", "-inf", "-1", "0", "1e12", "1e400", "", " ", "x", "9" * 5000, "1_0", "٣", "½", "1;2"]
NO_NUMBERS = ["", " ", "x", "1_0", "٣", "½", "1;2", "nan", "inf", "1e400", "9" * 5000]
OF_PROGRAMS: list[object] = [
    None,
    "",
    "x",
    1,
    -1,
    1.5,
    float("nan"),
    10**5000,
    True,
    b"x",
    [],
    Path("x"),
    Path("a\0b"),
]
KINDS: dict[str, tuple[type, ...]] = {
    "float": (float, int),
    "int": (int,),
    "str": (str,),
    "bool": (bool,),
    "Path": (Path,),
}
LOG = "--log=nats://127.0.0.1:1"


def is_of_the_log(name: str) -> bool:
    return SECTIONS[name].__name__ == "LogConfig"


def read(*arguments: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The settings that `serve` would start with."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (environment or {}).items():
            patch.setenv(name, value)
        options = serve.make_context("serve", list(arguments)).params
    sections = dict(sections_of({name: value for name, value in options.items() if name in SETTINGS}))
    return {
        setting.name: getattr(section, setting.name)
        for section in sections.values()
        for setting in fields(section)
    }


def assert_is_a_sentence(text: str, name: str) -> None:
    """What is wrong with which setting, in plain English and with an end to what it quotes."""
    assert option_name(name) in text or "partitions of" in text
    assert "\n" not in text
    assert len(text) < 300
    assert not re.search(
        r"float|integer|range|Error|Path\(|engagement_server|env var|\bnot a valid\b", text
    ), text


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", SETTINGS)
def test_a_text_is_a_value_within_its_bounds_or_refused_with_a_sentence(name: str, text: str) -> None:
    setting = SETTINGS[name]
    needed = [LOG] if is_of_the_log(name) and name != "log" else []
    is_flag = type_name(setting) == "bool"
    variable = {environment_variable(name): text}
    option = [f"{option_name(name)}={text}"]
    try:
        given = read(*needed, *([] if is_flag else option), environment=variable if is_flag else None)
    except (ConfigurationError, click.ClickException) as error:
        assert_is_a_sentence(str(error), name)
        if text:  # an empty variable is one that is not set
            with pytest.raises((ConfigurationError, click.ClickException)):
                read(*needed, environment=variable)
    else:
        value = given[name]
        if name in NUMBERS:
            assert text not in NO_NUMBERS
            assert setting.metadata["bounds"].include(value)
        elif text and not is_flag:
            assert str(value) == text


@pytest.mark.parametrize("name", SETTINGS)
def test_a_program_that_passes_another_type_gets_a_sentence(name: str) -> None:
    needed = {"log": "nats://127.0.0.1:1"} if is_of_the_log(name) else {}
    for value in OF_PROGRAMS:
        try:
            section = SECTIONS[name](**(needed | {name: value}))
        except ConfigurationError as error:
            assert_is_a_sentence(str(error), name)
        else:
            found = getattr(section, name)
            assert found is None or isinstance(found, KINDS[type_name(SETTINGS[name])])


@pytest.mark.parametrize("name", NUMBERS)
def test_each_number_has_bounds_on_both_sides(name: str) -> None:
    bounds = SETTINGS[name].metadata["bounds"]
    assert bounds.at_most is not None
    assert (bounds.at_least is None) != (bounds.above is None)


def extreme(name: str, *, is_highest: bool) -> str:
    """The highest or lowest value that a number may have."""
    bounds = SETTINGS[name].metadata["bounds"]
    if is_highest:
        return str(bounds.at_most)
    return str(bounds.at_least) if bounds.at_least is not None else "1e-9"


@pytest.mark.parametrize("is_highest", [True, False])
def test_a_server_starts_with_all_numbers_at_their_bounds(tmp_path: Path, is_highest: bool) -> None:
    # Each worker is a process, disk space is taken, and a lame duck is as long as it was asked for.
    left_out = {"workers", "reserve_megabytes", "lame_duck_seconds"}
    chosen = [name for name in NUMBERS if not is_of_the_log(name) and name not in left_out]
    options = [f"{option_name(name)}={extreme(name, is_highest=is_highest)}" for name in chosen]
    with ServerProcess(
        tmp_path / "data", options=(*options, "--allow-short-retention", "--reserve-megabytes=0")
    ) as server:
        server.start()
        assert server.stop() == 0
    assert "Traceback" not in server.messages


@pytest.mark.parametrize("is_highest", [True, False])
def test_a_node_starts_with_all_numbers_of_its_log_at_their_bounds(tmp_path: Path, is_highest: bool) -> None:
    chosen = [name for name in NUMBERS if is_of_the_log(name) and name != "log_replicas"]
    options = [f"{option_name(name)}={extreme(name, is_highest=is_highest)}" for name in chosen]
    with (
        NatsCluster(tmp_path / "nats", size=1) as nats,
        ServerProcess(
            tmp_path / "data", options=(*options, f"--log={nats.url}", "--log-replicas=1")
        ) as server,
    ):
        server.start()
        assert server.stop() == 0
    assert "Traceback" not in server.messages


def refused(folder: Path, *arguments: str, **variables: str) -> str:
    """What the server says when it ends with status 2, after which there is no new folder."""
    before = sorted(folder.iterdir())
    done = Cli(folder, settings=variables).run_process("serve", *arguments)
    assert done.status == 2, done
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if "waiting for the log" not in line]
    assert len(lines) == 1, done.stderr
    assert sorted(folder.iterdir()) == before
    return lines[0]


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nowhere.invalid:1", "the host of nowhere.invalid:1 is not known here; choose another address"),
        ("a..b:1", "the host of a..b:1 is not known here; choose another address"),
        ("192.0.2.1:1", "cannot listen on 192.0.2.1:1: Cannot assign requested address; choose another"),
        ("127.0.0.1:99999", "--listen must be HOST:PORT, such as 127.0.0.1:50051; got '127.0.0.1:99999'"),
        ("127.0.0.1:٣", "--listen must be HOST:PORT, such as 127.0.0.1:50051; got '127.0.0.1:٣'"),
        ("::1:1", "--listen must be HOST:PORT, such as 127.0.0.1:50051, with an IPv6 address in brackets"),
        ("unix:/run/x", "--listen must be HOST:PORT"),
        ("http://127.0.0.1:1", "--listen must be HOST:PORT"),
    ],
)
def test_an_address_that_cannot_be_is_refused(
    tmp_path: Path, address: str, message: str, workers: str
) -> None:
    options = ("--workers", workers, "--insecure-no-tls", "--insecure-no-auth", "--log-level", "error")
    assert refused(tmp_path, "--listen", address, *options).startswith(f"engagement: {message}")


def test_one_port_cannot_be_for_calls_and_for_http(tmp_path: Path) -> None:
    error = refused(tmp_path, "--listen=127.0.0.1:50999", "--http=127.0.0.1:50999")
    assert error == "engagement: --http and --listen are both 127.0.0.1:50999; give each a port of its own"


def test_a_data_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("mount/data")
    for name, cause in (
        ("file", "it is not a folder"),
        ("file/data", "Not a directory"),
        ("loop", "it is not a folder"),
        ("gone", "it is not a folder"),
        ("n" * 256, "File name too long"),
    ):
        error = refused(tmp_path, "--listen=127.0.0.1:0", f"--data={name}")
        text = f"the data folder {name} cannot be used: {cause}; choose another with --data DIR"
        assert error == f"engagement: {text}"


@pytest.mark.parametrize("variable", ["engagement_listen", "Engagement_Listen", "ENGAGEMENT_LISTN"])
def test_a_variable_that_is_nearly_a_setting_is_refused(tmp_path: Path, variable: str) -> None:
    error = refused(tmp_path, **{variable: "127.0.0.1:0"})
    assert error.endswith(f"variable {variable} is no setting; did you mean ENGAGEMENT_LISTEN?")


def test_an_option_is_preferred_to_its_variable(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", environment={"ENGAGEMENT_LISTEN": "nowhere"})
    with server:
        server.start()
        assert server.stop() == 0


@pytest.mark.parametrize("name", [name for name in SETTINGS if is_of_the_log(name) and name != "log"])
def test_a_setting_of_the_log_without_the_log_is_refused(name: str) -> None:
    other = "1" if name in NUMBERS else "x"
    with pytest.raises(
        ConfigurationError, match=f"{option_name(name)} is for a replicated log, .* give --log as well"
    ):
        read(f"{option_name(name)}={other}")


@pytest.mark.parametrize("option", ["--log-credentials", "--log-tls-ca"])
def test_files_for_the_log_are_read_before_the_folder_is_made(tmp_path: Path, option: str) -> None:
    (tmp_path / "file").write_text("x")
    for name, cause in (("missing", "No such file or directory"), ("file", "hold|expected")):
        error = refused(tmp_path, "--listen=127.0.0.1:0", LOG, f"{option}={name}")
        assert re.match(rf"engagement: {option} {name} (cannot be used|must hold).*({cause})", error)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    first, second = (NatsCertificates.make(tmp_path / name) for name in ("a", "b"))
    options = f"--log-tls-cert={first.client}", f"--log-tls-key={second.client_key}"
    error = refused(tmp_path, "--listen=127.0.0.1:0", "--log=tls://127.0.0.1:1", *options)
    assert "cannot be used: expected a certificate and its key (PEM)" in error


def test_servers_of_the_log_that_cannot_be_used_end_the_start(tmp_path: Path) -> None:
    others = NatsCertificates.make(tmp_path / "others")
    ours = "--listen=127.0.0.1:0", "--log-replicas=1", "--data=data"
    with NatsCluster(tmp_path / "plain", size=1) as nats:
        address = nats.url.removeprefix("nats://")
        assert "it does not use TLS; give its address as nats://" in refused(
            tmp_path, *ours, f"--log=tls://user:secret@{address}"
        )
    with NatsCluster(tmp_path / "tls", size=1, verifies_clients=True) as nats:
        files = nats.certificates
        assert files is not None
        trusting = f"--log-tls-ca={files.authority}"
        assert "its certificate is not trusted" in refused(
            tmp_path, *ours, f"--log={nats.url}", f"--log-tls-ca={others.authority}"
        )
        assert "it refuses our certificate; check --log-tls-cert" in refused(
            tmp_path, *ours, f"--log={nats.url}", trusting
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check"], "Connection refused. Check --log, and that its servers run"),
        (["check", "--data="], "--data must be a path"),
        (["check", "--log-credentials=missing"], "No such file or directory; name a file"),
        (
            ["repair", "--from=missing"],
            "there is no file or folder 'missing'; give --from a copy, or snapshot",
        ),
        (["repair", "--from="], "there is no file or folder ''"),
        (["repair", "--from=snapshot"], "Connection refused. Check --log"),
        (["skip", "9" * 30], "must be a whole number, at least 1"),
    ],
)
def test_commands_for_the_log_say_what_is_wrong_and_leave_no_folder(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = Cli(tmp_path).run_process("log", *arguments, LOG)
    assert done.status == 2
    assert message in done.stderr.splitlines()[0]
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_does_not_answer_is_waited_for(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", options=(LOG,)) as server:
        server.launch()
        text = "waiting for the log engagement-0of1: nats://127.0.0.1:1: Connection refused"
        wait_until(lambda: text in server.messages, "the server says what it waits for")
        assert not server.has_ended
        assert server.stop() == 0
    assert not (tmp_path / "data").exists()
