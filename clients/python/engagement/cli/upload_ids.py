"""Identifies the upload of a file: by an id that the same command finds again, and by a name for people."""

from __future__ import annotations

import hashlib
import os
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from engagement.cli.input_events import Format

_PREFIX: Final = "file-"
_DIGEST_BYTES: Final = 24
_MAX_NAME_CHARACTERS: Final = 256


def derive_upload_id(path: str, *, format: Format, source: str | None) -> str:  # noqa: A002 - as the option
    """The id of the upload of these bytes under this name, read with these options. Raises OSError.

    Reads the file once. Another release may find other events in the same bytes, so that it makes other ids.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in (_release(), os.path.basename(path), format.value, "" if source is None else f"={source}"):
        encoded = os.fsencode(part)
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    with open(path, "rb", buffering=0) as file:
        hashlib.file_digest(file, lambda: digest)
    return _PREFIX + digest.hexdigest()


def source_name_of(file_name: str) -> str:
    """The name of an upload's source; names of files may be long, and hold bytes that are not text."""
    return file_name.encode("utf-8", "backslashreplace").decode()[:_MAX_NAME_CHARACTERS]


def _release() -> str:
    try:
        return version("engagement-attributes")
    except PackageNotFoundError:  # run from its sources
        return ""
