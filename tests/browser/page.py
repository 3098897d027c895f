"""What a person reads on the status page, and does with it."""

from __future__ import annotations

from typing import Any

from selenium.webdriver import ActionChains, Chrome

from tests.support.browser import complaints
from tests.support.page_server import PageServer
from tests.support.waiting import wait_until

# Which answer is shown: the page works on it before timers run.
_NOTE_ANSWERS = """
    const read = Response.prototype.json;
    window.shown = 0;
    Response.prototype.json = async function () {
        const value = await read.call(this);
        setTimeout(() => { window.shown = Number(this.headers.get("X-Asked")); });
        return value;
    };
"""
WAITING = "Waiting for the first sample"


class Page:
    """A page in a browser."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser = browser
        self._url = url

    def load(self) -> None:
        """Opens the page and waits until something came of its first question."""
        self.browser.get(self._url)
        wait_until(lambda: self.state != WAITING, "the page shows the first answer")
        self.run(_NOTE_ANSWERS)

    def wake(self) -> None:
        """Tells the page that somebody looks at it again."""
        self.run("document.dispatchEvent(new Event('visibilitychange'))")

    def run(self, script: str, *arguments: object) -> Any:  # Any: what the script returns
        """The result of a script in the page."""
        return self.browser.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        """The visible text of the first element."""
        return str(self.run("return document.querySelector(arguments[0]).innerText", selector))

    def rows(self, place: str) -> list[list[str]]:
        """The visible texts of the cells of a table."""
        script = """
            return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)]
                .map((row) => [...row.cells].map((cell) => cell.innerText.trim()));
        """
        rows: list[list[str]] = self.run(script, place)
        return rows

    def column(self, place: str, index: int) -> list[str]:
        """One column of a table."""
        return [row[index] for row in self.rows(place)]

    def press(self, *keys: str) -> None:
        """Presses keys, one after another, wherever the focus is."""
        for key in keys:
            ActionChains(self.browser).send_keys(key).perform()

    @property
    def state(self) -> str:
        """The first heading."""
        return self.text("h1")

    @property
    def errors(self) -> list[str]:
        """What the browser has complained about since the last look."""
        return complaints(self.browser)


class StagedPage(Page):
    """The page of a server whose state the test makes."""

    def __init__(self, browser: Chrome, server: PageServer) -> None:
        super().__init__(browser, server.url)
        self.server = server

    def refresh_to(self, state: str) -> None:
        """Makes the page ask now, and waits until its first heading is this one."""
        self.wake()
        wait_until(lambda: self.state == state, f"the page says {state!r}")

    def refresh(self) -> None:
        """Makes the page ask now, as when somebody comes back to it, and waits until it shows the answer."""
        asked = self.server.asked
        self.wake()
        wait_until(lambda: self.run("return window.shown") > asked, "the page shows the answer")
