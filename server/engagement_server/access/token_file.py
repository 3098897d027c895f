"""Changes the file of secrets: one change at a time, each of which readers see as a whole."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from engagement_server.access.replacing import replace_file
from engagement_server.access.secrets import (
    MAX_FILE_BYTES,
    MAX_LIVE,
    TOKEN_ID,
    Secret,
    SecretsFile,
    digest_of,
    new_token,
    read_file,
)
from engagement_server.errors import ConfigurationError

LOCK_ENDING: Final = ".lock"
"""Of the file that holds the lock, since that of the secrets is replaced. It stays."""


class UnknownTokenError(ConfigurationError):
    """There is no token with this id."""

    def __init__(self, token_id: str) -> None:
        super().__init__(f"there is no token {token_id!r}; `engagement token list` has them all")


class TokenFile:
    """A file of secrets. All methods raise ConfigurationError if it cannot be read or written."""

    def __init__(self, path: Path) -> None:
        """It need not be there yet."""
        self._path = path.resolve()  # a link stays a link

    def secrets(self) -> Sequence[Secret]:
        """All secrets, by id, and of one id the oldest first."""
        return sorted(self._read(), key=lambda secret: (secret.id, secret.create_ms))

    def create(self, token_id: str, *, expire_ms: int | None) -> str:
        """Makes the first secret of an id, and returns it."""
        if not TOKEN_ID.fullmatch(token_id):
            raise ConfigurationError("an id of a token must be 1 to 64 letters, digits, `.`, `-` and `_`")
        with self._changing() as secrets:
            if any(secret.id == token_id for secret in secrets):
                raise ConfigurationError(
                    f"there is a token {token_id!r} already; `engagement token rotate {token_id}` makes a"
                    " second secret of it"
                )
            return _add(secrets, token_id, expire_ms=expire_ms)

    def rotate(self, token_id: str, *, expire_ms: int | None) -> str:
        """Makes a further secret of an id, and returns it; the one that is there stays valid."""
        now_ms = time.time_ns() // 1_000_000
        with self._changing() as secrets:
            of_id = _of(secrets, token_id)
            for secret in of_id:
                if not secret.is_live(now_ms=now_ms):
                    secrets.remove(secret)
            if len(_live(secrets, token_id)) >= MAX_LIVE:
                raise ConfigurationError(
                    f"the token {token_id!r} has {MAX_LIVE} secrets, which is as many as there may be;"
                    f" `engagement token revoke {token_id} --old` removes the older one"
                )
            return _add(secrets, token_id, expire_ms=expire_ms)

    def revoke(self, token_id: str, *, is_old_only: bool) -> int:
        """Removes all secrets of an id, or all but the newest; returns how many."""
        with self._changing() as secrets:
            revoked = sorted(_of(secrets, token_id), key=lambda secret: secret.create_ms)
            if is_old_only:
                revoked = revoked[:-1]
                if not revoked:
                    raise ConfigurationError(f"the token {token_id!r} has one secret only, and no older one")
            for secret in revoked:
                secrets.remove(secret)
        return len(revoked)

    def _read(self) -> list[Secret]:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigurationError(f"cannot read {self._path}: {error.strerror}") from error
        try:
            return list(read_file(content).secrets)
        except ConfigurationError as error:
            raise ConfigurationError(f"{self._path}: {error}") from error

    @contextmanager
    def _changing(self) -> Iterator[list[Secret]]:
        """The secrets, which are written at the end unless something fails; others wait."""
        try:
            lock = os.open(f"{self._path}{LOCK_ENDING}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(f"cannot lock {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            secrets = self._read()
            yield secrets
            content = msgspec.json.format(msgspec.json.encode(SecretsFile(secrets=tuple(secrets))), indent=1)
            if len(content) > MAX_FILE_BYTES:
                raise ConfigurationError(f"{self._path} is full; revoke tokens that nobody uses")
            replace_file(self._path, content + b"\n")
        except OSError as error:
            raise ConfigurationError(f"cannot write {self._path}: {error.strerror}") from error
        finally:
            os.close(lock)


def _of(secrets: Sequence[Secret], token_id: str) -> list[Secret]:
    found = [secret for secret in secrets if secret.id == token_id]
    if not found:
        raise UnknownTokenError(token_id)
    return found


def _live(secrets: Sequence[Secret], token_id: str) -> list[Secret]:
    now_ms = time.time_ns() // 1_000_000
    return [secret for secret in secrets if secret.id == token_id and secret.is_live(now_ms=now_ms)]


def _add(secrets: list[Secret], token_id: str, *, expire_ms: int | None) -> str:
    token = new_token(token_id)
    times = [secret.create_ms for secret in secrets if secret.id == token_id]
    create_ms = max([time.time_ns() // 1_000_000, *(taken + 1 for taken in times)])
    secrets.append(Secret(id=token_id, digest=digest_of(token), create_ms=create_ms, expire_ms=expire_ms))
    return token
