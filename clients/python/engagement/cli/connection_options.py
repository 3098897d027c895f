"""The options of all commands that talk to a server: its address, the account, TLS and the token."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar  # Any: a function that click decorates

import click

from engagement.cli.access import Access, read_access
from engagement.cli.address import asks_for_tls, read_address
from engagement.cli.failures import CommandError
from engagement.cli.profiles import SETTINGS, read_profiles

LEADING_OPTIONS: Final = ("--server", "--account", "--profile")
"""They may also stand before the command."""
_MAX_ACCOUNT_CHARACTERS: Final = 64
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9_-]")
_KEPT: Final = f"{__name__}.kept"
"""The key of what is no parameter of commands, in the context."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _read_account(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    if not value:
        flaw = "is empty"
    elif (foreign := _FOREIGN.search(value)) is not None:
        flaw = "has a blank" if foreign[0].isspace() else f"has {foreign[0]!r}"
    elif len(value) > _MAX_ACCOUNT_CHARACTERS:
        flaw = f"has {len(value):,} characters"
    else:
        return value
    raise CommandError(
        f"An account (--account or ENGAGEMENT_ACCOUNT) is 1 to {_MAX_ACCOUNT_CHARACTERS} letters (a to z), "
        f"digits, - and _; this one {flaw}."
    )


def _take_profile(context: click.Context, _option: click.Parameter, value: str | None) -> None:
    """Lets the settings of the profile be the defaults of the options, which are read after this one."""
    if context.resilient_parsing:
        return
    profiles = read_profiles()
    name = value or profiles.used
    settings = profiles.find(name) if name else {}
    context.default_map = {
        **(context.default_map or {}),
        **{setting.replace("-", "_"): settings[setting] for setting in SETTINGS if setting in settings},
    }
    _kept(context)["profile"] = name


def _keep(context: click.Context, option: click.Parameter, value: object) -> None:
    _kept(context)[option.name or ""] = value


def _read_server(context: click.Context, option: click.Parameter, value: str) -> str:
    _kept(context)["is_tls"] = asks_for_tls(value)
    return read_address(context, option, value)


def _kept(context: click.Context) -> dict[str, object]:
    kept: dict[str, object] = context.meta.setdefault(_KEPT, {})
    return kept


def current_access() -> Access:
    """How the running command reaches its server; in plain text without a token if none runs."""
    context = click.get_current_context(silent=True)
    if context is None or _KEPT not in context.meta:
        return Access()
    kept = _kept(context)
    return read_access(kept, is_tls=bool(kept.get("is_tls")))


def current_profile(context: click.Context) -> str:
    """The profile that a command uses; empty if none."""
    return str(_kept(context).get("profile") or "")


_FILE_OPTIONS: Final = (
    ("--token-file", "File with the token to show to the server; it is read again when it changes."),
    ("--ca", "PEM file with the authorities to trust; turns TLS on, as https:// does with public ones."),
    ("--cert", "PEM file with a certificate to show to the server, for servers that ask for one."),
    ("--key", "PEM file with the key of the certificate."),
)


def server_option(command: _Command) -> _Command:
    """Adds the address of the server, as the parameter `server`, and how it is reached."""
    options = [
        click.option(
            "--server",
            metavar="HOST:PORT",
            default="127.0.0.1:50051",
            callback=_read_server,
            envvar="ENGAGEMENT_SERVER",
            show_default=True,
            show_envvar=True,
            help="Address of the server.",
        ),
        click.option(
            "--profile",
            metavar="NAME",
            envvar="ENGAGEMENT_PROFILE",
            show_envvar=True,
            is_eager=True,
            expose_value=False,
            callback=_take_profile,
            help="Take what is not given from this profile: see 'engagement config'.",
        ),
        *(
            click.option(
                name,
                metavar="FILE",
                envvar=f"ENGAGEMENT_{name[2:].upper().replace('-', '_')}",
                show_envvar=True,
                expose_value=False,
                callback=_keep,
                help=text,
            )
            for name, text in _FILE_OPTIONS
        ),
        click.option(
            "--allow-plaintext-token",
            is_flag=True,
            envvar="ENGAGEMENT_ALLOW_PLAINTEXT_TOKEN",
            expose_value=False,
            callback=_keep,
            help="Send the token to other machines without TLS, where the network itself encrypts.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


account_option = click.option(
    "--account",
    metavar="ID",
    required=True,
    callback=_read_account,
    envvar="ENGAGEMENT_ACCOUNT",
    show_envvar=True,
    help=f"The brand's account: 1 to {_MAX_ACCOUNT_CHARACTERS} letters, digits, - and _.",
)
any_account_option = click.option(
    "--account",
    metavar="ID",
    callback=_read_account,
    envvar="ENGAGEMENT_ACCOUNT",
    show_envvar=True,
    help="The brand's account.",
)
