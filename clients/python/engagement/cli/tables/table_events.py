"""Reads events from a table in either format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from engagement.cli.event_texts import EventTexts
from engagement.cli.failures import CommandError
from engagement.cli.input_file import InputFile
from engagement.cli.outcomes import FoundEvent, Rejection
from engagement.cli.tables.csv_events import CsvEvents, looks_like_csv
from engagement.extras import explain_missing


def is_table(file: InputFile) -> bool:
    """Whether an input of text is a table, by its beginning and its name."""
    return looks_like_csv(file.head, name=file.name)


class _Reader(Protocol):
    def __iter__(self) -> Iterator[FoundEvent | Rejection]: ...


class TableEvents:
    """The events of an input; a row that cannot be read is a rejection.

    Raises TableDamageError at damage; the events before it are good. Creating it raises CommandError if the
    input is Parquet, and its library is not installed.
    """

    def __init__(self, file: InputFile, *, texts: EventTexts) -> None:
        self._texts = texts
        self._reader: _Reader = (
            _parquet(file, texts) if file.is_parquet else CsvEvents(file.stream, head=file.head, texts=texts)
        )

    @property
    def events_read(self) -> int:
        """Events found so far, readable or not."""
        return self._texts.events_read

    def __iter__(self) -> Iterator[FoundEvent | Rejection]:
        return iter(self._reader)


def _parquet(file: InputFile, texts: EventTexts) -> _Reader:
    try:
        from engagement.cli.tables.parquet_events import ParquetEvents  # noqa: PLC0415 - its library is an extra
    except ModuleNotFoundError as error:
        raise CommandError(explain_missing("The Parquet format", error, extra="parquet")) from error
    return ParquetEvents(file.open_whole(), texts=texts)
