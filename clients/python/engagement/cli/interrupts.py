"""Lets Ctrl-C end the program at once until its command begins: there is nothing to say or to clean up."""

from __future__ import annotations

import signal


def obey() -> None:
    """From here on, Ctrl-C ends the process. One that ignores it, as in the background, goes on to."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def catch() -> None:
    """Undoes `obey`: from here on, Ctrl-C raises KeyboardInterrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
