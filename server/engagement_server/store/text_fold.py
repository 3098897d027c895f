"""The form in which text is compared: letter case and spelling in code points make no difference.

Servers decide by it whether an event is accepted, each on its own and for good, so it must not depend on the
Unicode version of a server's libraries: see docs/decisions/0032-text-is-compared-in-one-form.md.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from typing import TYPE_CHECKING, Final
from unicodedata import normalize

import apsw.unicode

if TYPE_CHECKING:
    from collections.abc import Callable

# Raise it when the rules in this file or in `words.py` change: stores then index their text again.
_RULES: Final = 1
# The tables of every supported Python know these characters, and Unicode never changes their mappings.
_REPERTOIRE: Final = (14, 0)


def fold_version() -> str:
    """Identifies all that the folded and indexed text of a value depends on besides the value.

    Texts of equal versions are equal. Only `words.py` uses the newer tables, so the caseless form of a value
    changes with the first two numbers alone.
    """
    return f"{_RULES}/{'.'.join(map(str, _REPERTOIRE))}/{apsw.unicode.unicode_version}"


def caseless(text: str) -> str:
    """The canonical caseless form (Unicode definition D145); forms are equal if the texts match.

    A character that is newer than the repertoire matches only itself.
    """
    if text.isascii():
        return text.lower()
    return _transform_known(text, _decomposed_caseless)


def composed(text: str) -> str:
    """Normalization form C, in the same repertoire."""
    return text if text.isascii() else _transform_known(text, _compose)


def character_class(flags: bytes) -> str:
    """The code points whose bytes are 1, as ranges inside the brackets of a regular expression."""
    ranges = (found.span() for found in re.finditer(b"\x01+", flags))
    return "".join(f"\\U{first:08x}-\\U{end - 1:08x}" for first, end in ranges)


def _transform_known(text: str, transform: Callable[[str], str]) -> str:
    known, newer = _patterns()
    if known.fullmatch(text) is not None:
        return transform(text)
    # Of the parts, those with odd numbers are the separators.
    parts = enumerate(newer.split(text))
    return "".join([part if number % 2 else transform(part) for number, part in parts])


def _decomposed_caseless(text: str) -> str:
    return normalize("NFD", normalize("NFD", text).casefold())


def _compose(text: str) -> str:
    return normalize("NFC", text)


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Text of the repertoire, and runs of characters that it does not have."""
    versions = [*map(apsw.unicode.version_added, range(sys.maxunicode + 1))]
    known_versions = {version for version in {*versions} if version and _numbers(version) <= _REPERTOIRE}
    known = character_class(bytes(map(known_versions.__contains__, versions)))
    return re.compile(f"[{known}]*"), re.compile(f"([^{known}]+)")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
