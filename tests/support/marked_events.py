"""Events with a marker in every value, and a search of files for this marker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from engagement import v1
from tests.support.events import bad_event, text_fields

SUBJECT = "zq-subject-7f3a"
BYSTANDER = "bystander"


def marked_events(count: int, *, consumer_id: str, marker: str) -> list[v1.Event]:
    """Events of both sets in turn, with values that begin with the marker and are all different."""
    return [_marked(number, consumer_id=consumer_id, marker=marker) for number in range(count)]


def _marked(number: int, *, consumer_id: str, marker: str) -> v1.Event:
    event = v1.Event(
        event_id=f"{marker}id{number:05}",
        consumer_id=consumer_id,
        conversation_id=f"{marker}talk{number // 5}",
        source=f"{marker}source",
        authenticated=number % 3 == 0,
    )
    attributes: v1.CustomerInfo | v1.PersonalInfo
    attributes = event.customer_info if number % 2 else event.personal_info
    for name in text_fields(attributes):
        setattr(attributes, name, f"{marker.upper()}{name.replace('_', '')}{number} Common Words")
    if isinstance(attributes, v1.PersonalInfo):
        attributes.other_contacts.add(email=f"{marker}@other{number}.example", phone=f"{marker} 555")
    event.additional_attributes[f"{marker}key"] = f"{marker}additional{number} " + "long " * (
        number % 7 * 300
    )
    return event


def files_with(data_dir: Path, marker: str) -> dict[str, int]:
    """The files of a folder that contain the marker, in any case, and how often."""
    contents = {path.name: path.read_bytes().lower() for path in data_dir.rglob("*") if path.is_file()}
    assert contents, "the folder is empty"
    return {
        name: content.count(marker.encode())
        for name, content in contents.items()
        if marker.encode() in content
    }


def interleaved(*several: list[v1.Event]) -> Iterator[v1.Event]:
    """One event of each list in turn."""
    for some in zip(*several, strict=True):
        yield from some


def planted_event(event_id: str, marker: str, *, consumer_id: str = "") -> v1.Event:
    """An invalid event with the marker in its ids, in keys and in values."""
    event = bad_event(f"{marker}-{event_id}")
    event.consumer_id = consumer_id or f"{marker}@example.com"
    event.conversation_id = f"talk of {marker}"
    event.customer_info.customer_id = f"{marker}-customer"
    event.additional_attributes[f"{marker}@example.com"] = "\0"
    event.additional_attributes[f"name of {marker}"] = f"Ada {marker}"
    return event
