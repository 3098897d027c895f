"""Reads the contacts of a person: the first e-mail address and phone, and the other contacts.

The first e-mail address and the first phone of all contacts become the person's own, unless the set names
them directly. They are removed from their contacts, and contacts that still have an address or phone are
the other contacts, so no value appears twice; those beyond the contract's limit are kept as one text. An
empty address or phone, like any other member of a contact, is kept under its path.
"""

from __future__ import annotations

from collections.abc import Iterator

from engagement import limits
from engagement.liveperson.leaves import Leaves, join
from engagement.liveperson.values import Json, text_of, without

_WAYS = ("email", "phone")


def take_contacts(value: Json, *, texts: dict[str, str], leaves: Leaves) -> list[dict[str, str]]:
    """The other contacts. Adds the first e-mail address and phone to the texts, the rest to the leaves."""
    contacts = [_take_contact(path, entry, leaves=leaves) for path, entry in _entries(value)]
    for way in _WAYS:
        first = next((contact for contact in contacts if way in contact), None)
        if first is None or texts.get(way):
            continue
        if way in texts:
            leaves.keep(way, texts[way])
        texts[way] = first.pop(way)
    others = [contact for contact in contacts if contact]
    if excess := others[limits.MAX_OTHER_CONTACTS :]:
        leaves.keep_folded("contacts", [dict(contact) for contact in excess])
    return others[: limits.MAX_OTHER_CONTACTS]


def _take_contact(path: str, entry: Json, *, leaves: Leaves) -> dict[str, str]:
    """The e-mail address and phone of one object. Adds the rest to the leaves."""
    if not isinstance(entry, dict):
        leaves.keep(path, entry)
        return {}
    contact: dict[str, str] = {}
    for name, value in entry.items():
        text = text_of(value)
        if text and name in _WAYS:
            contact[name] = text
        else:
            leaves.keep(join(path, name), value)
    return contact


def _entries(value: Json) -> Iterator[tuple[str, Json]]:
    """Everything that may be a contact, with its path.

    A single contact may come without a list, and a contact may be nested in another object.
    """
    items = enumerate(value) if isinstance(value, list) else [("", value)]
    for index, item in items:
        path = "contacts" if index == "" else f"contacts[{index}]"
        if isinstance(item, dict) and "personalContact" in item:
            yield f"{path}.personalContact", item["personalContact"]
            yield path, without(item, "personalContact")
        else:
            yield path, item
