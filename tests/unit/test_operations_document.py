"""The table of settings in docs/operations.md is derived from the configuration."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from engagement_server.commands.serve import config_sections, environment_variable
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
