"""Reads events in newline-delimited JSON: one event, or what holds some, per line."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO, Final

from engagement.cli.event_documents import EventDocuments, is_wrapped
from engagement.cli.event_texts import MAX_TEXT_BYTES, EventTexts
from engagement.cli.outcomes import FoundEvent, Rejection
from engagement.cli.proto_json import SeveralValuesError
from engagement.liveperson import CorruptInputError
from engagement.violation import Violation

MAX_LINE_BYTES: Final = MAX_TEXT_BYTES
_SKIPPED_BYTES: Final = 64 * 1024


class EventLines:
    """The events of a stream; an unreadable line is a rejection, and reading continues."""

    def __init__(self, stream: BinaryIO, *, source: str) -> None:
        self._stream = stream
        self._texts = EventTexts(source=source)
        self.line_number = 0
        """The number of the last line read, from 1."""
        self.trailing_comma = ""
        """The first line in which a comma stands behind the last item of an array or object."""

    @property
    def events_read(self) -> int:
        """Events found so far, readable or not."""
        return self._texts.events_read

    def __iter__(self) -> Iterator[FoundEvent | Rejection]:
        for line in self._lines():
            if line.isspace():
                continue
            number = self.line_number
            if len(line) > MAX_LINE_BYTES:
                yield self._texts.reject_long(line.decode(errors="replace"), place=number)
                continue
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                violation = Violation("", "json.utf8", f"not UTF-8 at byte {error.start} of the line")
                yield self._texts.reject(violation, text=line.decode(errors="replace"), place=number)
                continue
            if not text:  # but for a byte order mark
                continue
            try:
                found: FoundEvent | Rejection | None
                if is_wrapped(text):
                    found = self._texts.read_stored(text, place=number)
                else:
                    found = self._texts.read(text, place=number)
            except SeveralValuesError:
                found = None
            if found is not None:
                yield found
            else:
                yield from self._unwrap(text)

    def _unwrap(self, text: str) -> Iterator[FoundEvent | Rejection]:
        """The events inside a stored event, a request or a page, or one after the other."""
        inner = EventDocuments(io.BytesIO(text.encode()), texts=self._texts)
        try:
            for found in inner:
                yield replace(found, place=self.line_number)
            if inner.trailing_comma and not self.trailing_comma:
                self.trailing_comma = f"line {self.line_number}"
        except CorruptInputError:
            yield self._texts.reject(
                Violation("", "json.syntax", "not JSON"), text=text, place=self.line_number
            )

    def _lines(self) -> Iterator[bytes]:
        """The lines; one that is too long is cut to one byte above the limit."""
        while line := self._stream.readline(MAX_LINE_BYTES + 1):
            self.line_number += 1
            end = line
            while len(line) > MAX_LINE_BYTES and end and not end.endswith(b"\n"):
                end = self._stream.readline(_SKIPPED_BYTES)
            yield line
