"""The table of names in docs/import.md is that of the import, and covers all fields of the contract."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from engagement import v1
from engagement.liveperson import ImportedEvent, Importer

DOCUMENT = Path(__file__).parents[2] / "docs/import.md"
DATE = {"year": "2024", "month": 8, "day": "1"}
TIME = 1739964012345


def documented_names() -> list[tuple[str, str]]:
    """Every source name in the table, with its field of the contract."""
    names = DOCUMENT.read_text().partition("\n## Names\n")[2].partition("\n## Values\n")[0]
    rows = re.findall(r"^\| (`.*?) \| `(\w+)(?:\.(\w+))?`.*\|$", names, re.MULTILINE)
    fields = [(sources, f"{set_name}.{field}" if field else set_name) for sources, set_name, field in rows]
    known = ("customer_info.", "personal_info.", "additional_attributes")
    return [
        (name, field)
        for sources, field in fields
        if field.startswith(known)
        for name in re.findall(r"`([^`]+)`", sources)
    ]


def nested(path: str, value: object) -> dict[str, Any]:
    """`contacts[0].email` as `{"contacts": [{"email": value}]}`."""
    for step in reversed(path.split(".")):
        name, index, _ = step.partition("[0]")
        value = {name: [value] if index else value}
    assert isinstance(value, dict)
    return value


def imported(document: dict[str, Any]) -> v1.Event:
    (found,) = Importer(io.BytesIO(json.dumps(document).encode()), source="test")
    assert isinstance(found, ImportedEvent)
    return found.event


def value_for(field: str) -> Any:
    if field.endswith("_date"):
        return DATE
    return TIME if field.endswith("_time_stamp") else "some text"


@pytest.mark.parametrize(("name", "field"), documented_names())
def test_a_documented_name_is_read_in_every_shape(name: str, field: str) -> None:
    is_personal = field.startswith("personal") or "age" in name.lower()
    other = {"gender": "F"} if is_personal else {"role": "broker"}
    members = {**other, **nested(name, value_for(field))}
    kind, member = ("personal", "personal") if is_personal else ("ctmrinfo", "info")
    exported = "personalInfo" if is_personal else "customerInfo"
    export = {"conversationHistoryRecords": [{"sdes": {"events": [{exported: {exported: members}}]}}]}
    for event in (imported({"type": kind, member: members}), imported(export)):
        if field == "additional_attributes":
            assert event.additional_attributes[name] == "some text"
            continue
        set_name, _, attribute = field.partition(".")
        read = getattr(getattr(event, set_name), attribute)
        expected = v1.Date(year=2024, month=8, day=1) if field.endswith("_date") else value_for(field)
        assert read == expected
        assert not event.additional_attributes


def test_every_field_of_the_contract_is_in_the_table() -> None:
    documented = {field for _, field in documented_names()} | {"personal_info.other_contacts"}
    for name, message in (("customer_info", v1.CustomerInfo), ("personal_info", v1.PersonalInfo)):
        assert {f"{name}.{field.name}" for field in message.DESCRIPTOR.fields} <= documented
