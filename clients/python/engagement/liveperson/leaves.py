"""Collects content that the contract does not model, by its path in the source."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from engagement import limits
from engagement.liveperson.errors import UnreadableError
from engagement.liveperson.values import MAX_DEPTH, Json, text_of, write_json

_FIELD: Final = "additional_attributes"
_MAX_CHARACTERS = limits.MAX_EVENT_BYTES
"""An event with more text than this exceeds the limit in bytes in any case."""
_ROOT: Final = '""'
"""The path of whatever has no name of its own."""


class Leaves:
    """Texts by path; nested objects and arrays become paths such as `contacts[0].phoneType`.

    If a path is taken by another text it gets a number, `path#2`. Null is absent. Paths repeat the names of
    enclosing objects, so a small input can expand to much text: `keep` raises UnreadableError beyond the
    limits of an event.
    """

    def __init__(self, *, folded: frozenset[str] = frozenset()) -> None:
        """Values at `folded` paths are kept as one text each, their JSON."""
        self.texts: dict[str, str] = {}
        """Every text; maybe more of them than an event may have."""
        self._folded = folded
        self._kept: list[tuple[str, Json]] = []
        self._characters = 0

    def keep(self, path: str, value: Json) -> None:
        """Keeps every text in the value."""
        self._kept.append((path or _ROOT, value))
        self._keep(path or _ROOT, value, depth=0)

    def keep_folded(self, path: str, value: Json) -> None:
        """Keeps the value as one text, its JSON."""
        self.keep(path, _fold(value))

    def fitting_texts(self) -> dict[str, str]:
        """As many texts as an event may have.

        If there are more, the objects and arrays with most texts become one text each, and if there still
        are too many, the last of them do. Raises UnreadableError if that one would be too long.
        """
        excess = len(self.texts) - limits.MAX_ADDITIONAL_ATTRIBUTES
        if excess <= 0:
            return self.texts
        fitting = Leaves(folded=_paths_to_fold(self._kept, excess=excess))
        for path, value in self._kept:
            fitting.keep(path, value)
        texts = [*fitting.texts.items()]
        if len(texts) > limits.MAX_ADDITIONAL_ATTRIBUTES:
            room = limits.MAX_ADDITIONAL_ATTRIBUTES - 1
            rest = _fold(dict(texts[room:]))
            if len(rest) > limits.MAX_TEXT_CHARACTERS:
                limit = f"must have at most {limits.MAX_ADDITIONAL_ATTRIBUTES} entries, has {len(self.texts)}"
                raise UnreadableError(_FIELD, rule="map.max_pairs", description=limit)
            fitting.texts = dict(texts[:room])
            fitting.keep(_ROOT, rest)
        return fitting.texts

    def _keep(self, path: str, value: Json, *, depth: int) -> None:
        text = text_of(value)
        if text is None and path in self._folded:
            text = _fold(value)
        if text is not None:
            self._keep_text(path, text)
            return
        if value and depth > MAX_DEPTH:
            raise UnreadableError(
                _FIELD, rule="import.depth", description=f"nested more than {MAX_DEPTH} levels"
            )
        if value and len(path) > limits.MAX_TEXT_CHARACTERS:
            limit = f"a path takes more than {limits.MAX_TEXT_CHARACTERS} characters"
            raise UnreadableError(_FIELD, rule="string.max_len", description=limit)
        for child_path, child in _children(path, value):
            self._keep(child_path, child, depth=depth + 1)

    def _keep_text(self, path: str, text: str) -> None:
        self._characters += len(path) + len(text)
        if self._characters > _MAX_CHARACTERS:
            limit = f"must take at most {limits.MAX_EVENT_BYTES} bytes"
            raise UnreadableError(_FIELD, rule="server.event.max_bytes", description=limit)
        key = path
        number = 1
        while self.texts.setdefault(key, text) != text:
            number += 1
            key = f"{path}#{number}"


@dataclass(frozen=True, slots=True)
class _Container:
    """An object or array of a source, with those inside it."""

    path: str
    value: Json
    leaves: int
    """Its texts, and those of the containers inside it."""
    inner: list[_Container]

    def __lt__(self, other: _Container) -> bool:
        """Whether it has more texts: a heap hands out the largest first."""
        return self.leaves > other.leaves


def _paths_to_fold(kept: Iterable[tuple[str, Json]], *, excess: int) -> frozenset[str]:
    """The paths of as many containers as it takes to have `excess` texts less; none is inside another."""
    waiting = [container for path, value in kept if (container := _container(path, value)) is not None]
    heapq.heapify(waiting)
    chosen: set[str] = set()
    while waiting and excess > 0:
        container = heapq.heappop(waiting)
        if len(_fold(container.value)) <= limits.MAX_TEXT_CHARACTERS:
            chosen.add(container.path)
            excess -= container.leaves - 1
        else:
            for inner in container.inner:
                heapq.heappush(waiting, inner)
    return frozenset(chosen)


def _container(path: str, value: Json) -> _Container | None:
    """The value if it has several texts."""
    if not isinstance(value, dict | list):
        return None
    leaves, inner = 0, []
    for child_path, child in _children(path, value):
        if isinstance(child, dict | list):
            if (container := _container(child_path, child)) is not None:
                inner.append(container)
                leaves += container.leaves
        elif child is not None:
            leaves += 1
    return _Container(path, value, leaves, inner) if leaves else None


def _fold(value: Json) -> str:
    return write_json(value, is_ascii=False)


def _children(path: str, value: Json) -> Iterable[tuple[str, Json]]:
    """The members or items of a value, each with its path."""
    if isinstance(value, dict):
        return ((join(path, name), child) for name, child in value.items())
    if isinstance(value, list):
        return ((f"{path}[{index}]", child) for index, child in enumerate(value))
    return ()


def join(path: str, name: str) -> str:
    """The path of a member; an empty name is shown as quotation marks."""
    return f"{path}.{name}" if name else f'{path}.""'
