"""What is fuzzed: by name, the part that reads, and inputs that it takes, to begin with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from tests.fuzz import access_files, contract_bytes, import_files


class Target(NamedTuple):
    """A part that reads bytes. It fails for none, and keeps its promises for all."""

    read: Callable[[bytes], None]
    seeds: Sequence[bytes]


TARGETS: Final[Mapping[str, Target]] = {
    "certificate": Target(access_files.read_pem, access_files.CERTIFICATES),
    "cursor": Target(contract_bytes.read_cursor, contract_bytes.TEXTS),
    "event": Target(contract_bytes.read_event, contract_bytes.EVENTS),
    "grants": Target(access_files.read_grant_file, access_files.GRANT_FILES),
    "import": Target(import_files.read_import, import_files.FILES),
    "keys": Target(access_files.read_key_set, access_files.KEY_SETS),
    "metadata": Target(contract_bytes.read_metadata, contract_bytes.METADATA),
    "request": Target(contract_bytes.read_request, contract_bytes.REQUESTS),
    "secrets": Target(access_files.read_secret_file, access_files.SECRETS),
    "token": Target(access_files.read_token, access_files.TOKENS),
}


if __name__ == "__main__":
    print(*TARGETS)
