"""The alerts of `deploy/prometheus`, and whether they fire after scrapes of real servers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import yaml

from tests.support.child_process import REPOSITORY
from tests.support.management import Sample, ask, samples
from tests.support.promql import Scrape, evaluate, scraped
from tests.support.waiting import eventually

ALERTS_FILE = REPOSITORY / "deploy" / "prometheus" / "alerts.yaml"
Rule = dict[str, Any]  # Any: YAML, whose shape a test checks
_INSTANCE = "the server"


def rules(file: Path = ALERTS_FILE) -> list[Rule]:
    """All rules."""
    return [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


EXPRESSIONS: dict[str, str] = {rule["alert"]: rule["expr"] for rule in rules()}
"""The expression of each alert; how long it must hold is left to Prometheus."""


class Watch:
    """What Prometheus would know of one server since the first scrape."""

    def __init__(self, read: Callable[[], Awaitable[str]]) -> None:
        """`read` returns what the server shows, and raises OSError if it does not answer."""
        self._read = read
        self._scrapes: list[Scrape] = []

    async def scrape(self) -> None:
        """Looks at the server; the first and the last time count."""
        shown: dict[Sample, float] | None = None
        with contextlib.suppress(OSError):
            shown = samples(await self._read())
        self._scrapes[1:] = [scraped({_INSTANCE: shown}, seconds=time.monotonic())]

    async def fires(self, alert: str) -> bool:
        """Whether the condition of an alert holds now."""
        await self.scrape()
        return bool(evaluate(EXPRESSIONS[alert], self._scrapes))

    async def begin(self, *alerts: str) -> None:
        """Scrapes from now on; none of these alerts may fire yet."""
        self._scrapes.clear()
        await self.scrape()
        for alert in alerts:
            assert not await self.fires(alert), alert

    async def expect(self, alert: str) -> None:
        """Waits until an alert fires."""
        await eventually(lambda: self.fires(alert), f"{alert} fires")


def watch(address: Callable[[], str]) -> Watch:
    """Watches the server whose management port is at this address."""

    async def read() -> str:
        return ask(address(), "/metrics").text

    return Watch(read)
