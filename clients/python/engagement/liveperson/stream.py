"""Finds the attribute sets in a stream of JSON documents of any size.

Values that fit into memory are walked through there; larger and damaged ones are entered. Both give the same
findings in the same order: neither the size of blocks nor the limit of memory changes what an event is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from engagement.liveperson.entered import EnteredObject
from engagement.liveperson.errors import CorruptInputError
from engagement.liveperson.findings import Finding, Path, SkippedSet
from engagement.liveperson.held import Findings, Held, in_batches
from engagement.liveperson.scanner import ABSENT, Absent, Scanner
from engagement.liveperson.shapes import AMBIGUOUS, EXPORTED_SETS, skip
from engagement.liveperson.surroundings import is_counted
from engagement.liveperson.values import MAX_DEPTH, Json, count_members
from engagement.liveperson.walk import Walk

_WHOLE_CHARACTERS: Final = 256 * 1024
"""Values up to this length are read into memory before they are walked through."""
_MAX_REASONS: Final = 100


class FindingStream:
    """All findings of a stream of documents, in order; raises CorruptInputError at damage."""

    def __init__(self, scanner: Scanner, *, max_characters: int) -> None:
        """An event may take `max_characters`."""
        self._scanner = scanner
        self._max_characters = max_characters
        self._whole_characters = min(_WHOLE_CHARACTERS, max_characters)
        self._may_repeat = False
        self._depth = 0
        self._value: Json | Absent = ABSENT
        """The value that was read last, if nothing was found in it."""

    def __iter__(self) -> Iterator[Finding]:
        number = 0
        try:
            while opening := self._scanner.peek():
                number += 1
                path = (None, number)
                found = False
                for findings in self._read(path, length=0):
                    found = True
                    yield from findings
                if not found and opening != "[":
                    yield self._skip(path)
        except RecursionError:
            raise self._scanner.corrupt("a value is nested too deeply to be read") from None
        except OSError as error:
            reason = f"events cannot be held until the context behind them is read: {error}"
            raise self._scanner.corrupt(reason) from error

    def _read(self, path: Path, *, length: int) -> Iterator[Findings]:
        """The findings in the next value, some at a time; it is in memory if it has at most this length."""
        opening = self._scanner.peek()
        if opening not in {"{", "["}:
            self._value = self._scanner.value()
            return
        value = self._scanner.take(length)
        if not isinstance(value, Absent):
            if found := self._walk(value, path):
                yield found
            return
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._scanner.corrupt("a value is nested too deeply to be read")
        yield from self._enter_list(path) if opening == "[" else self._enter_object(path)
        self._depth -= 1

    def _walk(self, value: Json, path: Path) -> Sequence[Finding]:
        walk = Walk(may_repeat=self._may_repeat)
        found = walk.find(value, path)
        if found and not self._scanner.has_members(walk.members):
            # Rare, so that looking for members that appear more than once costs nothing.
            self._may_repeat = True
            value = self._scanner.take_again()
            found = Walk(may_repeat=True).find(value, path)
        self._value = ABSENT if found else value
        return found

    def _enter_list(self, path: Path) -> Iterator[Findings]:
        counted = is_counted(path)
        found_any = False
        others = _Others()
        items: list[Json] | Absent = []
        start = self._scanner.position
        for index in self._scanner.elements():
            place = (path, index)
            found = False
            for findings in self._read(place, length=self._whole_characters):
                found = True
                yield findings
            if not found and counted:
                found = True
                yield (self._skip(place),)
            elif not found and not isinstance(self._value, str | bool | None | list):
                others.add(self._skip(place))
            found_any = found_any or found
            is_large = self._scanner.position - start > self._max_characters
            if found or is_large or isinstance(self._value, Absent):
                items = ABSENT
            elif not isinstance(items, Absent):
                items.append(self._value)
        if found_any:
            yield others.all()
        self._value = items

    def _enter_object(self, path: Path) -> Iterator[Findings]:
        entered = EnteredObject(path, max_characters=self._max_characters)
        try:
            for name in self._scanner.members():
                yield from self._read_member(entered, name, (path, name))
        except CorruptInputError:
            yield from in_batches(entered.release())
            raise
        yield from entered.close(may_repeat=self._may_repeat)
        self._value = entered.value

    def _read_member(self, entered: EnteredObject, name: str, path: Path) -> Iterator[Findings]:
        start = self._scanner.position
        is_set = name in EXPORTED_SETS
        if is_set or (name in AMBIGUOUS and self._scanner.peek() == "{"):
            # What it is depends on all members of the object.
            value = self._scanner.take(self._max_characters)
            if not isinstance(value, Absent):
                if isinstance(value, dict | list) and not self._scanner.has_members(count_members(value)):
                    self._may_repeat = True
                    value = self._scanner.take_again()
                entered.keep(name, value, characters=self._scanner.position - start)
                return
        found = False
        # The items of an array come out as they are read.
        length = 0 if self._scanner.peek() == "[" else self._whole_characters
        for findings in self._read(path, length=length):
            found = True
            if is_set or (isinstance(findings, Held) and entered.take_over(findings, name)):
                continue
            for batch in in_batches(findings) if isinstance(findings, Held) else (findings,):
                before, start = start, self._scanner.position
                yield entered.pass_on(batch, name, characters=start - before)
        if is_set or not found:
            value = ABSENT if found else self._value
            entered.keep(name, value, characters=self._scanner.position - start)

    def _skip(self, path: Path) -> Finding:
        return skip(path, {} if isinstance(self._value, Absent) else self._value)


class _Others:
    """Items of a list that are counted if other items of it are sets."""

    def __init__(self) -> None:
        self._skipped: dict[str, SkippedSet] = {}

    def add(self, item: Finding) -> None:
        """Counts an item by its type."""
        if not isinstance(item, SkippedSet):
            return
        before = self._skipped.get(item.reason)
        if before is not None:
            self._skipped[item.reason] = before._replace(items=before.items + 1)
        elif len(self._skipped) < _MAX_REASONS:
            self._skipped[item.reason] = item

    def all(self) -> Sequence[Finding]:
        """All of them."""
        return [*self._skipped.values()]
