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
        counts = [(each.events, "event"), (each.rejections, "rejected event")]
        left = [f"{shown_count(count)} {name}{'s' * (count != 1)}" for count, name in counts if count]
        relation = _RELATIONS.get(each.relation, "related")
        found = f"{' and '.join(left)}, {relation}" if left else "no other events"
        click.echo(f"  {kind_name(each.kind)} {printing.quoted(each.id)}: {found}", err=True)
    if has_more:
        click.echo("There may be more of them.", err=True)
