"""The options that select events: the same in list, tail and export, and on each run of a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final  # Any: values of options of all types

import click
from google.protobuf.timestamp_pb2 import Timestamp

from engagement import v1
from engagement.cli.moment import read_moment

_Option = Callable[[Callable[..., int]], Callable[..., int]]

_SETS: Final = {
    "customer": v1.AttributeSet.ATTRIBUTE_SET_CUSTOMER_INFO,
    "personal": v1.AttributeSet.ATTRIBUTE_SET_PERSONAL_INFO,
}
_OPTIONS: Final = (
    click.option(
        "--consumer", "consumers", multiple=True, metavar="ID", help="Only events about this consumer."
    ),
    click.option(
        "--conversation",
        "conversations",
        multiple=True,
        metavar="ID",
        help="Only events of this conversation.",
    ),
    click.option(
        "--customer", "customers", multiple=True, metavar="ID", help="Only events with this customer id."
    ),
    click.option(
        "--subject",
        "subjects",
        multiple=True,
        metavar="ID",
        help="Only events with this consumer id or this customer id.",
    ),
    click.option(
        "--status",
        "statuses",
        multiple=True,
        metavar="STATUS",
        help="Only events with this customer status, ignoring case.",
    ),
    click.option(
        "--type",
        "types",
        multiple=True,
        metavar="TYPE",
        help="Only events with this customer type, ignoring case.",
    ),
    click.option(
        "--set",
        "sets",
        multiple=True,
        type=click.Choice(list(_SETS)),
        help="Only events of this attribute set.",
    ),
    click.option(
        "--authenticated/--unauthenticated",
        default=None,
        help="Only events whose source vouched for the customer, or only the others.  [default: both]",
    ),
    click.option("--since", callback=read_moment, metavar="TIME", help="Only events at this time or later."),
    click.option("--until", callback=read_moment, metavar="TIME", help="Only events before this time."),
    click.option(
        "--text",
        default="",
        metavar="WORDS",
        help="Only events with all these words in their attribute values;"
        ' "a phrase" keeps its order, wor* is a beginning.',
    ),
)
_ACCEPTANCE_OPTIONS: Final = (
    click.option(
        "--accepted-since",
        callback=read_moment,
        metavar="TIME",
        help="Only events accepted at this time or later.",
    ),
    click.option(
        "--accepted-until",
        callback=read_moment,
        metavar="TIME",
        help="Only events accepted before this time.",
    ),
)


_HELP: Final = """
Events must match every option given; an option given several times matches any
of its values.

--text looks at the values of attributes, not at ids, the source or the names of
attributes. Letter case makes no difference, accents do: muller does not find
Müller.

TIME is a date, RFC 3339 or epoch milliseconds, in UTC unless it names a zone.
Relative times, such as '2 hours ago', are refused: a command that is repeated or
resumed must select the same events.
"""

_BOTH_IDS: Final = (
    "engagement: Events must match both --consumer and --customer; --subject matches events with either."
)


def filter_options(command: Callable[..., int]) -> Callable[..., int]:
    """Adds the options of a filter to a command, which receives them as `wanted`, an EventFilter."""
    return _with_options(command, [*_OPTIONS, *_ACCEPTANCE_OPTIONS], names=_NAMES)


def live_filter_options(command: Callable[..., int]) -> Callable[..., int]:
    """As `filter_options`, without those for the time of acceptance: the command begins at one, or now."""
    return _with_options(command, _OPTIONS, names=_NAMES[: -len(_ACCEPTANCE_OPTIONS)])


def _with_options(
    command: Callable[..., int], options: Sequence[_Option], *, names: Sequence[str]
) -> Callable[..., int]:
    @wraps(command)
    def with_filter(*arguments: Any, **parameters: Any) -> int:
        choices = {name: parameters.pop(name) for name in names}
        if choices["consumers"] and choices["customers"]:
            click.echo(_BOTH_IDS, err=True)
        return command(*arguments, wanted=_to_filter(**choices), **parameters)

    with_filter.__doc__ = f"{inspect.cleandoc(command.__doc__ or '')}\n{_HELP}"
    decorated: Callable[..., int] = with_filter
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


def to_arguments(wanted: v1.EventFilter) -> list[str]:
    """The arguments of a command that select the same events as a filter."""
    set_names = {number: name for name, number in _SETS.items()}
    lists: tuple[tuple[str, Sequence[str]], ...] = (
        ("--consumer", wanted.consumer_ids),
        ("--conversation", wanted.conversation_ids),
        ("--customer", wanted.customer_ids),
        ("--subject", wanted.subject_ids),
        ("--status", wanted.customer_statuses),
        ("--type", wanted.customer_types),
        ("--set", [set_names[number] for number in wanted.attribute_sets]),
        ("--since", _times(wanted, "start_time")),
        ("--until", _times(wanted, "end_time")),
        ("--accepted-since", _times(wanted, "receive_start_time")),
        ("--accepted-until", _times(wanted, "receive_end_time")),
        ("--text", [wanted.text] if wanted.text else []),
    )
    arguments = [f"{option}={value}" for option, values in lists for value in values]
    if wanted.HasField("authenticated"):
        arguments.append("--authenticated" if wanted.authenticated else "--unauthenticated")
    return arguments


def _times(wanted: v1.EventFilter, name: str) -> Sequence[str]:
    return [getattr(wanted, name).ToJsonString()] if wanted.HasField(name) else []


def _to_filter(  # noqa: PLR0913 - one for each option
    *,
    consumers: Sequence[str],
    conversations: Sequence[str],
    customers: Sequence[str],
    subjects: Sequence[str],
    statuses: Sequence[str],
    types: Sequence[str],
    sets: Sequence[str],
    authenticated: bool | None,
    since: Timestamp | None,
    until: Timestamp | None,
    text: str,
    accepted_since: Timestamp | None = None,
    accepted_until: Timestamp | None = None,
) -> v1.EventFilter:
    return v1.EventFilter(
        attribute_sets=[_SETS[name] for name in sets],
        consumer_ids=consumers,
        conversation_ids=conversations,
        customer_ids=customers,
        subject_ids=subjects,
        customer_statuses=statuses,
        customer_types=types,
        authenticated=authenticated,
        start_time=since,
        end_time=until,
        receive_start_time=accepted_since,
        receive_end_time=accepted_until,
        text=text,
    )


_NAMES: Final = tuple(inspect.signature(_to_filter).parameters)
