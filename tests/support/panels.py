"""The panels of the dashboard in `deploy/grafana`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from tests.support.child_process import REPOSITORY

DASHBOARD: dict[str, Any] = json.loads(
    (REPOSITORY / "deploy/grafana/engagement.json").read_text()
)  # Any: JSON
_VARIABLES = {"$instance": ".*", "$__rate_interval": "1m"}


class Panel(NamedTuple):
    """A panel that shows something."""

    title: str
    description: str
    unit: str
    expressions: Sequence[str]
    """Without variables."""
    datasources: Sequence[str]
    place: tuple[int, int, int, int]
    """Left, top, width and height."""


def panels() -> list[Panel]:
    """All but the headings."""
    return [_panel(each) for each in DASHBOARD["panels"] if each["type"] != "row"]


def _panel(panel: dict[str, Any]) -> Panel:  # Any: JSON
    place = panel["gridPos"]
    return Panel(
        panel["title"],
        panel["description"],
        panel["fieldConfig"]["defaults"]["unit"],
        [_resolved(target["expr"]) for target in panel["targets"]],
        [each["datasource"]["uid"] for each in (panel, *panel["targets"])],
        (place["x"], place["y"], place["w"], place["h"]),
    )


def _resolved(expression: str) -> str:
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    return expression
