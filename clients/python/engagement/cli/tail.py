"""`engagement tail`: shows events as they are accepted."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from itertools import takewhile

import click
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from engagement import v1
from engagement.cli import printing, stored_events
from engagement.cli.connection import Connection, connect
from engagement.cli.connection_options import account_option, current_access, server_option
from engagement.cli.damage import LeftOut, skip_damaged_option
from engagement.cli.ending import batches_until
from engagement.cli.event_filter import live_filter_options, to_arguments
from engagement.cli.event_json import to_json
from engagement.cli.failures import CommandError, CommandInterruptedError
from engagement.cli.moment import read_moment
from engagement.cli.numbers import WholeNumber
from engagement.cli.outage import OutageReport
from engagement.client import EngagementClient
from engagement.errors import PreconditionError
from engagement.follow import EventBatch, Follower

_MAX_CELL_CHARACTERS = 60
_FLUSHED_EVENTS = 50
_ERASURE_SECONDS = 1.0
_MAX_ERASURES = 10_000
_TERMINAL_WIDTHS = (24, 8, 12, 10, 8, 8, 24)
_EPILOG = """\b
Examples:
  engagement tail --account acme
  engagement tail --account acme --from-start --status vip
  engagement tail --account acme --accepted-since 2024-05-01 --json
  engagement tail --account acme --from-start --accepted-until 2024-06-01
  engagement tail --account acme --json | jq -c .event.customerInfo

