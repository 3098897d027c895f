"""Builds an event of the contract from an attribute set of a source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from engagement import v1
from engagement.liveperson.attributes import Attributes, read_attributes
from engagement.liveperson.errors import UnreadableError
from engagement.liveperson.findings import Context, FoundSet, Voucher
from engagement.liveperson.identity import make_event_id
from engagement.liveperson.leaves import Leaves
from engagement.liveperson.surroundings import TIMES
from engagement.liveperson.times import read_time
from engagement.liveperson.values import Json, Object, text_of
from engagement.liveperson.vocabulary import Vocabularies

_MAX_FIELD_CHARACTERS: Final = 256
_UNSET_TIMES: Final = ("", "0")
_TIME_FIELDS: Final = {
    "customer_info": "customer_info.server_time_stamp",
    "personal_info": "personal_info.server_time_stamp",
}


class Content(NamedTuple):
    """The content of an event: its attributes, and the source's remarks about it.

    A tuple, not a dataclass: it is created for every event, at a third of the cost.
    """

    set_name: str
    context: Context
    is_authenticated: bool
    server_time_stamp: int | None
    original_time_stamp: int | None
    attributes: Attributes
    additional_attributes: dict[str, str]
    conversions: tuple[str, str]
    """The form from which each of its times was converted; empty if it was not."""
    is_self_contained: bool
    """Whether it is the same event wherever it stands: it names its subject, or its time."""

    def make_id(self, *, position: tuple[str, int] | None) -> str:
        """The event's id: derived from its content and, if given, from its position, a source and a number.

        Self-contained events are the same event, wherever they occur. Only their position distinguishes two
        equal ones of the others.
        """
        context = self.context
        identity = [
            position,
            [*context[:3]],
            [self.server_time_stamp, self.original_time_stamp, self.is_authenticated],
            [self.set_name, self.attributes.texts, self.attributes.dates, self.attributes.other_contacts],
            self.additional_attributes,
        ]
        return make_event_id(identity, prefix=position[1] if position else self.server_time_stamp or 0)

    def build(self, *, event_id: str, source: str) -> v1.Event:
        """The event. Raises UnreadableError if a text is not Unicode."""
        try:
            event = v1.Event(
                event_id=event_id,
                consumer_id=self.context.consumer_id,
                conversation_id=self.context.conversation_id,
                authenticated=self.is_authenticated,
                original_time_stamp=self.original_time_stamp,
                source=source,
                additional_attributes=self.additional_attributes,
            )
            self._fill(event.customer_info if self.set_name == "customer_info" else event.personal_info)
        except UnicodeEncodeError:
            field = next(path for path, text in self._texts() if not _is_unicode(text))
            raise _not_unicode(field) from None
        return event

    def _fill(self, info: v1.CustomerInfo | v1.PersonalInfo) -> None:
        """Sets the attributes in place, which takes half the time of building a message and copying it."""
        info.SetInParent()
        if self.server_time_stamp is not None:
            info.server_time_stamp = self.server_time_stamp
        for field, text in self.attributes.texts.items():
            setattr(info, field, text)
        for field, (year, month, day) in self.attributes.dates.items():
            date = getattr(info, field)
            date.year, date.month, date.day = year, month, day
            date.SetInParent()
        for contact in self.attributes.other_contacts:
            info.other_contacts.add(**contact)  # type: ignore[union-attr]  # only personal information has any

    def _texts(self) -> Iterator[tuple[str, str]]:
        """Every text of the event with its path, keys included."""
        yield "consumer_id", self.context.consumer_id
        yield "conversation_id", self.context.conversation_id
        for field, text in self.attributes.texts.items():
            yield f"{self.set_name}.{field}", text
        for index, contact in enumerate(self.attributes.other_contacts):
            for way, text in contact.items():
                yield f"{self.set_name}.other_contacts[{index}].{way}", text
        for key, text in self.additional_attributes.items():
            yield f'additional_attributes["{key}"]', key + text


def read_content(found: FoundSet, *, vocabularies: Vocabularies) -> Content | None:
    """The content of a set, or None if it has no attribute; times and empty leaves do not count as such.

    Raises UnreadableError if the contract cannot express it.
    """
    leaves = Leaves()
    remarks: dict[str, list[Json]] = {"serverTimeStamp": [], "originalTimeStamp": []}
    if not found.is_pushed or not is_self_declared(found):
        remarks["isAuthenticated"] = []
    attributes, rest = read_attributes(
        found.name, found.levels[0], vocabulary=vocabularies[found.name], leaves=leaves
    )
    if rest:
        _keep_rest(rest, remarks=remarks, leaves=leaves)
    if not attributes and not any(leaves.texts.values()):
        return None
    for level in found.levels[1:]:
        _keep_rest(level, remarks=remarks, leaves=leaves)
    server_time = _first_time(remarks, "serverTimeStamp", leaves=leaves)
    if server_time is None:
        server_time = found.context.time
    original_time = _first_time(remarks, "originalTimeStamp", leaves=leaves)
    server = read_time(server_time, field=_TIME_FIELDS[found.name])
    original = read_time(original_time, field="original_time_stamp")
    return Content(
        set_name=found.name,
        context=found.context,
        is_authenticated=_judge(
            remarks.get("isAuthenticated", ()), is_vouched=_is_vouched(found), leaves=leaves
        ),
        server_time_stamp=server.milliseconds if server else None,
        original_time_stamp=original.milliseconds if original else None,
        attributes=attributes,
        additional_attributes=leaves.fitting_texts(),
        conversions=(server.conversion if server else "", original.conversion if original else ""),
        is_self_contained=found.context.has_subject or (not found.is_pushed and server is not None),
    )


def is_self_declared(found: FoundSet) -> bool:
    """Whether only the page that pushed the set says whom it is about."""
    return found.is_pushed and not found.context.has_subject and found.voucher != Voucher.SOURCE


def _is_vouched(found: FoundSet) -> bool:
    if found.voucher == Voucher.LIST:
        return not is_self_declared(found)
    return found.voucher == Voucher.SOURCE


def _keep_rest(members: Object, *, remarks: dict[str, list[Json]], leaves: Leaves) -> None:
    """Keeps members that are not attributes: remarks about the event separately, others as leaves."""
    for name, value in members.items():
        if value is None:
            continue
        remark = TIMES.get(name, name)
        if remark in remarks:
            remarks[remark].append(value)
        else:
            leaves.keep(name, value)


def _first_time(remarks: dict[str, list[Json]], name: str, *, leaves: Leaves) -> Json:
    """The innermost time; other, different ones become leaves."""
    times = remarks[name]
    if not times:
        return None
    first, *others = [time for time in times if time not in _UNSET_TIMES] or [None]
    for time in others:
        if time != first:
            leaves.keep(name, time)
    return first


def _judge(claims: Sequence[Json], *, is_vouched: bool, leaves: Leaves) -> bool:
    """Whether the event is authenticated, by its own claims; one denial outweighs them all."""
    if not claims:
        return is_vouched
    verdicts = [(text_of(claim) or "").lower() for claim in claims]
    verdict = "false" not in verdicts and (is_vouched or "true" in verdicts)
    for claim, said in zip(claims, verdicts, strict=True):
        if said != ("true" if verdict else "false"):
            leaves.keep("isAuthenticated", claim)
    return verdict


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _not_unicode(field: str) -> UnreadableError:
    printable = field.encode("ascii", "backslashreplace").decode("ascii")[:_MAX_FIELD_CHARACTERS]
    description = "must be Unicode text: it holds half of a surrogate pair, or bytes that are not UTF-8"
    return UnreadableError(printable, rule="import.unicode", description=description)
