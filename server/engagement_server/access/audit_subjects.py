"""Names persons in the audit log without telling who they are: by hashes under a key.

Ids have little entropy: whoever had plain hashes could try all ids.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Final

from engagement_server.errors import ConfigurationError

MIN_KEY_BYTES: Final = 32
MAX_KEY_BYTES: Final = 4096
_KEY_ID_CHARACTERS: Final = 8


def subject_hash(key: bytes, *, account_id: str, subject_id: str) -> str:
    """The HMAC-SHA-256 of an id within its account: the same id elsewhere is of another person."""
    return hmac.digest(key, f"{account_id}\0{subject_id}".encode(errors="surrogatepass"), "sha256").hex()


def key_id(key: bytes) -> str:
    """Tells keys apart, and nothing about them."""
    return hmac.digest(key, b"engagement audit key", "sha256").hex()[:_KEY_ID_CHARACTERS]


def read_key(path: Path) -> bytes:
    """Reads a key: what is in its file, without white space around it. Raises ConfigurationError."""
    try:
        with path.open("rb") as file:
            key = file.read(MAX_KEY_BYTES + 1).strip()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read --audit-key {path}: {error.strerror}; make one with: openssl rand -hex 32"
        ) from error
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ConfigurationError(
            f"--audit-key {path} must hold {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes; make one with:"
            " openssl rand -hex 32"
        )
    return key
