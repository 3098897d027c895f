"""Collects content that the contract does not model, by its path in the source."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from engagement import limits
from engagement.liveperson.errors import UnreadableError
from engagement.liveperson.values import MAX_DEPTH, Json, text_of

_FIELD: Final = "additional_attributes"
_MAX_CHARACTERS = limits.MAX_EVENT_BYTES
"""An event with more text than this exceeds the limit in bytes in any case."""


class Leaves:
    """Texts by path; nested objects and arrays become paths such as `contacts[0].phoneType`.

    If a path is taken by another text it gets a number, `path#2`. Null is absent. Paths repeat the names of
    enclosing objects, so a small input can expand to much text: `keep` raises UnreadableError beyond the
    limits of an event.
    """

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self._characters = 0

    def keep(self, path: str, value: Json) -> None:
        """Keeps every text in the value."""
        self._keep(path or '""', value, depth=0)

    def _keep(self, path: str, value: Json, *, depth: int) -> None:
        text = text_of(value)
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
