"""One browser for the tests of a process, and the status page over states that a test makes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome

from tests.browser.page import StagedPage
from tests.support.browser import browsing, complaints, missing_programs, use_scheme, use_width
from tests.support.page_server import PageServer
from tests.support.server_stats import busy_answer


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A browser; without it, the test is skipped."""
    if missing := missing_programs():
        pytest.skip(f"a browser needs {', '.join(missing)}: Debian's packages chromium and chromium-driver")
    profile = tmp_path_factory.mktemp("browser")
    with browsing(profile) as browser:
        yield browser
    shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture
def browser(chromium: Chrome) -> Iterator[Chrome]:
    """A browser on an empty page, light and as wide as a laptop."""
    use_scheme(chromium, "light")
    use_width(chromium, 1280)
    chromium.get("about:blank")
    complaints(chromium)
    yield chromium
    chromium.get("about:blank")  # asks no more


@pytest.fixture
def page_server() -> Iterator[PageServer]:
    """A server with something in every part of its state."""
    server = PageServer()
    server.answer = busy_answer()
    server.open()
    yield server
    server.close()


@pytest.fixture
def page(browser: Chrome, page_server: PageServer) -> StagedPage:
    """The page of that server, with its first sample."""
    page = StagedPage(browser, page_server)
    page.load()
    return page
