"""Reports of rejections as inputs: the events inside them, and never the remarks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any  # Any: JSON

import pytest

from engagement.cli.input_events import Format, InputEvents
from engagement.cli.input_file import open_input
from engagement.cli.outcomes import FoundEvent, Rejection

EVENT = {"eventId": "e-1", "consumerId": "c-1", "customerInfo": {"balance": "1"}}
TEXT = {**EVENT, "eventId": "e-2"}


def entry(event: Any, *, rule: str = "json.syntax", **place: Any) -> dict[str, Any]:
    violations = [{"field": "a", "rule": rule, "description": "d"}]
    return {
        **(place or {"line": 7}),
        "reason": "UNREADABLE",
        "message": "m",
        "violations": violations,
        "event": event,
    }


def read(path: Path) -> list[FoundEvent | Rejection]:
    with open_input(str(path)) as file:
        found = InputEvents(file, format=Format.AUTO, source="s")
        items = list(found)
    assert found.damage == ""
    return items


FORMS: dict[str, Callable[[list[Any]], str]] = {
    "a line each": lambda entries: "".join(f"{json.dumps(each)}\n" for each in entries),
    "no spaces": lambda entries: "\n".join(json.dumps(each, separators=(",", ":")) for each in entries),
    "pretty": lambda entries: "\n".join(json.dumps(each, indent=2) for each in entries),
    "an array": json.dumps,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text_comes_first", [False, True])
def test_the_event_of_an_entry_is_read_be_it_text_or_not(
    tmp_path: Path, form: str, *, text_comes_first: bool
) -> None:
    path = tmp_path / "a.ndjson.rejected.ndjson"
    entries = [entry(EVENT), entry(json.dumps(TEXT), place="document 1[3]"), entry("nope"), entry("{} {}")]
    path.write_text(FORMS[form]([entries[1], entries[0], *entries[2:]] if text_comes_first else entries))
    items = read(path)
    events = {each.event.event_id: each.event for each in items if isinstance(each, FoundEvent)}
    assert events.keys() == {"e-1", "e-2"}
    for event in events.values():
        assert (event.consumer_id, event.customer_info.balance) == ("c-1", "1")
        assert not event.additional_attributes
    rejections = [each for each in items if isinstance(each, Rejection)]
    assert [each.text for each in rejections] == ["nope", "{} {}"]
    assert {each.message.partition(" (")[0] for each in rejections} == {
        "still as it was: repair the member event"
    }


def test_an_event_that_a_tool_has_put_before_its_remarks_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sorted.ndjson"
    path.write_text(json.dumps(entry(EVENT), sort_keys=True) + "\n")
    (found,) = read(path)
    assert isinstance(found, FoundEvent)
    assert found.event.event_id == "e-1"


def test_an_entry_without_an_event_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text('{"line": 1, "reason": "UNREADABLE", "message": "", "violations": []}\n')
    (found,) = read(path)
    assert isinstance(found, Rejection)


@pytest.mark.parametrize("rule", ["table.time", "csv.quote", "json.type"])
def test_a_repaired_row_of_a_table_is_read(tmp_path: Path, rule: str) -> None:
    path = tmp_path / "a.csv.rejected.ndjson"
    path.write_text(json.dumps(entry(EVENT, rule=rule)))
    [found] = read(path)
    assert isinstance(found, FoundEvent)
    assert found.event.event_id == "e-1"
