"""Cuts text into the words that a search compares, by the latest Unicode tables at hand.

Words are runs of letters, digits and the marks on them. Scripts that are written without spaces are cut
into grapheme clusters, so that a run of them is found inside a longer one.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from itertools import chain
from typing import Final

from apsw import unicode

from engagement_server.store.fold import caseless, composed

_ASCII_WORD: Final = re.compile("[a-z0-9]+")
# Blocks of scripts without spaces: their letters, and those still to come, are cut.
_UNSPACED_BLOCKS: Final = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1100, 0x11FF),  # Hangul
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x2E80, 0xA4CF),  # Han, Hiragana, Katakana, Bopomofo, Yi
    (0xA960, 0xA97F),  # Hangul
    (0xA9E0, 0xA9FF),  # Myanmar
    (0xAA60, 0xAADF),  # Myanmar, Tai Viet
    (0xAC00, 0xD7FF),  # Hangul
    (0xF900, 0xFAFF),  # Han
    (0xFF66, 0xFFDC),  # halfwidth Katakana and Hangul
    (0x116D0, 0x1174F),  # Myanmar, Ahom
    (0x16FE0, 0x18DFF),  # Han, Tangut, Khitan
    (0x1AFF0, 0x1B2FF),  # Kana, Nushu
    (0x20000, 0x3FFFF),  # Han
)
# What is outside of these ranges is a letter, has a private use or is not assigned.
_SURVEYED: Final = (
    range(0x3400),
    range(0x4DC0, 0x4E00),
    range(0xA000, 0xAC00),
    range(0xD7A4, 0xE000),
    range(0xF900, 0x17000),
    range(0x18D00, 0x20000),
    range(0xE0000, 0xE1000),
)
_PICTOGRAPHS: Final = range(0x1F000, 0x20000)
_VARIATION_SELECTORS: Final = frozenset(
    (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
)
_ZERO_WIDTH_SPACE: Final = 0x200B

_LETTER, _UNSPACED, _MARK, _INVISIBLE, _SEPARATOR = "lumis"
_RUN: Final = re.compile("l[lm]*|(u)[um]*")


def words_of(text: str) -> list[str]:
    """The words of a text, in order, in caseless form and normalization form C.

    Each consists of ASCII letters, ASCII digits and characters beyond ASCII.
    """
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    visible = composed(caseless(text))
    kinds = visible.translate(_kinds())
    if _INVISIBLE in kinds:
        # Without them, letters and marks may come together that compose.
        pairs = zip(visible, kinds, strict=True)
        visible = composed("".join([character for character, kind in pairs if kind != _INVISIBLE]))
        kinds = visible.translate(_kinds())
    words: list[str] = []
    for run in _RUN.finditer(kinds):
        start, end = run.span()
        if run.lastindex:
            words += unicode.grapheme_iter(visible[start:end])
        else:
            words.append(visible[start:end])
    return words


@cache
def _kinds() -> str:
    """The kind of each character, in the order of the code points."""
    kinds = [_LETTER] * (sys.maxunicode + 1)
    for first, last in _UNSPACED_BLOCKS:
        kinds[first : last + 1] = _UNSPACED * (last + 1 - first)
    for code_point in chain.from_iterable(_SURVEYED):
        kinds[code_point] = _kind(code_point, kinds[code_point])
    return "".join(kinds)


def _kind(code_point: int, block: str) -> str:
    """The kind of a character of a block whose letters are of the kind `block`."""
    category = unicode.category(code_point)
    if category[0] == "L" or category in {"Nl", "Co"}:
        return block
    if category[0] == "N":
        return _LETTER
    if category[0] == "M":
        return _INVISIBLE if code_point in _VARIATION_SELECTORS else _MARK
    if category == "Cf":
        return _SEPARATOR if code_point == _ZERO_WIDTH_SPACE else _INVISIBLE
    # A character that is not assigned yet may become a letter: better a word than not to be found.
    return block if category == "Cn" and code_point not in _PICTOGRAPHS else _SEPARATOR
