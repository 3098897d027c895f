"""Finds the attribute sets in a value that is in memory, wherever they stand, with what surrounds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final  # Any: members that are known to be containers

from engagement.liveperson.findings import (
    NO_CONTEXT,
    RECOGNIZED,
    Finding,
    FoundSet,
    MisshapenSet,
    Path,
    Voucher,
)
from engagement.liveperson.shapes import AMBIGUOUS, EXPORTED_SETS, Form, around, form_of, skip
from engagement.liveperson.surroundings import (
    KNOWN_LISTS,
    VOUCHERS,
    Surroundings,
    is_counted,
    is_record,
    may_name_subject,
    may_say_something,
)
from engagement.liveperson.values import (
    CONTAINERS,
    Json,
    Object,
    RepeatingObject,
    count_members,
    first_repeat,
)
from engagement.violation import Violation

_NOTHING: Final[Sequence[Finding]] = ()


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
            if type(item) in CONTAINERS:
                inside = self.find(item, place)
                if inside:
                    found += inside
                    continue
            if counted:
                found.append(skip(place, item))
            elif isinstance(item, dict):
                others.append((place, item))
        if found and others:
            found += [skip(place, item) for place, item in others]
        return found

    def _find_in_object(self, members: Object, path: Path) -> Sequence[Finding]:
        self.members += len(members)
        form = form_of(members)
        own = form.members if form else ()
        found: list[Finding] = []
        gone: list[str] = []
        for name, child in self._containers(members):
            if name in own:
                self.members += count_members(child)
            elif inside := self.find(child, (path, name)):
                gone.append(name)
                vouch(inside, name)
                found += inside
        if form is None and not found:
            return _NOTHING if KNOWN_LISTS.isdisjoint(members) else (RECOGNIZED,)
        kept = _without(members, gone) if gone else members
        sets = own_sets(path, kept, form, is_record=bool(found), may_repeat=self._may_repeat)
        return [*_completed(found, kept, path), *sets] if found else sets or (RECOGNIZED,)

    def _containers(self, members: Object) -> Sequence[tuple[str, Any]]:
        """The members that are objects or arrays, and last those whose meaning depends on the others."""
        pairs: Iterable[tuple[str, Json]] = members.items()
        if self._may_repeat and isinstance(members, RepeatingObject):
            pairs = members.pairs
        found = [pair for pair in pairs if type(pair[1]) in CONTAINERS]
        if len(found) > 1 and not AMBIGUOUS.isdisjoint(members):
            found.sort(key=_is_ambiguous)
        return found


def _is_ambiguous(member: tuple[str, Json]) -> bool:
    name, value = member
    return name in AMBIGUOUS and isinstance(value, dict)


def vouch(findings: Sequence[Finding], name: str) -> None:
    """Fills in who vouches for what was found in a member with this name."""
    voucher = VOUCHERS.get(name)
    if voucher is None:
        return
    for each in findings:
        if isinstance(each, FoundSet) and not each.voucher:
            each.voucher = voucher


def _completed(findings: list[Finding], members: Object, path: Path) -> Iterable[Finding]:
    """The findings inside an object, completed by what its other members say."""
    if may_say_something(members):
        return complete(findings, Surroundings(members), path)
    for each in findings:
        if isinstance(each, FoundSet) and each.voucher is Voucher.CLAIMS:
            each.voucher = Voucher.UNKNOWN
    return findings


def complete(findings: Iterable[Finding], said: Surroundings, path: Path) -> Iterator[Finding]:
    """Findings in the object at the path, completed by what the object says."""
    settles = is_record(path)
    outer = said.context
    for each in findings:
        if not isinstance(each, FoundSet) or each.is_settled:
            yield each
            continue
        if said.repeated:
            text = f"{said.repeated} appears more than once around it"
            yield MisshapenSet(each.path, each.whole(), Violation("", "import.repeated", text))
            continue
        if name := said.conflict(each.context):
            text = f"{name} has several values around it, and none is nearer"
            yield MisshapenSet(each.path, each.whole(), Violation("", "import.conflict", text))
            continue
        if each.voucher is Voucher.CLAIMS:
            each.voucher = Voucher.SOURCE if said.has_issuer else Voucher.UNKNOWN
        each.context = outer if each.context is NO_CONTEXT else each.context.or_else(outer)
        each.is_settled = settles and each.context.has_subject
        yield each


def own_sets(
    path: Path, members: Object, form: Form | None, *, is_record: bool, may_repeat: bool
) -> Sequence[Finding]:
    """The sets that an object holds itself, completed by what it says of them.

    An object with other sets further inside is a record: the members beside its own set are not part of it.
    """
    if form is None:
        return _NOTHING
    beside = around(members, form)
    own = form.read(path, members, {} if is_record else beside)
    if may_repeat and (repeated := _first_repeat(members, is_record=is_record)):
        violation = Violation(repeated, "import.repeated", "appears more than once")
        return [MisshapenSet(path, members, violation)]
    if not (may_say_something(members) if is_record else may_name_subject(members, beside)):
        return own
    return [*complete(own, Surroundings(members, without=form.members), path)]


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
