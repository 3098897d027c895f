"""The form in which text is compared: letter case and spelling in code points make no difference.

Servers decide by it whether an event is accepted, each on its own and for good, so it must not depend on the
Unicode version of a server's libraries: see docs/decisions/0032-text-is-compared-in-one-form.md.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple
from unicodedata import combining, normalize

import apsw.unicode

if TYPE_CHECKING:
    from collections.abc import Callable

# Raise it when the rules in this file or in `words.py` change: stores then index their text again.
_RULES: Final = 1
# The tables of every supported Python know these characters, and Unicode never changes their mappings.
_REPERTOIRE: Final = (14, 0)
# Normalization sorts the marks on a letter in quadratic time. Unicode's stream-safe text has at most as many.
_MAX_MARKS: Final = 30
# Beyond these code points no character of the repertoire has a mapping.
_CODE_POINTS: Final = 0x40000
_KNOWN, _MARK, _NEWER = "kmn"
_LEFT_ALONE: Final = re.compile(f"[^km]+|m{{{_MAX_MARKS + 1},}}")


def fold_version() -> str:
    """Identifies all that the folded and indexed text of a value depends on besides the value.

    Texts of equal versions are equal. Only `words.py` uses the newer tables, so the caseless form of a value
    changes with the first two numbers alone.
    """
    return f"{_RULES}/{'.'.join(map(str, _REPERTOIRE))}/{apsw.unicode.unicode_version}"


def caseless(text: str) -> str:
    """The canonical caseless form (Unicode definition D145); forms are equal if the texts match.

    A character that is newer than the repertoire matches only itself, and so do more than 30 marks in a row.
    """
    if text.isascii():
        return text.lower()
    return _transform_known(text, _decomposed_caseless)


def composed(text: str) -> str:
    """Normalization form C, in the same repertoire."""
    return text if text.isascii() else _transform_known(text, _compose)


def _transform_known(text: str, transform: Callable[[str], str]) -> str:
    """The text with its known characters transformed, each run of them by itself."""
    tables = _tables()
    if len(text) <= _MAX_MARKS and tables.short_text.fullmatch(text):
        return transform(text)
    parts: list[str] = []
    start = 0
    for left_alone in _LEFT_ALONE.finditer(text.translate(tables.kinds)):
        parts += transform(text[start : left_alone.start()]), text[slice(*left_alone.span())]
        start = left_alone.end()
    return "".join([*parts, transform(text[start:])])


def _decomposed_caseless(text: str) -> str:
    return normalize("NFD", normalize("NFD", text).casefold())


def _compose(text: str) -> str:
    return normalize("NFC", text)


class _Tables(NamedTuple):
    kinds: str
    """The kind of each character, in the order of the code points."""
    short_text: re.Pattern[str]
    """Most text of the repertoire: for short text quicker than the kinds."""


@cache
def _tables() -> _Tables:
    versions = [*map(apsw.unicode.version_added, range(_CODE_POINTS))]
    known_versions = {version for version in {*versions} if _is_known(version)}
    kinds = "".join([_KNOWN if version in known_versions else _NEWER for version in versions])
    basic = (f"\\u{run.start():04x}-\\u{run.end() - 1:04x}" for run in re.finditer("k+", kinds[:0x10000]))
    marks = {code_point: _MARK for code_point in range(_CODE_POINTS) if combining(chr(code_point))}
    return _Tables(
        "".join(
            [marks.get(code_point, kind) if kind == _KNOWN else kind for code_point, kind in enumerate(kinds)]
        ),
        re.compile(f"[{''.join(basic)}]*"),
    )


def _is_known(version: str | None) -> bool:
    return version is not None and tuple(map(int, version.split("."))) <= _REPERTOIRE
