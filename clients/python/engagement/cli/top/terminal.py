"""The terminal while a screen is on it: a second page without cursor and echo, undone on every way out."""

from __future__ import annotations

import os
import shutil
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from rich.console import Console
from rich.text import Text

# The alternate screen without a cursor, on which long lines are cut rather than continued.
_ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE: Final = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_CLEAR: Final = "\x1b[2J"
_HOME: Final = "\x1b[H"
_CLEAR_LINE: Final = "\x1b[2K"
_MAX_KEYS: Final = 1024


class Terminal:
    """A terminal that shows lines from its first to its last, and whose keys can be read."""

    def __init__(self) -> None:
        self.keys: int | None = sys.stdin.fileno() if sys.stdin.isatty() else None
        """The file to read keys from; none if the input is not the terminal."""
        self._modes = None if self.keys is None else termios.tcgetattr(self.keys)
        self._shown = ""

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Takes the screen, and gives it back as it was."""
        try:
            self.take()
            yield
        finally:
            # The terminal may be gone, which must not hide an error.
            with suppress(OSError, termios.error):
                self.give_back()

    def take(self) -> None:
        """Takes the screen."""
        _write(_ENTER)
        self.refresh()

    def refresh(self) -> None:
        """Prepares for lines on a screen that another program, or another size, has changed."""
        if self.keys is not None:
            tty.setcbreak(self.keys, termios.TCSANOW)
        self._shown = ""
        _write(_CLEAR)

    def give_back(self) -> None:
        """Gives the screen back."""
        if self.keys is not None and self._modes is not None:
            termios.tcsetattr(self.keys, termios.TCSANOW, self._modes)
        _write(_LEAVE)

    def read_keys(self) -> str | None:
        """The keys that were typed; None after the last."""
        assert self.keys is not None
        typed = os.read(self.keys, _MAX_KEYS)
        return typed.decode("utf-8", "replace") if typed else None

    def show(self, lines: Sequence[Text], *, size: os.terminal_size) -> None:
        """Shows the lines, unless they are there already."""
        written = _encode(lines, size)
        if written != self._shown:
            _write(_HOME + written)
            self._shown = written


def terminal_size() -> os.terminal_size:
    """The columns and lines of the terminal now."""
    try:
        size = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return shutil.get_terminal_size()
    return size if size.columns and size.lines else shutil.get_terminal_size()


def _encode(lines: Sequence[Text], size: os.terminal_size) -> str:
    console = Console(width=size.columns, height=size.lines, highlight=False)
    encoded = []
    for line in lines:
        with console.capture() as capture:
            console.print(line, soft_wrap=True, end="")
        # Cleared before: after a full line it would take the last character.
        encoded.append(_CLEAR_LINE + capture.get())
    return "\n".join(encoded)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
