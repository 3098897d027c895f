"""The tables of settings and of series in docs/ are those of the server."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from engagement_server.commands.serve import config_sections, environment_variable
from engagement_server.metrics.catalogue import CATALOGUE
from engagement_server.settings import option_name

DOCUMENT = Path(__file__).parents[2] / "docs/operations.md"


def test_the_table_of_settings_is_the_configuration() -> None:
    rows = ["| option | variable | default | meaning |", "| --- | --- | --- | --- |"]
    for section in config_sections().values():
        for setting in fields(section):
            default = "" if setting.default in {None, ""} else f"`{setting.default}`"
            meaning = setting.metadata["help"].replace("|", "\\|")
            names = f"`{option_name(setting.name)}` | `{environment_variable(setting.name)}`"
            rows.append(f"| {names} | {default} | {meaning} |")
    expected = "\n".join(rows)
    assert f"\n\n{expected}\n\n" in DOCUMENT.read_text(), f"the table should be\n{expected}"


def test_each_series_is_described_and_no_other() -> None:
    of_logs = {name for name in CATALOGUE if name.startswith("engagement_log_")}
    assert sorted(series_in("operations.md", "Watch it")) == sorted(CATALOGUE.keys() - of_logs)
    assert of_logs < set(series_in("cluster.md", "Monitoring")) < CATALOGUE.keys()


def series_in(document: str, section: str) -> list[str]:
    """The names of series in a section."""
    text = (DOCUMENT.parent / document).read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    names = re.findall(r"`((?:grpc_server|engagement)_\w+)`", text)
    return [name.removesuffix("_total") for name in names]
