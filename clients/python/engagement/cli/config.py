"""`engagement config`: keeps profiles of servers, and shows which settings hold."""

from __future__ import annotations

from collections.abc import Iterator

import click

from engagement.cli import profiles
from engagement.cli.connection_options import (
    any_account_option,
    current_access,
    current_profile,
    server_option,
)
from engagement.cli.failures import CommandError, ExitStatus
from engagement.cli.help import Group
from engagement.cli.printing import print_lines, print_pairs
from engagement.cli.profiles import SETTINGS, Profiles, read_profiles, write_profiles

_EPILOG = """\b
Examples:
  engagement config set production --server https://engagement.example.com:443 --account acme
  engagement config set production --token-file ~/.engagement-token
  engagement config use production
  engagement config show
"""
_SET_EPILOG = """\b
Examples:
  engagement config set production --server https://engagement.example.com:443 --account acme
  engagement config set production --token-file ~/.engagement-token
  engagement config set production --account ""
"""
_Source = click.core.ParameterSource
_ORIGINS = {
    _Source.COMMANDLINE: "option",
    _Source.ENVIRONMENT: "environment",
    _Source.DEFAULT_MAP: "profile",
    _Source.DEFAULT: "default",
}


@click.group(cls=Group, epilog=_EPILOG)
def config() -> None:
    """Keep the addresses, accounts and files of servers as profiles.

    An option counts more than a variable of the environment, and that more than the
    profile. The file of profiles holds no tokens, only the names of files with them.
    """


@config.command("set", epilog=_SET_EPILOG)
@click.argument("name")
@click.option("--server", metavar="HOST:PORT", help="Address of the server.")
@click.option("--account", metavar="ID", help="The brand's account.")
@click.option("--token-file", metavar="FILE", help="File with the token to show to the server.")
@click.option("--ca", metavar="FILE", help="PEM file with the authorities to trust; turns TLS on.")
@click.option("--cert", metavar="FILE", help="PEM file with a certificate to show to the server.")
@click.option("--key", metavar="FILE", help="PEM file with the key of the certificate.")
def set_profile(name: str, **given: str | None) -> int:
    """Create a profile or change its settings; an empty text removes one.

    The first profile is used at once.
    """
    if not name.strip():
        raise CommandError("A profile needs a name.")
    known = read_profiles()
    settings = dict(known.profiles.get(name, {}))
    for setting in SETTINGS:
        value = given[setting.replace("-", "_")]
        if value:
            settings[setting] = value
        elif value is not None:
            settings.pop(setting, None)
    used = known.used if known.profiles else name
    write_profiles(Profiles({**known.profiles, name: settings}, used))
    return ExitStatus.OK


@config.command("use")
@click.argument("name")
def use_profile(name: str) -> int:
    """Use a profile in all commands that name no other."""
    known = read_profiles()
    known.find(name)
    write_profiles(Profiles(known.profiles, name))
    return ExitStatus.OK


@config.command("list")
def list_profiles() -> int:
    """List the profiles; * marks the one that is used."""
    known = read_profiles()
    if not known.profiles:
        click.echo(f"There are no profiles in {profiles.path()}.", err=True)
    print_lines(f"{'*' if name == known.used else ' '} {name}" for name in sorted(known.profiles))
    return ExitStatus.OK


@config.command("show")
@server_option
@any_account_option
@click.pass_context
def show_settings(context: click.Context, *, server: str, account: str | None) -> int:
    """Show the settings that commands use, and where each comes from; never a token."""
    print_pairs(_describe(context, server=server, account=account))
    return ExitStatus.OK


def _describe(context: click.Context, *, server: str, account: str | None) -> Iterator[tuple[str, str]]:
    access = current_access()
    yield "profile", current_profile(context) or "none"
    yield "server", _with_origin(context, "server", f"{server}{' (TLS)' if access.is_tls else ''}")
    yield "account", _with_origin(context, "account", account)
    if access.token is not None:
        yield "token", "set  [environment: ENGAGEMENT_TOKEN]"
    else:
        yield "token-file", _with_origin(context, "token_file", access.token_file)
    for name in ("ca", "cert", "key"):
        yield name, _with_origin(context, name, getattr(access, name))


def _with_origin(context: click.Context, name: str, value: object) -> str:
    if value is None:
        return "none"
    source = context.get_parameter_source(name)
    origin = _ORIGINS.get(source, "default") if source is not None else "default"
    return f"{value}  [{origin}]"
