"""A broken rule of the contract. It does not need protovalidate, which is an extra."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule of one field; it never holds the field's value."""

    field: str
    """Path from the message that was checked, such as `events[3].customer_info.balance`."""
    rule: str
    """Id of the rule as protovalidate names it; ids of rules beyond it start with `server.`."""
    description: str
    """The problem and the limit, for people."""

    def below(self, prefix: str) -> Violation:
        """The same violation seen from inside `prefix`."""
        return replace(self, field=self.field.removeprefix(prefix))
