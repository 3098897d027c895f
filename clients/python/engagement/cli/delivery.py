"""Uploads the events of one input, and records which of them were rejected."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, NamedTuple

from engagement import v1
from engagement.cli.background import BackgroundReader
from engagement.cli.blank_ids import BlankIds
from engagement.cli.earlier_rejections import EarlierRejections
from engagement.cli.input_events import InputEvents, size_of
from engagement.cli.outage import OutageReport
from engagement.cli.outcomes import Place, Rejection, reason_name
from engagement.cli.progress import ProgressBar
from engagement.cli.rejection_file import RejectionFile
from engagement.client import EngagementClient
from engagement.errors import PreconditionError
from engagement.limits import MAX_REJECTIONS_WITHOUT_SUCCESS
from engagement.upload import Progress, RejectedEvent, Uploader
from engagement.upload.ledger import total
from engagement.violation import Violation

_ALL_REJECTED: Final = "UPLOAD_ALL_REJECTED"


class _Sent(NamedTuple):
    """An event that may still be rejected."""

    place: Place
    has_later_attributes: bool


class Delivery:
    """The upload of one input; it runs once."""

    def __init__(  # noqa: PLR0913 - all but the first are named at the call
        self,
        events: InputEvents,
        *,
        upload: v1.Upload,
        keep_going: bool,
        source_name: str,
        limits: v1.Limits,
        rejections: RejectionFile,
        bar: ProgressBar,
        before_end: Callable[[], None],
    ) -> None:
        """`upload` is the state that earlier runs have brought the upload to; `limits` are the server's.

        With `keep_going`, the upload goes on even if all its events are rejected.
        `before_end` is called once all is read; an exception from it leaves the upload unfinished.
        """
        self._input = events
        self._upload = upload
        self._keep_going = keep_going
        self._source_name = source_name
        self._rejections = rejections
        self._bar = bar
        self._before_end = before_end
        self._tally = v1.Tally()
        self._unreadable = 0
        self._delivered = 0
        self.resumed_by_count = False
        """Whether events were skipped by their number only, because an earlier run sent no digest of them."""
        self.erased = 0
        """Duplicates of events that were erased before."""
        # Rejections refer to chunks that are unacknowledged or being filled.
        self._places: deque[_Sent] = deque(maxlen=(limits.max_unacked_chunks + 2) * limits.max_chunk_events)
        self._imported_before = 0
        self._reported = 0
        self._may_stop = not keep_going and upload.tally.rejected == total(upload.tally)
        self._held: list[Rejection] = []
        """Rejections after those that may end the upload: how many more come depends on the moment."""
        self.has_stopped = False
        """Whether the server has ended the upload because its first events were all rejected."""
        self._outage = OutageReport()
        self.blanks = BlankIds()
        """Of the events read so far."""

    @property
    def has_begun(self) -> bool:
        """Whether there is an upload to resume."""
        return self._delivered > 0

    @property
    def outcomes(self) -> dict[str, int]:
        """The number of events with each outcome so far."""
        return {
            "accepted": self._tally.accepted,
            "duplicate": self._tally.duplicate + self._imported_before,
            "rejected": self._tally.rejected - self._imported_before + self._unreadable - len(self._held),
            "suppressed": self._tally.suppressed,
        }

    async def run(self, client: EngagementClient) -> None:
        """Returns once every event has an outcome. Raises EngagementError."""
        upload_id = self._upload.upload_id
        earlier = EarlierRejections(client, upload_id=upload_id, count=self._upload.tally.rejected)
        uploader = Uploader(
            client,
            upload_id=upload_id,
            on_progress=self._progressed,
            on_rejection=self._rejected,
            on_reconnect=self._outage.begin,
            keep_going=self._keep_going,
            source_name=self._source_name,
            count_unreadable=lambda: self._unreadable + bool(self._input.damage),
        )
        try:
            summary = await uploader.upload(self._events(earlier))
        except PreconditionError as error:
            self.has_stopped = error.reason == _ALL_REJECTED
            raise
        finally:
            if not self.has_stopped:
                self._release()
        self._tally = summary.tally
        self.resumed_by_count = summary.resumed_by_count
        self.erased = summary.erased

    async def _events(self, earlier: EarlierRejections) -> AsyncGenerator[v1.Event, None]:
        reader = BackgroundReader(self._input, size_of=size_of)
        self._input.file.before_read = reader.flush
        async with aclosing(reader.batches()) as batches:
            async for batch in batches:
                self.blanks.look_at(batch)
                for found in batch:
                    if isinstance(found, Rejection):
                        self._unreadable += 1
                        self._rejections.write(found)
                        continue
                    self._places.append(_Sent(found.place, found.has_later_attributes))
                    if error := await earlier.take(found.event.event_id):
                        self._report(found.event, error, self._places[-1])
                    self._delivered += 1
                    yield found.event
        self._before_end()

    def _progressed(self, progress: Progress) -> None:
        if progress.tally != self._tally:
            self._outage.end()
        self._tally = progress.tally
        if self._may_stop and self._tally.rejected < total(self._tally):
            self._release()
        self._bar.show(progress.acknowledged + self._unreadable, rejected=self.outcomes["rejected"])

    def _rejected(self, rejected: RejectedEvent) -> None:
        self._report(rejected.event, rejected.error, self._places[rejected.position - self._delivered])

    def _report(self, event: v1.Event, error: v1.EventError, sent: _Sent) -> None:
        if sent.has_later_attributes and error.reason == v1.ErrorReason.ERROR_REASON_EVENT_ID_CONFLICT:
            self._imported_before += 1
            return
        rejection = _rejection(event, error, place=sent.place)
        self._reported += 1
        if not self._may_stop or self._reported <= MAX_REJECTIONS_WITHOUT_SUCCESS:
            self._rejections.write(rejection)
            return
        self._held.append(rejection)
        if len(self._held) == self._places.maxlen:
            self._release()

    def _release(self) -> None:
        """Writes the rejections that are held, and holds no more."""
        self._may_stop = False
        for rejection in self._held:
            self._rejections.write(rejection)
        self._held.clear()


def _rejection(event: v1.Event, error: v1.EventError, *, place: Place) -> Rejection:
    return Rejection(
        place=place,
        reason=reason_name(error.reason),
        message=error.message,
        violations=[Violation(each.field, each.rule, each.description) for each in error.violations],
        event=event,
    )
