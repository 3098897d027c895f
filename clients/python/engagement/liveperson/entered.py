"""An object that is read member by member, because it does not fit into memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from engagement.liveperson.findings import (
    NO_CONTEXT,
    RECOGNIZED,
    Finding,
    FoundSet,
    MisshapenSet,
    Path,
    SkippedSet,
    Voucher,
)
from engagement.liveperson.held import Findings, Held, in_batches
from engagement.liveperson.scanner import ABSENT, Absent
from engagement.liveperson.shapes import AMBIGUOUS, EXPORTED_SETS, Form, form_of, is_set_without
from engagement.liveperson.surroundings import CONTEXT, KNOWN_LISTS, TIMES, Surroundings
from engagement.liveperson.values import Json, Object, RepeatingObject, object_of
from engagement.liveperson.walk import Walk, complete, own_sets, vouch
from engagement.violation import Violation

_TYPES: Final = frozenset({"type", "sdeType", "timestamp"})


class EnteredObject:
    """What is known of an object up to some member.

    A set found inside comes out at once if no later member can add to its context, and otherwise at the end
    of the object. Members in which nothing was found are kept, up to `max_characters`, because the object
    itself may be a set.
    """

    def __init__(self, path: Path, *, max_characters: int) -> None:
        self._path = path
        self._max_characters = max_characters
        self._held = Held()
        self._pairs: list[tuple[str, Json]] = []
        self._characters = 0
        self._lost: set[str] = set()
        """Members that are not kept; of those without a meaning, any one."""
        self._known: Object = {}
        """The first member of each name with a context; None if it holds sets, and so is no header."""
        self._found_any = False
        self._is_known = False
        self._around: Surroundings | None = None
        self.value: Json | Absent = ABSENT
        """The object, once it is closed, if nothing was found in it and it is not too large."""

    def pass_on(self, findings: Sequence[Finding], name: str, *, characters: int) -> Sequence[Finding]:
        """Takes what was found in the member with this name; returns what comes out already.

        Raises OSError if the others cannot be held.
        """
        self._found_any = self._found_any or bool(findings)
        vouch(findings, name)
        ready: list[Finding] = []
        for finding in findings:
            may_change = isinstance(finding, FoundSet) and self._may_change(finding)
            if not isinstance(finding, SkippedSet) and (self._held or may_change):
                self._held.add(finding, characters=characters)
            else:
                ready.append(finding)
        return ready

    def take_over(self, held: Held, name: str) -> bool:
        """Takes what the member with this name has held, if it still waits; otherwise it is passed on.

        Raises OSError if it cannot be held.
        """
        first = held.first
        if isinstance(first, FoundSet):
            vouch((first,), name)
            if self._may_change(first) or self._held:
                self._found_any = True
                held.change(partial(_vouched, name=name))
                self._held.take_over(held)
                return True
        return False

    def keep(self, name: str, value: Json | Absent, *, characters: int) -> None:
        """Takes a member in which nothing was found; absent if it is too large."""
        self._is_known = self._is_known or name in KNOWN_LISTS
        self._characters += characters
        if isinstance(value, Absent) or self._characters > self._max_characters:
            if not self._lost:
                self._pairs = [pair for pair in self._pairs if _matters(*pair)]
            if _matters(name, value) or not self._lost:
                self._lost.add(name)
        if not isinstance(value, Absent) and (not self._lost or _matters(name, value)):
            self._pairs.append((name, value))
            if name in CONTEXT and name not in self._known:
                holds_sets = name in AMBIGUOUS and Walk().find(value, (self._path, name))
                self._known[name] = None if holds_sets else value
                self._around = None

    def close(self, *, may_repeat: bool) -> Iterator[Findings]:
        """What comes out at the end of the object."""
        may_repeat = may_repeat or isinstance(object_of(self._pairs), RepeatingObject)
        form = form_of(object_of(self._pairs))
        yield from self._find_in_ambiguous(form, Walk(may_repeat=may_repeat))
        members = object_of(self._pairs)
        said = Surroundings(members)
        yield from self._close_held(said)
        own: Sequence[Finding] = ()
        if not self._lost or self._found_any:
            own = own_sets(self._path, members, form, is_record=self._found_any, may_repeat=may_repeat)
        elif is_set_without(members, self._lost):
            text = f"takes more than {self._max_characters} characters"
            own = (MisshapenSet(self._path, members, Violation("", "import.max_characters", text)),)
        if own:
            yield own
        elif self._found_any:
            return
        elif self._is_known:
            yield (RECOGNIZED,)
        elif not self._lost:
            self.value = members

    def _close_held(self, said: Surroundings) -> Iterator[Findings]:
        """What is held, completed; as it is if all of it still waits."""
        completed = partial(complete, said=said, path=self._path)
        first = next(iter(completed((self._held.first,))), None) if self._held.first else None
        if isinstance(first, FoundSet) and _is_incomplete(first):
            self._held.change(completed)
            yield self._held
        else:
            yield from in_batches(completed(self._held))

    def _find_in_ambiguous(self, form: Form | None, walk: Walk) -> Iterator[Findings]:
        """What is in members that are no sets, as the form of the object shows."""
        for name, value in self._pairs.copy():
            if name not in AMBIGUOUS or not isinstance(value, dict) or (form and name in form.members):
                continue
            if inside := walk.find(value, (self._path, name)):
                self._pairs.remove((name, value))
                yield self.pass_on(inside, name, characters=self._characters)

    def release(self) -> Iterator[Finding]:
        """What is held when the input is damaged: sets whose context cannot be known are misshapen."""
        for finding in self._held:
            if isinstance(finding, FoundSet) and _is_incomplete(finding):
                text = "its conversation or consumer may stand behind the damage"
                yield MisshapenSet(finding.path, finding.whole(), Violation("", "import.context", text))
            else:
                yield finding

    def _may_change(self, found: FoundSet) -> bool:
        """Whether later members may tell more about a set; fills in what none of them can change."""
        if found.is_settled:
            return False
        if self._around is None:
            # Other members are never final.
            self._around = Surroundings(self._known)
        if found.voucher is Voucher.CLAIMS and self._around.has_issuer:
            found.voucher = Voucher.SOURCE
        found.context = found.context.or_else(self._around.final)
        return _is_incomplete(found)


def _vouched(findings: Iterable[Finding], *, name: str) -> Iterator[Finding]:
    for finding in findings:
        vouch((finding,), name)
        yield finding


def _is_incomplete(found: FoundSet) -> bool:
    if found.is_settled:
        return False
    *subject, time = found.context
    has_time = time is not None or any(not TIMES.keys().isdisjoint(level) for level in found.levels)
    return not (all(subject) and has_time) or found.voucher is Voucher.CLAIMS


def _matters(name: str, value: Json | Absent) -> bool:
    """Whether a member has a meaning for sets further inside, or for the object as a set."""
    if name in CONTEXT or name in _TYPES or name in EXPORTED_SETS or name in AMBIGUOUS:
        return True
    return isinstance(value, dict) and Surroundings({name: value}).context != NO_CONTEXT
