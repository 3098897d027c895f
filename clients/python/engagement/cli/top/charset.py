"""The characters that a page may use on an output, and the width that they take there."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len

from engagement.cli.printing import printable

_CHARACTERS_PER_COLUMN: Final = 4
"""More of them are not a word but marks piled upon a letter."""


@dataclass(frozen=True, slots=True)
class Charset:
    """The encoding of an output, and the signs that it can write."""

    encoding: str
    bars: str
    """From nothing to the most."""
    ellipsis: str

    def clean(self, text: str) -> str:
        """A text of others, with escapes for what changes the terminal or cannot be written."""
        return printable(text).encode(self.encoding, "backslashreplace").decode(self.encoding)

    def fit(self, text: str, width: int, *, keeps_end: bool = False) -> str:
        """A clean text in at most so many columns; what is cut is its end, or its beginning."""
        most = max(width, 0) * _CHARACTERS_PER_COLUMN
        if len(text) <= most and cell_len(text) <= width:
            return text
        left = width - len(self.ellipsis)
        if left < 0:
            return ""
        characters = reversed(text) if keeps_end else iter(text)
        kept: list[str] = []
        for each in characters:
            left -= cell_len(each)
            if left < 0 or len(kept) == most:
                break
            kept.append(each)
        return self.ellipsis + "".join(reversed(kept)) if keeps_end else "".join(kept) + self.ellipsis


def charset_of(encoding: str) -> Charset:
    """The characters for an output in this encoding."""
    signs = "▁▂▃▄▅▆▇█…"
    try:
        signs.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        try:
            name = codecs.lookup(encoding).name
        except LookupError:
            name = "ascii"
        return Charset(name, bars="_.:-=+*#", ellipsis="~")
    return Charset(encoding, bars=signs[:-1], ellipsis=signs[-1])
