"""The state of one case that the scripted server plays, and the comparison with what is received."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

ACCOUNT_KEY: Final = "engagement-account"
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

Json = Any  # a value that json.loads returns
Metadata = Mapping[str, Sequence[str]]
"""The metadata of a call, with all values of a key."""


class ScriptError(Exception):
    """A client deviated from the script."""


@dataclass
class Conversation:
    """The state of one case: the calls that are left and the deviations so far."""

    name: str
    calls: list[Json]
    problems: list[str] = field(default_factory=list)
    upload_pages: list[Json] = field(default_factory=list)
    """Pages that every call of GetUpload reads from."""
    _names: dict[str, Json] = field(default_factory=dict)
    _last_end: float = 0.0

    def require_metadata(self, method: str, metadata: Metadata, *, key: str, value: str | None) -> None:
        """Raises ScriptError unless a call has exactly this value, or none, under a key of its metadata."""
        values = metadata.get(key, [])
        if values != ([] if value is None else [value]):
            raise ScriptError(f"{method}: metadata {key} is {values}, not {value!r}")

    def require_account(self, method: str, metadata: Metadata) -> None:
        """Raises ScriptError unless the metadata of a call names the account of its message."""
        self.require_metadata(method, metadata, key=ACCOUNT_KEY, value=self.name)

    @contextmanager
    def noting_problems(self) -> Iterator[None]:
        """Notes a deviation that is found in the block; the call goes on."""
        try:
            yield
        except ScriptError as error:
            self.problems.append(str(error))

    def begin(self, method: str, metadata: Metadata) -> list[Json]:
        """Takes the steps of the next call. Raises ScriptError if the script expects another call."""
        self.require_account(method, metadata)
        if not self.calls:
            raise ScriptError(f"unexpected call of {method}")
        call = self.calls[0]
        if call["method"] != method:
            raise ScriptError(f"call of {method} instead of {call['method']}")
        if not call.get("repeats"):
            self.calls.pop(0)
        waited_seconds = time.monotonic() - self._last_end
        if waited_seconds < call.get("not_before_seconds", 0):
            raise ScriptError(f"{method} came too early: {waited_seconds:.3f} s after the previous call")
        for key, value in call.get("metadata", {}).items():
            self.require_metadata(method, metadata, key=key, value=value)
        steps: list[Json] = call["steps"]
        return steps

    def end(self) -> None:
        """Notes the end of a call, from which the next one counts its delay."""
        self._last_end = time.monotonic()

    def compare(self, place: str, expected: Json, actual: Json) -> None:
        """Raises ScriptError if a received value differs from the expected one.

        Only the members that the script names are compared; a member that it names null must be absent.
        "$name" matches any string and "$uuid7:name" any UUIDv7; later, each matches only the same string.
        """
        if isinstance(expected, dict) and isinstance(actual, dict):
            for key, value in expected.items():
                if value is not None or key in actual:
                    self.compare(f"{place}.{key}", value, actual.get(key))
        elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
            for index, (value, other) in enumerate(zip(expected, actual, strict=True)):
                self.compare(f"{place}[{index}]", value, other)
        elif isinstance(expected, str) and expected.startswith("$"):
            if expected.startswith("$uuid7:") and not _UUID7.fullmatch(actual or ""):
                raise ScriptError(f"{place} is {actual!r}, not a UUIDv7")
            if self._names.setdefault(expected, actual) != actual:
                raise ScriptError(f"{place} is {actual!r}, not {self._names[expected]!r} as before")
        elif expected != actual:
            raise ScriptError(f"{place} is {json.dumps(actual)}, not {json.dumps(expected)}")

    def fill(self, value: Json) -> Json:
        """Replaces the names in a value to send with the strings that they matched."""
        if isinstance(value, dict):
            return {key: self.fill(member) for key, member in value.items()}
        if isinstance(value, list):
            return [self.fill(member) for member in value]
        return self._names.get(value, value) if isinstance(value, str) else value
