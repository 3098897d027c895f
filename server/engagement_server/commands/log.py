"""`engagement log`: checks a replicated log, and gets its nodes going again after damage.

It imports the log itself only when it is run.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engagement_server.commands.serve import ServeError, sections_of, with_options
from engagement_server.errors import ConfigurationError, EngagementError, LogUnreachableError
from engagement_server.settings import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from engagement_server.commands.log_access import LogAccess
    from engagement_server.log.nats.checking import CheckedLog, Finding

_EPILOG = """\b
Examples:
  engagement log check --data data
  engagement log repair --from snapshot
  engagement log skip 4711
"""
_FOUND = 1
_SETTINGS = {"data", "partitions", "log", "log_name"}
_SETTINGS |= {"log_credentials", "log_tls_ca", "log_tls_cert", "log_tls_key"}
_SNAPSHOT = "snapshot"
_SEQUENCE = re.compile("[1-9][0-9]{0,17}")


class LogCommandError(ServeError):
    """The command cannot do it; the message says what to change."""


def _with_log_options(command: Callable[..., int]) -> Callable[..., int]:
    return with_options(command, is_wanted=_SETTINGS.__contains__)


@click.group(epilog=_EPILOG)
def log() -> None:
    """Check a replicated log, and repair what is damaged.

    The options are those of `engagement serve` on the same machine. The way
    back from each kind of damage is in docs/cluster.md.
    """


@log.command()
@_with_log_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each partition.")
def check(*, as_json: bool, **settings: Any) -> int:  # Any: each option has its own type
    """Read the whole log, and compare it with the view in this folder.

    Reads each server's copy of every message, which takes network and disk,
    and changes nothing. Nodes may run. Exit status 1: something is
    damaged, or a server of the log does not answer.
    """
    is_damaged = False
    for access in _accesses(settings):
        checked, view = _run(access.check())
        is_damaged |= bool(view.cause or checked.unread)
        is_damaged |= any(not finding.is_harmless for finding in checked.findings)
        if as_json:
            click.echo(json.dumps({"view": view._asdict(), **_as_json(checked)}))
        else:
            for line in (*_describe(checked), view.text):
                click.echo(line)
    return _FOUND if is_damaged else 0


@log.command()
@_with_log_options
@click.option(
    "--from",
    "source",
    required=True,
    metavar="snapshot|PATH",
    help="What to replace the view by: the latest snapshot in the log, or a copy of another node's folder or"
    " file.",
)
def repair(*, source: str, **settings: Any) -> int:  # Any: each option has its own type
    """Replace the view in this folder, whose server must be stopped.

    Nothing is lost that the log still has: the node applies what came after
    the snapshot or the copy. The old files are kept beside the new one. Exit
    status 1: a message of the log still stops the node.
    """
    path = None if source == _SNAPSHOT else Path(source)
    if path is not None and (not source.strip() or not path.exists()):
        raise LogCommandError(
            f"there is no file or folder {shown(source)}; give --from a copy, or {_SNAPSHOT}"
        )
    replaced = _run(_one(settings).repair(path))
    click.echo(
        f"replaced the view: it has applied message {replaced.position.sequence} of {replaced.last_sequence}."
        " The old files end with .aside; delete them when all is well"
    )
    if replaced.obstacle is not None:
        click.echo(
            f"message {replaced.obstacle.sequence} still stops this node: it {replaced.obstacle.cause}. Use a"
            " later snapshot or copy if there is one; otherwise skip it"
        )
    return 0 if replaced.obstacle is None else _FOUND


def _to_sequence(_context: click.Context, _parameter: click.Parameter, value: str) -> int:
    if _SEQUENCE.fullmatch(value) is None:
        raise click.BadParameter(f"must be a whole number, at least 1; got {shown(value)}")
    return int(value)


@log.command()
@click.argument("sequence", metavar="MESSAGE", callback=_to_sequence)
@_with_log_options
@click.option("--intact", is_flag=True, help="Skip the message even if it can be read, or this node has it.")
def skip(*, sequence: int, intact: bool, **settings: Any) -> int:  # Any: each option has its own type
    """Have all nodes skip a message that is missing or damaged everywhere.

    What it held is lost, including what was acknowledged. A node that had
    applied it refuses its partition until its view is replaced.
    """
    _run(_one(settings).skip(sequence, is_forced=intact))
    click.echo(f"all nodes skip message {sequence}")
    return 0


def _run(work: Any) -> Any:  # Any: the results of several coroutines
    try:
        return asyncio.run(work)
    except LogUnreachableError as error:
        raise LogCommandError(
            f"the log cannot be used: {error}. Check --log, and that its servers run"
        ) from error
    except EngagementError as error:
        raise LogCommandError(str(error)) from error


def _accesses(settings: dict[str, Any]) -> list[LogAccess]:
    """The log of each partition. Raises LogCommandError."""
    try:
        from engagement_server.commands.log_access import log_accesses  # noqa: PLC0415 - the server is an extra

        sections = dict(sections_of(settings))
        return log_accesses(sections["config"], sections["log"])
    except ModuleNotFoundError as error:
        raise LogCommandError(
            f"a replicated log needs {error.name}, which is not installed; install it with:"
            " pip install 'engagement-attributes[server,cluster]'"
        ) from error
    except ConfigurationError as error:
        raise LogCommandError(str(error)) from error


def _one(settings: dict[str, Any]) -> LogAccess:
    accesses = _accesses(settings)
    if len(accesses) > 1:
        raise LogCommandError("this concerns one partition; say which, as in --partitions 3/8")
    return accesses[0]


def _as_json(checked: CheckedLog) -> dict[str, Any]:
    """The result with the names of its fields."""
    return {**checked._asdict(), "findings": [finding._asdict() for finding in checked.findings]}


def _describe(checked: CheckedLog) -> list[str]:
    read = ", ".join(filter(None, checked.read)) or "the only server"
    lines = [
        f"{checked.name}: messages {checked.first_sequence} to {checked.last_sequence}, as kept by {read}"
    ]
    lines += [f"not read, because it does not answer: {server}" for server in checked.unread]
    everywhere = "all servers that answer" if checked.unread else "all servers"
    lines += [_describe_finding(finding, everywhere) for finding in checked.findings]
    if checked.is_cut:
        lines.append("there is more than is listed here")
    return lines


def _describe_finding(finding: Finding, everywhere: str) -> str:
    where = f"message {finding.sequence} is {finding.kind}"
    if finding.is_harmless:
        return f"{where}; it is skipped"
    if finding.is_everywhere:
        return f"{where} on {everywhere}; docs/cluster.md, “When the log is damaged”, has the way back"
    servers = ", ".join(finding.servers)
    return f"{where} on {servers}; others have it: stop {servers}, empty its folder, start it again"
