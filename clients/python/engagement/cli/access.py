"""How a command reaches its server: TLS, certificate and token, from options, environment and profile."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click
import grpc

from engagement.channel import tls_credentials
from engagement.cli.failures import CommandError
from engagement.targets import is_this_machine

_MAX_TOKEN_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Access:
    """What goes with the address of a server."""

    token: str | None = field(default=None, repr=False)
    """A token itself, of the environment."""
    token_file: Path | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    is_tls: bool = False
    allows_plaintext_token: bool = False

    @property
    def token_origin(self) -> str:
        """Where the token comes from; empty without one."""
        if self.token_file is not None:
            return str(self.token_file)
        return "ENGAGEMENT_TOKEN" if self.token is not None else ""

    def token_source(self) -> TokenFile | str | None:
        """What the client takes as its token."""
        return TokenFile(self.token_file) if self.token_file is not None else self.token

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Those of TLS, read from the files; None in plain text. Raises OSError."""
        if not self.is_tls:
            return None
        return tls_credentials(ca=self.ca, certificate=self.cert, key=self.key)

    def arguments(self, server: str) -> list[str]:
        """The options with which another command reaches a server like this; nobody repeats a token."""
        arguments = ["--server", f"https://{server}" if self.is_tls else server]
        files = {"--ca": self.ca, "--cert": self.cert, "--key": self.key, "--token-file": self.token_file}
        for option, file in files.items():
            arguments += [] if file is None else [option, str(file)]
        return [*arguments, "--allow-plaintext-token"] if self.allows_plaintext_token else arguments

    def stamp(self) -> object:
        """Changes whenever the files of TLS do. Raises OSError."""
        return [_stamp(file) for file in (self.ca, self.cert, self.key) if file is not None]

    def require_safe(self, server: str) -> None:
        """Raises CommandError if the token would go over the network in plain text."""
        is_protected = self.is_tls or self.allows_plaintext_token or is_this_machine(server)
        if self.token_origin and not is_protected:
            raise CommandError(
                f"The token of {self.token_origin} would go to {server} in plain text. Use TLS with "
                f"https://{server} or --ca FILE, or --allow-plaintext-token if the network itself encrypts."
            )


class TokenFile:
    """A file with a token, read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: object = None
        self._token = ""

    def __call__(self) -> str:
        """The token. Raises CommandError if the file has none."""
        stamp = _stamp(self._path)
        if stamp != self._stamp:
            self._token, self._stamp = _read_token(self._path), stamp
        return self._token


def _read_token(path: Path) -> str:
    with path.open("rb") as file:
        token = file.read(_MAX_TOKEN_BYTES).strip()
    # A header takes no others.
    if not token or any(not 0x21 <= byte <= 0x7E for byte in token):
        raise CommandError(f"{path} must hold a token, in one line, and nothing else.")
    return token.decode()


def _stamp(path: Path) -> object:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def read_access(values: Mapping[str, object], *, is_tls: bool) -> Access:
    """The access that the options of a command say, by name. Raises CommandError if two contradict."""
    ca, cert, key, token_file = (_path(values.get(name)) for name in ("ca", "cert", "key", "token_file"))
    if (cert is None) != (key is None):
        raise CommandError("A client certificate is two files: give both --cert and --key.")
    token = os.environ.get("ENGAGEMENT_TOKEN") or None
    context = click.get_current_context()
    is_file_first = context.get_parameter_source("token_file") is click.core.ParameterSource.COMMANDLINE
    if token is not None and os.environ.get("ENGAGEMENT_TOKEN_FILE") and not is_file_first:
        raise CommandError("ENGAGEMENT_TOKEN and ENGAGEMENT_TOKEN_FILE are both set; unset one.")
    is_text = token is not None and not is_file_first
    return Access(
        token=token if is_text else None,
        token_file=None if is_text else token_file,
        ca=ca,
        cert=cert,
        key=key,
        is_tls=is_tls or ca is not None or cert is not None,
        allows_plaintext_token=bool(values.get("allow_plaintext_token")),
    )


def _path(value: object) -> Path | None:
    return Path(value).expanduser() if isinstance(value, str) and value else None
