"""Uploads inputs one after the other over one connection, and says how to resume."""

from __future__ import annotations

import os
import shlex
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engagement import v1
from engagement.cli.blank_ids import BlankIds
from engagement.cli.connection import Connection
from engagement.cli.connection_options import current_access
from engagement.cli.delivery import Delivery
from engagement.cli.failures import CommandError, CommandInterruptedError
from engagement.cli.input_events import Format, InputEvents, in_batches
from engagement.cli.input_file import UnreadableInputError, open_listed
from engagement.cli.inputs import STDIN, InputPath, Inputs
from engagement.cli.outcomes import Rejection, shown_place
from engagement.cli.progress import ProgressBar
from engagement.cli.rejection_file import RejectionFile
from engagement.cli.summary import InputSummary
from engagement.cli.upload_ids import derive_upload_id, source_name_of
from engagement.client import EngagementClient
from engagement.errors import NotFoundError, SourceMismatchError
from engagement.limits import MAX_REJECTIONS_WITHOUT_SUCCESS
from engagement.upload.ledger import total
from engagement.uuid7 import uuid7

_MAX_SHOWN_ARGUMENTS: Final = 20
_SHOWN_ID_CHARACTERS: Final = 13
"""Of an id that nobody has chosen: enough to tell runs apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadOrder:
    """What to upload, where to, and how to read it."""

    inputs: Inputs
    server: str
    account: str
    input_format: Format
    source: str | None
    rejected_dir: Path | None
    upload_id: str | None
    keep_going: bool

    def command(self, *, upload_id: str = "") -> str:
        """The command that repeats this order; for a single input, under this id."""
        reaching = current_access().arguments(self.server)
        arguments = [*self.inputs.arguments, "--account", self.account, *reaching]
        if self.input_format is not Format.AUTO:
            arguments += ["--format", self.input_format.value]
        if self.source is not None:
            arguments += ["--source", self.source]
        if self.rejected_dir is not None:
            arguments += ["--rejected-dir", str(self.rejected_dir)]
        if upload_id:
            arguments += ["--upload-id", upload_id]
        if self.keep_going:
            arguments.append("--keep-going")
        return shlex.join(["engagement", "upload", *arguments])


class InputUploads:
    """The uploads of an order's inputs.

    The id of a file's upload is derived from the file, so that the same command resumes it. If that upload
    has finished, its events are only counted. If it rejected or suppressed some, or was stopped because all
    were rejected, all are sent again under another id, because the server may accept them by now.
    """

    def __init__(
        self, order: UploadOrder, *, connection: Connection, limits: v1.Limits, bar: ProgressBar
    ) -> None:
        self._order = order
        self._connection = connection
        self._limits = limits
        self._bar = bar
        self._upload_id = ""
        """Of the upload in progress."""
        self._rejections: RejectionFile | None = None
        """Of the upload in progress."""
        self._has_begun = False
        """Whether there is something to resume."""

    def run(self, one: InputPath) -> InputSummary:
        """Uploads an input to its end or up to damage; a failure says how to resume."""
        started = time.monotonic()
        self._rejections = None
        try:
            try:
                version = _version_of(one)
                summary = self._run(one, self._find(one), version=version)
            except _OtherEventsError:
                if self._rejections is not None:
                    self._rejections.discard()
                summary = self._run(one, v1.Upload(upload_id=uuid7()))
        except UnreadableInputError as error:
            return InputSummary(file=one.path, damage=str(error))
        except KeyboardInterrupt:
            raise CommandInterruptedError(f"Interrupted. {self._how_to_resume()}") from None
        except CommandError as error:
            if not self._has_begun or isinstance(error.__cause__, SourceMismatchError):
                raise
            raise CommandError(f"{error.message}\n{self._how_to_resume()}") from error
        summary.seconds = time.monotonic() - started
        return summary

    def _find(self, one: InputPath) -> v1.Upload:
        """The upload of an input, as earlier runs have left it."""
        named_id = self._order.upload_id
        if named_id is None and one.size_bytes is None:
            return v1.Upload(upload_id=uuid7())
        try:
            upload_id = named_id or derive_upload_id(
                one.path, format=self._order.input_format, source=self._order.source
            )
        except OSError:  # of a failing disk: what can be read is uploaded
            return v1.Upload(upload_id=uuid7())
        upload = self._connection.call(lambda client: _get_upload(client, upload_id))
        is_judged_again = named_id is None and self._has_refused_some(upload)
        return v1.Upload(upload_id=uuid7()) if is_judged_again else upload

    def _has_refused_some(self, upload: v1.Upload) -> bool:
        """Whether an upload ended with events that the server may accept by now."""
        tally = upload.tally
        if upload.state == v1.Upload.STATE_FINISHED:
            return bool(tally.rejected or tally.suppressed)
        is_wholly_wrong = MAX_REJECTIONS_WITHOUT_SUCCESS <= tally.rejected == total(tally)
        return is_wholly_wrong and not self._order.keep_going

    def _run(self, one: InputPath, upload: v1.Upload, *, version: object = None) -> InputSummary:
        """Uploads an input; raises _OtherEventsError if it is not in its version any more, if it has one."""

        def require_version() -> None:
            if version is not None and order.upload_id is None and _version_of(one) != version:
                raise _OtherEventsError

        order = self._order
        is_finished = order.upload_id is None and upload.state == v1.Upload.STATE_FINISHED
        with ExitStack() as stack:
            file = stack.enter_context(open_listed(one))
            rejections = RejectionFile(
                one.path,
                run=order.upload_id or upload.upload_id[:_SHOWN_ID_CHARACTERS],
                folder=order.rejected_dir,
            )
            stack.enter_context(rejections)
            self._rejections = rejections
            self._bar.begin(one.path, file)
            events = InputEvents(file, format=order.input_format, source=order.source)
            summary = InputSummary(
                file=file.name if one.path == STDIN else one.path, upload_id=upload.upload_id
            )
            if is_finished:
                self._count(events, upload, rejections=rejections, summary=summary)
                require_version()
            else:
                delivery = Delivery(
                    events,
                    upload=upload,
                    keep_going=order.keep_going,
                    source_name=source_name_of(file.name),
                    limits=self._limits,
                    rejections=rejections,
                    bar=self._bar,
                    before_end=require_version,
                )
                summary.stopped = self._deliver(delivery, upload, summary=summary, rejections=rejections)
        # How far it had read ahead depends on the moment.
        is_stopped = bool(summary.stopped)
        summary.events_read = sum(summary.outcomes.values()) if is_stopped else events.events_read
        summary.skipped = events.skipped
        summary.converted = events.converted
        summary.rejected_file = str(rejections.path) if rejections.count else ""
        summary.rejected_for = rejections.kinds.most_frequent()
        summary.damage = events.damage
        summary.is_empty = file.is_empty and not events.damage
        return summary

    def _deliver(
        self, delivery: Delivery, upload: v1.Upload, *, summary: InputSummary, rejections: RejectionFile
    ) -> str:
        """Sends the events that are not stored yet; returns why the server took no more, if it did not."""
        self._upload_id = upload.upload_id
        stopped = ""
        try:
            self._connection.call(delivery.run)
        except CommandError as error:
            cause = error.__cause__
            if delivery.has_stopped:
                stopped = _why_stopped(delivery.outcomes["rejected"], rejections.first)
            is_resumed = self._order.upload_id is None and upload.state == v1.Upload.STATE_OPEN
            if is_resumed and isinstance(cause, SourceMismatchError):
                raise _OtherEventsError from error
            if not stopped:
                raise
        finally:
            self._has_begun |= delivery.has_begun
        summary.outcomes = delivery.outcomes
        summary.resumed_by_count = delivery.resumed_by_count
        summary.erased_before = delivery.erased
        summary.warning = delivery.blanks.warning
        return stopped

    def _count(
        self, events: InputEvents, upload: v1.Upload, *, rejections: RejectionFile, summary: InputSummary
    ) -> None:
        """Reads the events of a finished upload; only reading them shows which of them are unreadable."""
        stored = 0
        blanks = BlankIds()
        for batch in in_batches(events):
            blanks.look_at(batch)
            for each in batch:
                if isinstance(each, Rejection):
                    rejections.write(each)
                else:
                    stored += 1
            self._bar.show(events.events_read, rejected=rejections.count)
        if stored != upload.tally.accepted + upload.tally.duplicate:
            raise _OtherEventsError
        self._has_begun = True
        summary.uploaded_before = True
        summary.warning = blanks.warning
        summary.outcomes = {"accepted": 0, "duplicate": stored, "rejected": rejections.count, "suppressed": 0}

    def _how_to_resume(self) -> str:
        order = self._order
        stored = "All acknowledged events are stored"
        stored += f" as upload {self._upload_id}." if self._upload_id else "."
        if self._rejections is not None and self._rejections.count:
            stored += f" Rejected events so far, and the reasons: {self._rejections.path}."
        if [each.path for each in order.inputs.paths] == list(order.inputs.arguments[:1]):
            return f"{stored} Resume with the same input:\n  {order.command(upload_id=self._upload_id)}"
        if len(order.inputs.arguments) > _MAX_SHOWN_ARGUMENTS:
            return f"{stored} Resume by repeating the command."
        return f"{stored} Resume by repeating the command:\n  {order.command()}"


def _why_stopped(count: int, first: Rejection | None) -> str:
    example = "" if first is None else f" The first, at {shown_place(first.place)}: {first.message}."
    return (
        f"after {count:,} rejections and nothing else; the rest was not uploaded.{example} "
        "Repair the file and upload it again; --keep-going uploads the rest all the same."
    )


class _OtherEventsError(Exception):
    """The file holds other events than its upload: it has changed since its id was derived."""


def _version_of(one: InputPath) -> object:
    """Changes with the content of a regular file; None of anything else."""
    if one.size_bytes is None:
        return None
    try:
        status = os.stat(one.path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


async def _get_upload(client: EngagementClient, upload_id: str) -> v1.Upload:
    """The state of an upload, also if it has not begun."""
    try:
        return await client.get_upload(upload_id)
    except NotFoundError:
        return v1.Upload(upload_id=upload_id)
