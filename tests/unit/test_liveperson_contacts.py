"""Contacts: the first ones are the person's own, the others stay together, nothing is lost or doubled."""

from __future__ import annotations

from typing import Any

import pytest

from engagement import v1
from tests.support.liveperson_input import export, person, read_event


def read_person(members: object) -> v1.Event:
    return read_event(export(person(members)))


def test_the_first_contact_is_the_person_s_own_and_others_follow() -> None:
    contacts = [{"email": "a", "phone": "1"}, {"email": "b", "phone": "2"}, {"phone": "3"}]
    info = read_person({"contacts": contacts}).personal_info
    assert (info.email, info.phone) == ("a", "1")
    assert list(info.other_contacts) == [
        v1.PersonalContact(email="b", phone="2"),
        v1.PersonalContact(phone="3"),
    ]


def test_address_and_phone_are_found_independently() -> None:
    contacts = [{"email": None, "phone": ""}, {"email": "a"}, {"email": "b", "phone": "1"}, {"email": "a"}]
    event = read_person({"contacts": contacts})
    assert (event.personal_info.email, event.personal_info.phone) == ("a", "1")
    assert list(event.personal_info.other_contacts) == [
        v1.PersonalContact(email="b"),
        v1.PersonalContact(email="a"),
    ]
    assert dict(event.additional_attributes) == {"contacts[0].phone": ""}


@pytest.mark.parametrize(
    "contacts",
    [
        {"email": "a", "phone": "1"},
        [{"email": "a", "phone": "1"}],
        {"personalContact": {"email": "a", "phone": "1"}},
        [{"personalContact": {"email": "a", "phone": "1"}}],
        [None, {"personalContact": None, "email": "a"}, {"personalContact": {"phone": 1}}],
    ],
)
def test_contacts_have_many_forms(contacts: Any) -> None:
    event = read_person({"contacts": contacts})
    assert (event.personal_info.email, event.personal_info.phone) == ("a", "1")
    assert not event.personal_info.other_contacts
    assert not event.additional_attributes


def test_what_else_a_contact_holds_keeps_its_path() -> None:
    contacts = [
        {"email": "a", "phoneType": "HOME", "personalContact": {"phone": "1", "tags": ["x"]}},
        "b@example.com",
        {"email": {"work": "c"}},
    ]
    event = read_person({"contacts": contacts})
    assert (event.personal_info.email, event.personal_info.phone) == ("a", "1")
    assert dict(event.additional_attributes) == {
        "contacts[0].phoneType": "HOME",
        "contacts[0].personalContact.tags[0]": "x",
        "contacts[1]": "b@example.com",
        "contacts[2].email.work": "c",
    }


def test_contacts_that_are_no_list_are_kept() -> None:
    event = read_person({"contacts": "a@example.com", "name": "Ada"})
    assert dict(event.additional_attributes) == {"contacts": "a@example.com"}


def test_a_direct_address_wins_over_the_contacts() -> None:
    info = read_person({"email": "own", "contacts": [{"email": "a", "phone": "1"}]}).personal_info
    assert (info.email, info.phone) == ("own", "1")
    assert list(info.other_contacts) == [v1.PersonalContact(email="a")]


def test_an_empty_direct_address_gives_way_to_the_contacts() -> None:
    event = read_person({"email": "", "phone": "", "contacts": [{"email": "a"}]})
    assert (event.personal_info.email, event.personal_info.phone) == ("a", "")
    assert event.personal_info.HasField("phone")
    assert dict(event.additional_attributes) == {"email": ""}
