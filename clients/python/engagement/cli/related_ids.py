"""Shows the ids under which more of the same person may be stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from engagement import v1
from engagement.cli import printing

STAY: Final = "These ids may be the same person; their events stay:"
WOULD_STAY: Final = "These ids may be the same person; their events would stay:"
ALSO: Final = "These ids may be the same person:"
_RELATIONS: Final = {
    v1.RelatedId.RELATION_SEEN_TOGETHER: "seen together",
    v1.RelatedId.RELATION_SPELLING: "another spelling",
}
# More are not counted.
_MANY: Final = 10_000


def kind_name(kind: v1.SubjectKind) -> str:
    """Such as `consumer id`."""
    return v1.SubjectKind.Name(kind).removeprefix("SUBJECT_KIND_").lower().replace("_", " ")


def shown_count(count: int) -> str:
    """A number of events that servers count up to a limit."""
    return f"{count:,}{' or more' * (count >= _MANY)}"


def show(related: Sequence[v1.RelatedId], *, has_more: bool, text: str) -> None:
    """Lists the ids on standard error, below a text."""
    if related:
        click.echo(text, err=True)
    for each in related:
        if not each.events:
            click.echo(f"  {kind_name(each.kind)} {printing.quoted(each.id)}: no other events", err=True)
            continue
        events = f"{shown_count(each.events)} event{'s' * (each.events != 1)}"
        relation = _RELATIONS.get(each.relation, "related")
        click.echo(f"  {kind_name(each.kind)} {printing.quoted(each.id)}: {events}, {relation}", err=True)
    if has_more:
        click.echo("There may be more of them.", err=True)
