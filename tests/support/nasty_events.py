"""Events whose texts are hard to keep in a table, and every shape that an event may have."""

from __future__ import annotations

from engagement import v1
from tests.support.filled_events import TIME_MS, filled_events

TEXTS = (
    "",
    " ",
    " x ",
    '"',
    '""',
    '","',
    'a "quoted" text',
    "two\nlines",
    "two\r\nlines",
    "\r",
    "\n",
    "a,b;c\td",
    "=1+1",
    "+1 212-788-8877",
    "-400.99",
    "@sum",
    "\t=1",
    "\r=1",
    "'",
    "''=1",
    "'=1",
    "＝1",  # noqa: RUF001 - full width
    "00501",
    "1e5",
    "true",
    "null",
    "NULL",
    "NaN",
    "None",
    "2024-05-31",
    "marked",
    "\ufeff",
    "\u2028\u2029\x85\x0b\x0c\x1c",
    "é😀東京\u200e",
    "\x01\x7f",
    "\\",
    "\\N",
    "{}",
    "x" * 50_000,
    '"\n' * 1_000,
)
"""None breaks a rule."""
IN_ALL_FIELDS = ("", "'=1", '"\r\n",', "00501")


def nasty_events() -> list[v1.Event]:
    """Good events with times of their own, so that the server fills in nothing."""
    events = [*filled_events().values()]
    for number, text in enumerate(TEXTS):
        customer = v1.CustomerInfo(server_time_stamp=TIME_MS, balance=text, role=text or None)
        person = v1.PersonalInfo(server_time_stamp=TIME_MS, name=text)
        person.other_contacts.add(email=text)
        person.other_contacts.add(phone=text)
        person.other_contacts.add()
        events += [
            v1.Event(event_id=f"c-{number}", consumer_id=text, source=text[:64], customer_info=customer),
            v1.Event(
                event_id=f"p-{number}",
                conversation_id=text,
                authenticated=True,
                personal_info=person,
                additional_attributes={text or "empty": text, f"b.{number}": "", "=k": "'"},
            ),
        ]
        if text and len(text) <= 120:
            events.append(v1.Event(event_id=f"{text}{number}", customer_info=customer))
    for number, text in enumerate(IN_ALL_FIELDS):
        for name, event in filled_events().items():
            attributes = getattr(event, name)
            for field in attributes.DESCRIPTOR.fields:
                if field.type == field.TYPE_STRING:
                    setattr(attributes, field.name, text)
            event.event_id = f"{name}-{number}"
            events.append(event)
    only_time = v1.CustomerInfo(server_time_stamp=TIME_MS)
    events += [
        v1.Event(event_id="customer set without attributes", customer_info=only_time),
        v1.Event(
            event_id="personal set without attributes",
            personal_info=v1.PersonalInfo(server_time_stamp=TIME_MS),
        ),
        v1.Event(
            event_id="first and last moment",
            original_time_stamp=315_532_800_000,
            customer_info=v1.CustomerInfo(
                server_time_stamp=TIME_MS + 1,
                registration_date=v1.Date(year=1, month=1, day=1),
                last_payment_date=v1.Date(year=9999, month=12, day=31),
            ),
        ),
        v1.Event(event_id="last moment", original_time_stamp=253_402_300_799_999, customer_info=only_time),
    ]
    return events
