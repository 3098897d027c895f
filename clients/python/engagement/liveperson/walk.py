"""Finds the attribute sets in a value that is in memory, wherever they stand, with what surrounds them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from engagement.liveperson.findings import RECOGNIZED, Finding, FoundSet, MisshapenSet, Path, Voucher
from engagement.liveperson.shapes import AMBIGUOUS, EXPORTED_SETS, Form, around, form_of, skip
from engagement.liveperson.surroundings import (
    CONTEXT,
    KNOWN_LISTS,
    NO_SURROUNDINGS,
    SUBJECTS,
    VOUCHERS,
    Surroundings,
    is_counted,
    is_record,
)
from engagement.liveperson.values import Json, Object, RepeatingObject, count_members, first_repeat
from engagement.violation import Violation

_NOTHING: Final[Sequence[Finding]] = ()
_CONTAINERS: Final = frozenset({dict, list})


class Walk:
    """One walk through a value: what an object holds comes before the object itself."""

    def __init__(self, *, may_repeat: bool = False) -> None:
        """If members may appear more than once, sets with such members are misshapen."""
        self._may_repeat = may_repeat
        self.members = 0
        """The number of members of all objects seen."""

    def find(self, value: Json, path: Path) -> Sequence[Finding]:
        """The findings in a value."""
        if isinstance(value, dict):
            return self._find_in_object(value, path)
        return self._find_in_list(value, path) if isinstance(value, list) else _NOTHING

    def _find_in_list(self, items: list[Json], path: Path) -> Sequence[Finding]:
        counted = is_counted(path)
        found: list[Finding] = []
        others: list[tuple[Path, Json]] = []
        for index, item in enumerate(items):
            place = (path, index)
            inside = _NOTHING
            if isinstance(item, dict):
                inside = self._find_in_object(item, place)
            elif isinstance(item, list):
                inside = self._find_in_list(item, place)
            elif not counted:
                continue
            if inside:
                found += inside
            elif counted:
                found.append(skip(place, item))
            else:
                others.append((place, item))
        if found:
            found += [skip(place, item) for place, item in others if isinstance(item, dict)]
        return found

    def _find_in_object(self, members: Object, path: Path) -> Sequence[Finding]:
        self.members += len(members)
        pairs: Iterable[tuple[str, Json]] = members.items()
        if self._may_repeat and isinstance(members, RepeatingObject):
            pairs = members.pairs
        form = form_of(members)
        found: list[Finding] = []
        gone: list[str] = []
        later: list[tuple[str, Json]] = []
        for name, child in pairs:
            if type(child) not in _CONTAINERS and not isinstance(child, RepeatingObject):
                continue
            if form is not None and name in form.members:
                self.members += count_members(child)
            elif name in AMBIGUOUS and isinstance(child, dict):
                later.append((name, child))
            elif inside := self.find(child, (path, name)):
                gone.append(name)
                found += vouched(inside, name)
        for name, child in later:
            if inside := self.find(child, (path, name)):
                gone.append(name)
                found += vouched(inside, name)
        if form is None and not found:
            return _NOTHING if KNOWN_LISTS.isdisjoint(members) else (RECOGNIZED,)
        kept = _without(members, gone) if gone else members
        own = own_sets(path, kept, form, is_record=bool(found), may_repeat=self._may_repeat)
        return [*_completed(found, kept, path), *own] or (RECOGNIZED,)


def vouched(findings: Sequence[Finding], name: str) -> Sequence[Finding]:
    """The findings in a member with this name, which may say who vouches for them."""
    voucher = VOUCHERS.get(name)
    if voucher is None:
        return findings
    return [
        each._replace(voucher=voucher)
        if isinstance(each, FoundSet) and each.voucher == Voucher.UNKNOWN
        else each
        for each in findings
    ]


def _completed(findings: Sequence[Finding], members: Object, path: Path) -> Iterable[Finding]:
    """The findings inside an object, completed by what its other members say."""
    if not findings:
        return findings
    said = NO_SURROUNDINGS if CONTEXT.isdisjoint(members) else Surroundings(members)
    return [complete(each, said, path) for each in findings]


def complete(finding: Finding, said: Surroundings, path: Path) -> Finding:
    """A finding in the object at the path, completed by what the object says."""
    if not isinstance(finding, FoundSet) or finding.is_settled:
        return finding
    if said.repeated:
        text = f"{said.repeated} appears more than once around it"
        return MisshapenSet(finding.path, finding.event, Violation("", "import.repeated", text))
    voucher = finding.voucher
    if voucher == Voucher.CLAIMS:
        voucher = Voucher.SOURCE if said.has_issuer else Voucher.UNKNOWN
    elif said is NO_SURROUNDINGS:
        return finding
    context = finding.context.or_else(said.context)
    is_settled = context.has_subject and is_record(path)
    return finding._replace(context=context, voucher=voucher, is_settled=is_settled)


def own_sets(
    path: Path, members: Object, form: Form | None, *, is_record: bool, may_repeat: bool
) -> Sequence[Finding]:
    """The sets that an object holds itself, completed by what it says of them.

    An object with other sets further inside is a record: the members beside its own set are not part of it.
    """
    if form is None:
        return _NOTHING
    own = [*form.read(path, members, {} if is_record else around(members, form))]
    if may_repeat and (repeated := _first_repeat(members, is_record=is_record)):
        violation = Violation(repeated, "import.repeated", "appears more than once")
        return [MisshapenSet(path, members, violation)]
    if CONTEXT.isdisjoint(members) or (not is_record and SUBJECTS.isdisjoint(members)):
        return own
    said = Surroundings(members, has_headers=is_record)
    return [complete(each, said, path) for each in own]


def _first_repeat(members: Object, *, is_record: bool) -> str:
    """The first member of an event that appears more than once; of a record, only its own sets matter."""
    if not is_record:
        return first_repeat(members)
    if isinstance(members, RepeatingObject) and (repeated := members.repeated & EXPORTED_SETS.keys()):
        return min(repeated)
    return first_repeat({name: members[name] for name in EXPORTED_SETS if name in members})


def _without(members: Object, names: Iterable[str]) -> Object:
    """The object without some members, and still with those that appear more than once."""
    rest = {name: value for name, value in members.items() if name not in names}
    if not isinstance(members, RepeatingObject):
        return rest
    pairs = [(name, value) for name, value in members.pairs if name in rest]
    return RepeatingObject(rest, pairs=pairs, repeated=members.repeated & rest.keys())
