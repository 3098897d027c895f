"""A real browser, Debian's Chromium, which sees nothing but this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

BROWSER: Final = Path("/usr/bin/chromium")
DRIVER: Final = Path("/usr/bin/chromedriver")
_ARGUMENTS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def missing_programs() -> list[str]:
    """Programs that a browser needs and that are not here."""
    return [str(path) for path in (BROWSER, DRIVER) if not path.exists()]


@contextmanager
def browsing(profile: Path) -> Iterator[Chrome]:
    """A browser with an empty profile, in English, in a window of a laptop."""
    options = ChromeOptions()
    options.binary_location = str(BROWSER)
    for argument in (*_ARGUMENTS, f"--user-data-dir={profile}", "--lang=en", "--window-size=1280,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options=options, service=ChromeService(executable_path=str(DRIVER)))
    try:
        yield browser
    finally:
        browser.quit()


def complaints(browser: Chrome) -> list[str]:
    """Errors and warnings of pages since the last call."""
    entries = browser.get_log("browser")  # type: ignore[no-untyped-call]  # as shipped
    return [str(entry["message"]) for entry in entries if entry["level"] in {"SEVERE", "WARNING"}]


def use_scheme(browser: Chrome, scheme: str) -> None:
    """Prefers a colour scheme, `light` or `dark`, and no motion, so that colours are final at once."""
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def use_width(browser: Chrome, width: int, *, height: int = 900, scale: float = 1) -> None:
    """Shows pages as a screen of this size does; one of less than 600 pixels is a phone."""
    screen = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
