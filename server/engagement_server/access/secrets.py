"""Tokens that operators hand out: `eng_<id>_<secret><checksum>`, of which the server keeps digests only.

A secret has 256 random bits, so one pass of SHA-256 is enough: nobody can guess it, however fast they try.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec

from engagement_server.errors import ConfigurationError

PREFIX: Final = "eng_"
MAX_LIVE: Final = 2
"""Secrets of one id that are valid at a time: the old one and the new one."""
MAX_FILE_BYTES: Final = 16 * 1024 * 1024
TOKEN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_ALPHABET: Final = string.digits + string.ascii_letters
_SECRET_BITS: Final = 256
_SECRET_CHARACTERS: Final = 43
_CHECKSUM_CHARACTERS: Final = 6
_END_CHARACTERS: Final = _SECRET_CHARACTERS + _CHECKSUM_CHARACTERS
_TOKEN = re.compile(rf"{PREFIX}({TOKEN_ID.pattern})_[0-9A-Za-z]{{{_END_CHARACTERS}}}", re.ASCII)


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """A token that was handed out. Times are epoch milliseconds."""

    id: str
    digest: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    """SHA-256 of the whole token, hexadecimal."""
    create_ms: int
    expire_ms: int | None = None

    def is_live(self, *, now_ms: int) -> bool:
        """Whether it has not expired."""
        return self.expire_ms is None or now_ms < self.expire_ms


class SecretsFile(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a file of secrets."""

    version: int = 1
    secrets: tuple[Secret, ...] = ()


def new_token(token_id: str) -> str:
    """A token that nobody has seen."""
    secret = _encoded(secrets.randbits(_SECRET_BITS), characters=_SECRET_CHARACTERS)
    body = f"{PREFIX}{token_id}_{secret}"
    return body + _checksum(body)


def digest_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def token_id_of(token: str) -> str | None:
    """The id in a token, which may be mistyped; None if it is none of ours."""
    found = _TOKEN.fullmatch(token)
    return None if found is None else found[1]


def is_mistyped(token: str) -> bool:
    """Whether nobody has made the token, by its checksum; only for messages, as its digest says so too."""
    body, checksum = token[:-_CHECKSUM_CHARACTERS], token[-_CHECKSUM_CHARACTERS:]
    return token_id_of(token) is None or _checksum(body) != checksum


def read_secrets(content: bytes) -> Mapping[str, Sequence[Secret]]:
    """The secrets of a file, by id. Raises ConfigurationError."""
    by_id: dict[str, list[Secret]] = {}
    for secret in read_file(content).secrets:
        by_id.setdefault(secret.id, []).append(secret)
    return by_id


def read_file(content: bytes) -> SecretsFile:
    """Reads the content of a file of secrets; an empty one has none. Raises ConfigurationError."""
    if not content:
        return SecretsFile()
    try:
        file = msgspec.json.decode(content, type=SecretsFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"it is not a file of `engagement token`: {error}") from error
    if file.version != 1:
        raise ConfigurationError(f"it has version {file.version}, of a newer server")
    return file


def find_secret(secrets_of_id: Sequence[Secret], token: str) -> Secret | None:
    """The secret of a token, among those of its id."""
    digest = digest_of(token)
    found = None
    for secret in secrets_of_id:
        if hmac.compare_digest(secret.digest, digest):
            found = secret
    return found


def _checksum(body: str) -> str:
    """Finds tokens that were cut or mistyped, before anything is looked up."""
    return _encoded(zlib.crc32(body.encode()), characters=_CHECKSUM_CHARACTERS)


def _encoded(number: int, *, characters: int) -> str:
    digits = []
    for _ in range(characters):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
