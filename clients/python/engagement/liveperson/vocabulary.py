"""The names that members of a source have for the fields of the contract, today and in its first release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from engagement import v1
from engagement.attribute_order import FIRST_RELEASE


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The names of the fields of a set."""

    texts: dict[str, str]
    dates: dict[str, str]
    aliases: dict[str, str]

    @property
    def names(self) -> frozenset[str]:
        """All names."""
        return frozenset((*self.texts, *self.dates, *self.aliases))


Vocabularies = Mapping[str, Vocabulary]
"""By the names of the sets."""

_SETS: Final = {
    "customer_info": v1.CustomerInfo.DESCRIPTOR,
    "personal_info": v1.PersonalInfo.DESCRIPTOR,
}
# These never change: the ids of imported events depend on them.
_FIRST_ALIASES: Final = {
    "customer_info": {"cstatus": "customer_status", "ctype": "customer_type", "Currency": "currency"},
    "personal_info": {"firstname": "name", "lastname": "surname"},
}
_LATER_ALIASES: Final[dict[str, dict[str, str]]] = {"customer_info": {}, "personal_info": {}}


def _vocabularies(*, is_first: bool) -> dict[str, Vocabulary]:
    """The contract's own names, which the exports also use, and aliases."""
    found = {}
    for set_name, message in _SETS.items():
        fields = [
            field
            for field in message.fields
            if not field.is_repeated and (not is_first or field.name in FIRST_RELEASE[set_name])
        ]
        found[set_name] = Vocabulary(
            texts={field.json_name: field.name for field in fields if field.type == field.TYPE_STRING},
            dates={
                field.json_name: field.name for field in fields if field.message_type is v1.Date.DESCRIPTOR
            },
            aliases=_FIRST_ALIASES[set_name] | ({} if is_first else _LATER_ALIASES[set_name]),
        )
    return found


TODAY: Final[Vocabularies] = _vocabularies(is_first=False)
FIRST: Final[Vocabularies] = _vocabularies(is_first=True)
"""Other members were additional attributes in the first release, whatever they are today."""
LATER_NAMES: Final = {set_name: TODAY[set_name].names - FIRST[set_name].names for set_name in _SETS}
KNOWN_NAMES: Final = {
    "customer_info": TODAY["customer_info"].names,
    "personal_info": TODAY["personal_info"].names | {"age", "contacts"},
}
"""The names by which an object is recognized as a set."""
