"""The tables of settings and of series in docs/operations.md are those of the server."""

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
    described = DOCUMENT.read_text().partition("\n## Watch it\n")[2].partition("\n## ")[0]
    named = re.findall(r"`((?:grpc_server|engagement)_\w+)`", described)
    assert sorted(name.removesuffix("_total") for name in named) == sorted(CATALOGUE)
