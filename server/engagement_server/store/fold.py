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
_RULES: Final = 2
# The tables of every supported Python know these characters, and Unicode never changes their mappings.
_REPERTOIRE: Final = (14, 0)
# Normalization sorts the marks on a letter in quadratic time. Unicode's stream-safe text has at most as many.
_MAX_MARKS: Final = 30
# Beyond these code points no character of the repertoire has a mapping.
_CODE_POINTS: Final = 0x40000
# White space, categories C* without Cn, and what else Unicode declares ignorable. As code points, so that no
# later table makes a difference.
_BLANKS: Final = re.compile(
    r"[\0- \x7f-\xa0\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u17b4\u17b5"
    r"\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\u3000\u3164\ud800-\uf8ff\ufe00-\ufe0f"
    r"\ufeff\uffa0\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U00013438\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f\U000e0100-\U000e01ef\U000f0000-\U000ffffd"
    r"\U00100000-\U0010fffd]+"
)
NEAR_BYTES: Final = bytes.maketrans(
    bytes([*range(ord(" ") + 1), *range(0x7F, 0x100), *range(ord("A"), ord("Z") + 1)]),
    bytes([0] * (ord(" ") + 1 + 0x81)) + b"abcdefghijklmnopqrstuvwxyz",
)
"""Translates ASCII text to its near form, with NUL for what that leaves out and for what is not ASCII."""
_KNOWN, _MARK, _NEWER = "kmn"
MAX_SPELLED_CHARACTERS: Final = 256
"""Longer ids have one spelling."""
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


def near_form(identifier: str) -> str:
    """The compatibility caseless form (Unicode definition D146) without blanks and invisible characters.

    Ids with equal forms are spellings of one id. One of nothing but such characters is its own form, so that
    only an empty id has an empty one; and so is one that is too long to be typed, whose form could be many
    times as long.
    """
    if len(identifier) > MAX_SPELLED_CHARACTERS:
        return identifier
    if identifier.isascii():
        form = identifier.lower()
        if not form.isprintable() or " " in form:
            form = _BLANKS.sub("", form)
        return form or identifier
    form = _transform_known(_BLANKS.sub("", identifier), _compatible_caseless)
    visible = _BLANKS.sub("", form)
    if len(visible) < len(form):  # marks that stood apart have come together
        visible = _transform_known(visible, _decompose)
    return visible or identifier


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


def _compatible_caseless(text: str) -> str:
    decomposed = normalize("NFKD", normalize("NFD", text).casefold())
    folded = decomposed.casefold()
    return decomposed if folded == decomposed else normalize("NFKD", folded)


def _decompose(text: str) -> str:
    return normalize("NFKD", text)


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
