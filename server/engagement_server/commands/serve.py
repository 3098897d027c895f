"""`engagement serve`: runs the server. It imports the server itself only when it is run."""

from __future__ import annotations

import gc
import json
import os
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

# Before anything loads gRPC, which reads it then: else each failed handshake of anybody is a line on standard
# error, in a format of the library's own.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from engagement_server.commands.environment import require_spelled
from engagement_server.commands.setting_type import setting_type
from engagement_server.config import Config
from engagement_server.errors import ConfigurationError, LogError
from engagement_server.settings import option_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from dataclasses import Field

    from engagement_server.app import Addresses

_FAILED = 2
_ENDED = 1
_OF_CLIENTS = ("ENGAGEMENT_SERVER", "ENGAGEMENT_ACCOUNT", "ENGAGEMENT_TOKEN")
_EPILOG = """\b
Examples:
  engagement serve
  engagement serve --listen 0.0.0.0:50051 --tls-cert server.pem --tls-key server-key.pem
  engagement serve --workers 4
  engagement serve --log nats://a:4222,nats://b:4222,nats://c:4222
"""
_OPTIONAL_SECTIONS = {
    "log": ("engagement_server.log.nats.config", "LogConfig"),
    "workers": ("engagement_server.workers.config", "WorkerConfig"),
    "access": ("engagement_server.access.config", "AccessConfig"),
    "audit": ("engagement_server.access.audit_config", "AuditConfig"),
    "http": ("engagement_server.http.config", "HttpConfig"),
    "lines": ("engagement_server.telemetry.config", "LogLineConfig"),
}


class ServeError(click.ClickException):
    """The server cannot start; the message says what to change, and starting it again changes nothing."""

    exit_code = _FAILED


class LogFailedError(click.ClickException):
    """The server had to end; its next start makes it whole again."""

    exit_code = _ENDED


def config_sections() -> dict[str, type[Any]]:  # Any: each is a dataclass of settings
    """The configuration and the sections of the optional rooms that are there, by the name `serve` takes."""
    sections: dict[str, type[Any]] = {"config": Config}
    for name, (module, section) in _OPTIONAL_SECTIONS.items():
        if find_spec(module.rpartition(".")[0]) is not None:
            sections[name] = getattr(import_module(module), section)
    return sections


def environment_variable(setting: str) -> str:
    """The environment variable that a setting has."""
    return f"ENGAGEMENT_{setting.upper()}"


def with_options(
    command: Callable[..., int], *, is_wanted: Callable[[str], bool] = lambda _: True
) -> Callable[..., int]:
    """Adds an option for each wanted setting of the server."""
    settings = [setting for section in config_sections().values() for setting in fields(section)]
    for setting in reversed([setting for setting in settings if is_wanted(setting.name)]):
        option = click.option(
            option_name(setting.name),
            setting.name,
            type=setting_type(setting),
            is_flag=setting.type == "bool",
            default=setting.default,
            envvar=environment_variable(setting.name),
            metavar=setting.metadata["metavar"],
            show_default=setting.default not in {None, "", False},
            show_envvar=True,
            help=_help(setting),
        )
        command = option(command)
    return command


def _help(setting: Field[Any]) -> str:  # Any: fields are of many types
    text, bounds = setting.metadata["help"], setting.metadata["bounds"]
    return text if bounds.at_most is None else f"{text} Must be {bounds}."


@click.command(epilog=_EPILOG)
@with_options
@click.option("--json", "as_json", is_flag=True, help="Print the addresses as one JSON object.")
def serve(*, as_json: bool, **settings: Any) -> int:  # Any: each option has its own type
    """Run the server until it is stopped with Ctrl-C or SIGTERM.

    A stopping server finishes what it has begun: everything acknowledged is on
    disk, and running uploads are told to come back.
    """
    gc.disable()  # imports create many objects and no garbage
    try:
        from engagement_server import app  # noqa: PLC0415 - the server is an extra
    except ModuleNotFoundError as error:
        raise ServeError(
            f"The server needs {error.name}, which is not installed: run "
            "pip install 'engagement-attributes[server]', or pip install '.[server]' in a checkout."
        ) from error
    finally:
        gc.enable()
    try:
        require_spelled(os.environ, settings={*map(environment_variable, settings), *_OF_CLIENTS})
        app.serve(**dict(sections_of(settings)), report=_print_json if as_json else app.print_addresses)
    except ConfigurationError as error:
        raise ServeError(str(error)) from error
    except LogError as error:
        raise LogFailedError(str(error)) from error
    return 0


def _print_json(addresses: Addresses) -> None:
    document = {
        "listen": addresses.listen,
        "http": addresses.http,
        "https": addresses.is_https,
        "mtls_listen": addresses.mtls_listen,
    }
    print(json.dumps(document), flush=True)


def sections_of(settings: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each section with its settings, others having their defaults. Raises ConfigurationError."""
    for name, section in config_sections().items():
        names = [setting.name for setting in fields(section) if setting.name in settings]
        yield name, section(**{each: settings[each] for each in names})
