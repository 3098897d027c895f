"""`engagement token`: makes and removes the tokens of callers. It imports the server only when it is run."""

from __future__ import annotations

import json
import re
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from engagement_server.commands.serve import ServeError, with_options
from engagement_server.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from engagement_server.access.secrets import Secret
    from engagement_server.access.token_file import TokenFile

_UNKNOWN: Final = 1
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_MAX_SECONDS: Final = 100 * 366 * 86_400
_EPILOG = """\b
Examples:
  engagement token create crm --tokens tokens.json > crm.token
  engagement token create crm --tokens tokens.json --expires 90d
  engagement token rotate crm --tokens tokens.json
  engagement token list --tokens tokens.json
  engagement token revoke crm --tokens tokens.json

Exit status: 0 done, 1 there is no such token, 2 wrong usage, or the file
cannot be read or written.
"""


class TokenError(ServeError):
    """The file cannot be changed; the message says why."""


class NoSuchTokenError(TokenError):
    """There is no token with this id."""

    exit_code = _UNKNOWN


class Duration(click.ParamType[int]):
    """A number of seconds, minutes, hours, days or weeks; in milliseconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:  # Any: as its base has it
        """Reads a duration such as `90d`."""
        found = re.fullmatch(r"([0-9]{1,9})([smhdw])", str(value))
        seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
        if not 0 < seconds <= _MAX_SECONDS:
            self.fail(
                "must be a number with s, m, h, d or w, such as 90d, and at most 100 years.", param, ctx
            )
        return seconds * 1000


_expires_option = click.option(
    "--expires",
    metavar="DURATION",
    type=Duration(),
    help="Let it expire after this long, such as 12h or 90d.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_id_argument = click.argument("token_id", metavar="ID")


def _tokens_option(command: Callable[..., int]) -> Callable[..., int]:
    return with_options(command, is_wanted={"tokens"}.__contains__)


@click.group(epilog=_EPILOG)
def token() -> None:
    """Make and revoke the tokens by which callers show who they are.

    The file holds digests only: a token is printed once. Grants name tokens by
    their ids. A running server takes changes over within seconds. See
    docs/security.md.
    """


@token.command()
@_id_argument
@_tokens_option
@_expires_option
@_json_option
def create(token_id: str, *, tokens: Path | None, expires: int | None, as_json: bool) -> int:
    """Make the token ID, and print it: once, to standard output."""
    with _open(tokens) as file:
        expire_ms = _expire_ms(expires)
        _print_token(token_id, file.create(token_id, expire_ms=expire_ms), expire_ms, as_json=as_json)
    click.echo(f'Grants name it as: tokens = ["{token_id}"]', err=True)
    return 0


@token.command()
@_id_argument
@_tokens_option
@_expires_option
@_json_option
def rotate(token_id: str, *, tokens: Path | None, expires: int | None, as_json: bool) -> int:
    """Make a second secret of the token ID, and print it once; the first one stays valid."""
    with _open(tokens) as file:
        expire_ms = _expire_ms(expires)
        _print_token(token_id, file.rotate(token_id, expire_ms=expire_ms), expire_ms, as_json=as_json)
    click.echo(
        f"The old secret stays valid. Once `engagement token list` shows that nobody uses it, remove it:"
        f" engagement token revoke {token_id} --old",
        err=True,
    )
    return 0


@token.command()
@_id_argument
@_tokens_option
@click.option("--old", is_flag=True, help="Remove the older secret only, after `rotate`.")
def revoke(token_id: str, *, tokens: Path | None, old: bool) -> int:
    """Remove the token ID, with all of its secrets."""
    with _open(tokens) as file:
        count = file.revoke(token_id, is_old_only=old)
    click.echo(f"Revoked {count} secret{'' if count == 1 else 's'} of {token_id}.", err=True)
    return 0


@token.command(name="list")
@_tokens_option
@_json_option
def list_tokens(*, tokens: Path | None, as_json: bool) -> int:
    """List the tokens: when they were made, expire, and were used last."""
    with _open(tokens) as file:
        secrets = file.secrets()
    used = _last_uses(tokens)
    for token_id, of_id in groupby(secrets, key=lambda secret: secret.id):
        described = [_describe(secret, used) for secret in of_id]
        if as_json:
            click.echo(json.dumps({"id": token_id, "secrets": described}))
        else:
            for number, secret in enumerate(described, 1):
                click.echo(_line(token_id, secret, number=number, count=len(described)))
    return 0


@contextmanager
def _open(tokens: Path | None) -> Iterator[TokenFile]:
    """The file of secrets, whose errors end the command."""
    if tokens is None:
        raise click.UsageError("Name the file of the tokens: --tokens FILE, or ENGAGEMENT_TOKENS.")
    try:
        from engagement_server.access.token_file import TokenFile, UnknownTokenError  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise TokenError(
            f"This needs {error.name}: run pip install 'engagement-attributes[server]'."
        ) from error
    try:
        yield TokenFile(tokens)
    except ConfigurationError as error:
        kind = NoSuchTokenError if isinstance(error, UnknownTokenError) else TokenError
        raise kind(str(error)) from error


def _expire_ms(expires: int | None) -> int | None:
    return None if expires is None else time.time_ns() // 1_000_000 + expires


def _print_token(token_id: str, secret: str, expire_ms: int | None, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"id": token_id, "token": secret, "expire_time": _time(expire_ms)}))
    else:
        click.echo(secret)


def _last_uses(tokens: Path | None) -> dict[str, int]:
    from engagement_server.access.last_uses import LastUses, uses_path  # noqa: PLC0415 - an extra

    return {} if tokens is None else LastUses.read(uses_path(tokens)).of("").by_secret


def _describe(secret: Secret, used: dict[str, int]) -> dict[str, Any]:  # Any: times and truths
    from engagement_server.access.last_uses import name_of  # noqa: PLC0415 - an extra

    return {
        "create_time": _time(secret.create_ms),
        "expire_time": _time(secret.expire_ms),
        "is_expired": not secret.is_live(now_ms=time.time_ns() // 1_000_000),
        "last_use_time": _time(used.get(name_of(secret))),
    }


def _line(token_id: str, secret: dict[str, Any], *, number: int, count: int) -> str:
    parts: Sequence[str] = (
        token_id if count == 1 else f"{token_id} (secret {number} of {count})",
        f"made {secret['create_time']}",
        "never expires"
        if secret["expire_time"] is None
        else f"{'expired' if secret['is_expired'] else 'expires'} {secret['expire_time']}",
        "not used yet" if secret["last_use_time"] is None else f"last used {secret['last_use_time']}",
    )
    return "\t".join(parts)


def _time(epoch_ms: int | None) -> str | None:
    if epoch_ms is None:
        return None
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
