"""The table of settings in docs/operations.md says what the configuration is."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path

from engagement_server.config import Config

DOCUMENT = Path(__file__).parents[2] / "docs/operations.md"


def test_the_table_of_settings_is_the_configuration() -> None:
    rows = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for setting in fields(Config):
        assert setting.default is not MISSING
        rows.append(f"| `{setting.name}` | `{setting.default}` | {setting.metadata['help']} |")
    expected = "\n".join(rows)
    assert f"\n\n{expected}\n\n" in DOCUMENT.read_text(), f"the table should be\n{expected}"