Exit status: 0 --limit or --accepted-until is reached, 1 damaged events were left out, 2 wrong usage or no
connection, 130 stopped with Ctrl-C.
"""


@click.command(epilog=_EPILOG)
@live_filter_options
@click.option("--from-start", is_flag=True, help="Start at the earliest stored event.")
@click.option("--after", metavar="CURSOR", help="Start after the event with this cursor.")
@click.option(
    "--accepted-since",
    callback=read_moment,
    metavar="TIME",
    help="Start at the first event accepted at this time or later.",
)
@click.option(
    "--accepted-until",
    callback=read_moment,
    metavar="TIME",
    help="Stop at this time, after all events that were accepted before it.",
)
@click.option("--limit", metavar="N", type=WholeNumber(at_least=1), help="Stop after this number of events.")
@skip_damaged_option
@server_option
@account_option
@click.option("--json", "as_json", is_flag=True, help="Print a StoredEvent in proto-JSON on each line.")
def tail(  # noqa: PLR0913 - one for each option
    *,
    from_start: bool,
    after: str | None,
    accepted_since: Timestamp | None,
    accepted_until: Timestamp | None,
    limit: int | None,
    skip_damaged: bool,
    server: str,
    account: str,
    as_json: bool,
    wanted: v1.EventFilter,
) -> int:
    """Show events as they are accepted, until stopped with Ctrl-C.

    By default the first one is the next event to be accepted. Lost connections and
    restarts of the server leave no gap and repeat nothing. When stopped, the
    command prints how to resume after the last event shown.

    Each line is an event. In a pipe or file it is tab-separated, with a header,
    escaped control characters, and ids at the end. --json is complete and exact.
    An erasure is reported on standard error, with --json as a line
    {"erasureNotice": …} among the events.
    """
    if sum(start is not None for start in (from_start or None, after, accepted_since)) > 1:
        raise click.UsageError("Give one of --from-start, --after and --accepted-since.")
    left_out = LeftOut(is_allowed=skip_damaged)
    outage = OutageReport()
    reaching = current_access().arguments(server)
    command = ["engagement", "tail", "--account", account, *reaching, *to_arguments(wanted)]
    command += ["--skip-damaged"] if skip_damaged else []
    command += ["--accepted-until", accepted_until.ToJsonString()] if accepted_until is not None else []
    command += ["--json"] if as_json else []
    live = _Tail(as_json=as_json, limit=limit, until=accepted_until, command=command)

    def follow(
        client: EngagementClient, resume: str | None = None, *, stop_at_tail: bool = False
    ) -> Follower:
        is_first = resume is None
        return client.follow(
            wanted,
            after_cursor=after if is_first else resume,
            earliest=from_start and is_first,
            latest=is_first and not from_start and after is None and accepted_since is None,
            start_time=accepted_since if is_first else None,
            stop_at_tail=stop_at_tail,
            on_erasure=live.show_erasure,
            on_reconnect=outage.begin,
            on_connected=outage.end,
            on_damage=left_out.on_damage,
        )

    with connect(server, account=account) as connection:
        # An unreachable server shows at once, instead of after an outage.
        connection.call(EngagementClient.get_server_info)
        live.run(connection, follow)
    return left_out.status


class _Tail:
    """The events shown so far, and the cursor after them."""

    def __init__(
        self, *, as_json: bool, limit: int | None, until: Timestamp | None, command: Sequence[str]
    ) -> None:
        self._as_json = as_json
        self._show = _json_printer() if as_json else _row_printer()
        self._erasures = _Erasures()
        self._left = limit
        self._until = until
        self._has_ended = False
        self._command = command
        self._cursor = ""
        """Covers the events shown."""
        self._is_showing = False
        """Whether the follower has delivered events that are not shown yet."""

    def run(self, connection: Connection, follow: Callable[..., Follower]) -> None:
        """Shows events up to the limit and the time. Raises CommandError, which says how to resume.

        `follow` takes a client, and a cursor to go on from to what is stored.
        """

        async def make(client: EngagementClient) -> Follower:
            return follow(client)

        follower = connection.call(make)
        first = self._cursor = follower.cursor
        try:
            for batch in connection.iterate(
                lambda client: self._batches(client, follower, follow), at_once=1
            ):
                self._show_batch(batch)
                if self._left == 0 or self._has_ended:
                    return
        except (KeyboardInterrupt, CommandError) as error:
            cursor = self._cursor if self._is_showing else follower.cursor
            hint = ""
            if isinstance(error.__cause__, PreconditionError):
                # No cursor of this stream is valid any more.
                hint = f"\nStart anew with:\n  {shlex.join([*self._command, '--from-start'])}"
            elif cursor != first:
                hint = f"\nResume with:\n  {shlex.join([*self._command, f'--after={cursor}'])}"
            if isinstance(error, CommandError):
                raise CommandError(f"{error.message}{hint}") from error
            raise CommandInterruptedError(f"Interrupted.{hint}") from None
        finally:
            self._erasures.tell()

    async def _batches(
        self, client: EngagementClient, follower: Follower, follow: Callable[..., Follower]
    ) -> AsyncGenerator[EventBatch, None]:
        batches = follower.batches()
        if self._until is not None:
            batches = batches_until(
                client, follower, self._until, finish=partial(follow, client, stop_at_tail=True)
            )
        async for batch in batches:
            # In the event loop an interrupt cannot come between this and the new cursor.
            self._is_showing = True
            yield batch

    def _show_batch(self, batch: EventBatch) -> None:
        self._erasures.tell()
        shown = batch.events[: self._left]
        if self._until is not None:
            before = self._until.ToNanoseconds()
            shown = [*takewhile(lambda stored: stored.receive_time.ToNanoseconds() < before, shown)]
            self._has_ended = len(shown) < len(batch.events[: self._left])
        for first in range(0, len(shown), _FLUSHED_EVENTS):
            some = shown[first : first + _FLUSHED_EVENTS]
            for stored in some:
                self._show(stored)
            # An interrupt may discard the buffer, so only flushed events count as shown.
            sys.stdout.flush()
            self._cursor = some[-1].cursor
        if self._left is not None:
            self._left -= min(self._left, len(batch.events))
        if not self._has_ended:
            self._cursor = batch.cursor
        self._is_showing = False

    def show_erasure(self, notice: v1.SubscribeEventsResponse.ErasureNotice) -> None:
        """Reports erased events."""
        if self._as_json:
            message = v1.SubscribeEventsResponse(erasure_notice=notice)
            sys.stdout.write(json.dumps(json_format.MessageToDict(message)) + "\n")
            sys.stdout.flush()
        else:
            self._erasures.add(notice)


class _Erasures:
    """Counts erased events, and tells of those that come together in one line."""

    def __init__(self) -> None:
        self._events = 0
        self._ids: dict[str, None] = {}

    def add(self, notice: v1.SubscribeEventsResponse.ErasureNotice) -> None:
        """Counts the events of a notice; to be called in the event loop."""
        if not self._ids:
            asyncio.get_running_loop().call_later(_ERASURE_SECONDS, self.tell)
        self._events += len(notice.erased_cursors)
        self._ids[notice.erasure_id] = None
        if len(self._ids) == _MAX_ERASURES:
            self.tell()

    def tell(self) -> None:
        """Prints the line, if there is anything to tell."""
        if not self._ids:
            return
        *others, last = self._ids
        which = f"{len(self._ids):,} erasures, the last {last}" if others else f"erasure {last}"
        click.echo(f"engagement: Events erased: {self._events:,} ({which}). Delete copies of them.", err=True)
        self._events = 0
        self._ids.clear()


def _json_printer() -> Callable[[v1.StoredEvent], None]:
    return lambda stored: _write_line(to_json(stored))


def _write_line(line: str) -> None:
    sys.stdout.write(line + "\n")


def _row_printer() -> Callable[[v1.StoredEvent], None]:
    if printing.is_terminal():
        rows = printing.LiveRows(*stored_events.ROW_NAMES, widths=_TERMINAL_WIDTHS)
        return lambda stored: rows.add(
            stored_events.to_row(stored, max_value_characters=_MAX_CELL_CHARACTERS)
        )
    lines = printing.LiveRows(*stored_events.FULL_ROW_NAMES, widths=())
    return lambda stored: lines.add(stored_events.to_full_row(stored))
