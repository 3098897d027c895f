"""The live screen: asks the server again and again, and shows its last answer until it is stopped."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from engagement import v1
from engagement.cli.outage import cause_of
from engagement.cli.top.charset import Charset
from engagement.cli.top.page import Notice, Page
from engagement.cli.top.quantities import length_text
from engagement.cli.top.rejected_rules import Order
from engagement.cli.top.terminal import Terminal, terminal_size
from engagement.client import EngagementClient
from engagement.errors import EngagementError

_REDRAW_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 5.0
"""An answer that takes longer is an outage to the user."""
_ENDING_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_KEYS: Final = "q quits, s sorts rejected events"
_WITHOUT_KEYS: Final = "Ctrl-C quits"


class Screen:
    """Shows a server until a key or a signal ends it.

    Args:
        stats: the first answer of the server.
        server: its address.
        interval_seconds: time between an answer and the next call.
        charset: what the terminal can show.

    """

    def __init__(
        self, stats: v1.GetServerStatsResponse, *, server: str, interval_seconds: float, charset: Charset
    ) -> None:
        self._stats = stats
        self._server = server
        self._interval_seconds = interval_seconds
        self._charset = charset
        self._order = Order.EVENTS
        self._answered = time.monotonic()
        self._problem = ""
        self._terminal = Terminal()
        self._has_changed = asyncio.Event()
        self._has_ended = False
        self._signal: signal.Signals | None = None

    async def run(self, client: EngagementClient) -> signal.Signals | None:
        """Returns the signal that ended it, or None after a key. The terminal is then as before."""
        loop = asyncio.get_running_loop()
        handlers: dict[signal.Signals, Callable[[signal.Signals], None]] = dict.fromkeys(
            _ENDING_SIGNALS, self._end
        )
        handlers |= {signal.SIGTSTP: self._pause, signal.SIGCONT: self._redraw, signal.SIGWINCH: self._redraw}
        # A signal that the caller has this process ignore stays ignored.
        handled = [each for each in handlers if signal.getsignal(each) is not signal.SIG_IGN]
        polling = asyncio.ensure_future(self._poll(client))
        polling.add_done_callback(lambda _: self._has_changed.set())
        for each in handled:
            loop.add_signal_handler(each, handlers[each], each)
        try:
            with self._terminal.taken():
                if self._terminal.keys is not None:
                    loop.add_reader(self._terminal.keys, self._read_keys)
                await self._show(polling)
        finally:
            polling.cancel()
            if self._terminal.keys is not None:
                loop.remove_reader(self._terminal.keys)
            for each in handled:
                loop.remove_signal_handler(each)
        return self._signal

    async def _poll(self, client: EngagementClient) -> None:
        while True:
            await asyncio.sleep(self._interval_seconds)
            try:
                self._stats = await client.get_server_stats()
            except EngagementError as error:
                self._problem = f"connection lost ({cause_of(error)})"
            else:
                self._answered = time.monotonic()
                self._problem = ""
            self._has_changed.set()

    async def _show(self, polling: asyncio.Future[None]) -> None:
        while not self._has_ended:
            if polling.done():
                polling.result()
            self._has_changed.clear()
            size = terminal_size()
            page = Page(self._stats, server=self._server, charset=self._charset)
            lines = page.fitted(size.columns, size.lines, notice=self._notice(), order=self._order)
            self._terminal.show(lines, size=size)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_changed.wait(), _REDRAW_SECONDS)

    def _notice(self) -> Notice:
        seconds = time.monotonic() - self._answered
        problem = self._problem
        if not problem and seconds > self._interval_seconds + _PATIENCE_SECONDS:
            problem = "the server does not answer"
        text = f"{problem}, trying again; the last answer is {length_text(seconds)} old" if problem else ""
        return Notice(text=text, keys=_WITHOUT_KEYS if self._terminal.keys is None else _KEYS)

    def _read_keys(self) -> None:
        typed = self._terminal.read_keys()
        if typed is None:
            self._has_ended = True
        for key in typed or "":
            if key in "qQ":
                self._has_ended = True
            elif key in "sS":
                self._order = Order.TIME if self._order is Order.EVENTS else Order.EVENTS
        self._has_changed.set()

    def _end(self, number: signal.Signals) -> None:
        self._signal = number
        self._has_ended = True
        self._has_changed.set()

    def _redraw(self, _: signal.Signals) -> None:
        self._terminal.refresh()
        self._has_changed.set()

    def _pause(self, number: signal.Signals) -> None:
        """Stops the process as Ctrl-Z does; it goes on here once it is continued."""
        loop = asyncio.get_running_loop()
        self._terminal.give_back()
        loop.remove_signal_handler(number)
        signal.raise_signal(number)
        loop.add_signal_handler(number, self._pause, number)
        self._terminal.take()
        self._has_changed.set()
