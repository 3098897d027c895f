"""Reads events in the format `events`: newline-delimited JSON, one event in proto-JSON per line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

from engagement import v1
from engagement.cli.outcomes import FoundEvent, Rejection
from engagement.cli.proto_json import EventSyntaxError, parse_event
from engagement.limits import MAX_SOURCE_CHARACTERS
from engagement.liveperson.identity import make_event_id
from engagement.violation import Violation

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
_SHOWN_CHARACTERS: Final = 200
_SKIPPED_BYTES: Final = 64 * 1024


class EventLines:
    """The events of a stream; an unreadable line is a rejection, and reading continues.

    An event without an id gets one derived from the source, the line number and the line, so that reading
    the same input again gives the same ids. It also gets the source, unless it names one. An event with an
    id is unchanged.
    """

    def __init__(self, stream: BinaryIO, *, source: str) -> None:
        self._stream = stream
        self._source = source
        self.events_read = 0
        """Lines read so far, without blank ones."""
        self.line_number = 0
        """The number of the last line read, from 1."""

    def __iter__(self) -> Iterator[FoundEvent | Rejection]:
        for line in self._lines():
            if line.isspace():
                continue
            self.events_read += 1
            if len(line) > MAX_LINE_BYTES:
                yield self._reject_long(line)
                continue
            try:
                text = line.decode("utf-8-sig" if self.line_number == 1 else "utf-8").strip()
                yield FoundEvent(self._identify(parse_event(text), text=text), self.line_number)
            except UnicodeDecodeError as error:
                yield self._reject(
                    Violation("", "json.utf8", f"not UTF-8 at byte {error.start} of the line"),
                    text=line.decode(errors="replace"),
                )
            except EventSyntaxError as error:
                yield self._reject(Violation(error.field, error.rule, error.description), text=text)

    def _lines(self) -> Iterator[bytes]:
        """The lines; one that is too long is cut to one byte above the limit."""
        while line := self._stream.readline(MAX_LINE_BYTES + 1):
            self.line_number += 1
            end = line
            while len(line) > MAX_LINE_BYTES and end and not end.endswith(b"\n"):
                end = self._stream.readline(_SKIPPED_BYTES)
            yield line

    def _identify(self, event: v1.Event, *, text: str) -> v1.Event:
        if not event.event_id:
            identity = ["line", self._source, self.line_number, text]
            event.event_id = make_event_id(identity, prefix=self.line_number)
            event.source = event.source or self._source[:MAX_SOURCE_CHARACTERS]
        return event

    def _reject(self, violation: Violation, *, text: str) -> Rejection:
        path = violation.field or "the line"
        return Rejection(
            place=self.line_number,
            reason="UNREADABLE",
            message=f"{path}: {violation.description}",
            violations=(violation,),
            text=text,
        )

    def _reject_long(self, line: bytes) -> Rejection:
        limit = f"takes more than {MAX_LINE_BYTES} bytes"
        return self._reject(
            Violation("", "json.max_line_bytes", limit),
            text=line[:_SHOWN_CHARACTERS].decode(errors="replace") + "…",
        )
