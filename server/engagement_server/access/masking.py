"""Masking: hides what may identify a person from callers without the scope `read.pii`.

It is the only place that knows what is hidden and how. Whatever makes answers takes a `Mask` or None, and
asks it where an event becomes bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message_factory import GetMessageClass

from engagement import v1
from engagement.masked import ADDITIONAL_ATTRIBUTES, MARKED, MASKED_KEY, MASKED_TEXT, SCOPE, marked_fields
from engagement_server.errors import ScopeMissingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from engagement_server.access.identities import Identity
    from engagement_server.messages import Mask


class PersonMask:
    """Hides the fields that the contract marks, the contacts, and the additional attributes.

    Texts become one fixed text, lists one masked item, and values of any other type are left out. So are
    fields that this contract does not know: nobody has said whether they identify a person.
    """

    def mask_event(self, event: v1.Event) -> Sequence[str]:
        """See `Mask.mask_event`."""
        event.DiscardUnknownFields()
        paths: list[str] = []
        if (set_name := event.WhichOneof("attributes")) is not None:
            paths = _mask_attributes(set_name, getattr(event, set_name))
        if event.additional_attributes:
            event.additional_attributes.clear()
            event.additional_attributes[MASKED_KEY] = MASKED_TEXT
            paths.append(ADDITIONAL_ATTRIBUTES)
        return paths

    def mask_profile(self, profile: v1.Profile) -> None:
        """See `Mask.mask_profile`."""
        profile.DiscardUnknownFields()
        profile.masked_fields[:] = [
            path
            for set_name in MARKED
            if profile.HasField(set_name)
            for path in _mask_attributes(set_name, getattr(profile, set_name))
        ]


PERSON_MASK: Final = PersonMask()
"""There is one, so that all who may not see persons share what is masked."""


def mask_of(identity: Identity) -> Mask | None:
    """What hides values from a caller; None for one that sees everything."""
    return None if identity.principal.sees_persons else PERSON_MASK


def require_open(wanted: v1.EventFilter, mask: Mask | None) -> None:
    """Refuses to tell by its results what is hidden. Raises ScopeMissingError.

    Words are searched in all values. The other fields of a filter are about values that nobody hides.
    """
    if mask is not None and wanted.text:
        raise ScopeMissingError(
            SCOPE, what="filter.text finds events by values that are masked; leave it out"
        )


def _mask_attributes(set_name: str, attributes: Any) -> list[str]:  # Any: of either set
    """Masks an attribute set; returns the paths of what was masked."""
    paths = []
    for name, path, is_list, masked in _MASKED_VALUES[set_name]:
        if not (getattr(attributes, name) if is_list else attributes.HasField(name)):
            continue
        if isinstance(masked, str) and not is_list:
            setattr(attributes, name, masked)
        else:
            attributes.ClearField(name)
            if masked is not None:
                getattr(attributes, name).append(masked)
        paths.append(path)
    return paths


def _masked_values(set_name: str) -> Iterator[tuple[str, str, bool, Any]]:
    """Of each marked field its name, its path, whether it is a list, and what masked it holds or None."""
    events: Any = v1.Event.DESCRIPTOR  # Any: the stubs allow several types of descriptors
    fields = events.fields_by_name[set_name].message_type.fields_by_name
    for name in MARKED[set_name]:
        field = fields[name]
        masked: Any = None  # Any: of a field of any type
        if field.type == field.TYPE_STRING:
            masked = MASKED_TEXT
        elif field.is_repeated and field.message_type is not None:
            item = GetMessageClass(field.message_type)
            masked = item(**dict.fromkeys(marked_fields(item), MASKED_TEXT))
        yield name, f"{set_name}.{name}", field.is_repeated, masked


_MASKED_VALUES: Final = {set_name: [*_masked_values(set_name)] for set_name in MARKED}
