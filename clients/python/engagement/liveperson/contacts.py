"""Reads the contacts of a person: the first e-mail address and phone, and the other contacts.

The first e-mail address and the first phone, of whichever contact, are the person's own; a person
whose set names them directly keeps those. What was taken leaves its contact, and contacts that still
have an address or phone are the other contacts: every value is in one place, none is in two. An empty
text is no way to reach anyone: like all else that a contact holds, it is kept under its path.
"""

from __future__ import annotations

from collections.abc import Iterator

from engagement.liveperson.leaves import Leaves, join
from engagement.liveperson.values import Json, text_of, without

_WAYS = ("email", "phone")


def take_contacts(value: Json, *, texts: dict[str, str], leaves: Leaves) -> list[dict[str, str]]:
    """The other contacts; adds the first e-mail address and phone to the texts, the rest to the leaves."""
    contacts = [_take_contact(path, part, leaves=leaves) for path, part in _parts(value)]
    for way in _WAYS:
        first = next((contact for contact in contacts if way in contact), None)
        if first is None or texts.get(way):
            continue
        if way in texts:
            leaves.keep(way, texts[way])
        texts[way] = first.pop(way)
    return [contact for contact in contacts if contact]


def _take_contact(path: str, part: Json, *, leaves: Leaves) -> dict[str, str]:
    """The e-mail address and phone of one object; the leaves get the rest."""
    if not isinstance(part, dict):
        leaves.keep(path, part)
        return {}
    contact: dict[str, str] = {}
    for name, value in part.items():
        text = text_of(value)
        if text and name in _WAYS:
            contact[name] = text
        else:
            leaves.keep(join(path, name), value)
    return contact


def _parts(value: Json) -> Iterator[tuple[str, Json]]:
    """All that may hold a way to reach the person, with its path.

    A single contact may stand without its list, and a contact may stand inside another object.
    """
    items = enumerate(value) if isinstance(value, list) else [("", value)]
    for index, item in items:
        path = "contacts" if index == "" else f"contacts[{index}]"
        if isinstance(item, dict) and "personalContact" in item:
            yield f"{path}.personalContact", item["personalContact"]
            yield path, without(item, "personalContact")
        else:
            yield path, item
