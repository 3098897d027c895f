"""Makes the events of a row out of its cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final  # Any: cells and values of all contents

from engagement import v1
from engagement.cli.proto_json import EventSyntaxError
from engagement.cli.tables.cells import Convert
from engagement.cli.tables.header import ADDITIONAL, SETS, Content, Target
from engagement.cli.tables.style import unmark

_ATTRIBUTE_SET: Final = "set"
_TIME: Final = "server_time_stamp"
_Holders = dict[str, dict[str, Any]]


class RowEvents:
    """Reads rows with these columns: an event for each attribute set that a row has values of."""

    def __init__(
        self, names: Sequence[str], targets: Sequence[Target], converters: Sequence[Convert | None]
    ) -> None:
        """`names` are the file's own, for errors; a converter is None if the cell is the value."""
        self._names = names
        self._plan = [
            (target.holder, target.member, convert)
            for target, convert in zip(targets, converters, strict=True)
        ]
        self._days = dict.fromkeys(target.holder for target in targets if target.content is Content.DAY_PART)
        self._holders = tuple(dict.fromkeys(["", ADDITIONAL, *SETS, *self._days]))
        self._dropped = frozenset(
            target.member for target in targets if target.content in {Content.DROPPED, Content.MARKS}
        )
        self._marks = next(
            (index for index, target in enumerate(targets) if target.content is Content.MARKS), None
        )

    def read(self, cells: Sequence[Any]) -> list[v1.Event]:
        """The events of a row, in the order of the sets; an absent cell is None. Raises EventSyntaxError."""
        if self._marks is not None and cells[self._marks] is not None:
            cells = [unmark(cell) if isinstance(cell, str) else cell for cell in cells]
        holders: _Holders = {name: {} for name in self._holders}
        plan = self._plan
        for index, cell in enumerate(cells):
            if cell is None:
                continue
            holder, member, convert = plan[index]
            if convert is not None:
                try:
                    cell = convert(cell)  # noqa: PLW2901 - its value
                except EventSyntaxError as error:
                    raise error.below(self._names[index]) from None
            holders[holder][member] = cell
        for day in self._days:
            if holders[day]:
                set_name, _, member = day.rpartition(".")
                holders[set_name][member] = holders[day]
        try:
            return self._make(holders)
        except (TypeError, ValueError):  # half of a surrogate pair in JSON
            raise EventSyntaxError("has a value that no event can have", rule="table.value") from None

    def _make(self, holders: _Holders) -> list[v1.Event]:
        event = holders[""]
        for name in self._dropped:
            event.pop(name, None)
        set_name = event.pop(_ATTRIBUTE_SET, None)
        shared = {_TIME: event.pop(_TIME)} if _TIME in event else {}
        if columns := holders[ADDITIONAL]:
            event[ADDITIONAL] = _merge(event.get(ADDITIONAL, {}), columns)
        present = [name for name in SETS if holders[name]]
        if set_name is not None:
            self._require_alone(set_name, present, holders)
            present = [set_name]
        if not present:
            return [v1.Event(**event)]
        if len(present) > 1 and "event_id" in event:
            raise EventSyntaxError(
                f"has values of {' and '.join(present)}, which are two events, and one event_id: leave "
                "the id out, or write a row for each",
                rule="table.set",
            )
        events = []
        for name in present:
            event[name] = holders[name] | shared
            events.append(v1.Event(**event))
            # Once is enough to lose nothing.
            del event[name]
            event.pop(ADDITIONAL, None)
        return events

    def _require_alone(self, set_name: str, present: Sequence[str], holders: _Holders) -> None:
        for name in present:
            if name != set_name:
                raise EventSyntaxError(
                    f"is {set_name}, but {name}.{next(iter(holders[name]))} has a value",
                    rule="table.set",
                    field="set",
                )


def _merge(texts: dict[str, str], columns: dict[str, str]) -> dict[str, str]:
    for name in columns:
        if name in texts:
            raise EventSyntaxError(
                "has this name in its JSON too", rule="json.syntax", field=f"{ADDITIONAL}.{name}"
            )
    return texts | columns
