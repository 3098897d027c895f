"""Bulk upload that survives lost connections, restarts of the server and crashes of the client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engagement.errors import EngagementError
from engagement.retry import Outage, keeping_cancellation
from engagement.upload.chunking import Chunker
from engagement.upload.ledger import UploadLedger
from engagement.upload.stream import UploadStream
from engagement.uuid7 import uuid7

if TYPE_CHECKING:
    from engagement.retry import OnReconnect
    from engagement.upload.chunking import Source
    from engagement.upload.client import UploadClient
    from engagement.upload.ledger import CountUnreadable, OnProgress, OnRejection, UploadSummary


class Uploader:
    """Uploads a source of events of any length, in bounded memory.

    To resume an upload, in another process too, create an Uploader with the same `upload_id` and give it
    the same source from the start. The events that are committed are compared by their digest and not sent
    again; another source is refused before anything is sent. A finished upload compares the whole source and
    returns its summary again. One upload id names one source: derive it from what identifies the source, such
    as its name and day.

    Memory holds the unacknowledged chunks, at most as many as the server allows, and the next one.
    """

    def __init__(  # noqa: PLR0913 - all but the first are named at the call
        self,
        client: UploadClient,
        *,
        upload_id: str | None = None,
        chunk_events: int | None = None,
        on_progress: OnProgress | None = None,
        on_rejection: OnRejection | None = None,
        on_reconnect: OnReconnect | None = None,
        max_outage_seconds: float = 300.0,
        keep_going: bool = False,
        source_name: str = "",
        count_unreadable: CountUnreadable | None = None,
    ) -> None:
        """By default the upload gets a new id, and chunks are as large as the server allows.

        `on_progress` is called at every ack and every reconnect; `on_rejection` once for each event that is
        rejected in this run; `on_reconnect` with the error that ended a connection, or that kept one from
        storing events, before the next attempt. All are called in the event loop and must not block; an
        exception from them ends the run. `max_outage_seconds` is how long to keep reconnecting without
        progress. With `keep_going`, the upload goes on even if the server rejects all its events.

        The server keeps `source_name` with the upload for people to find it: at most 256 characters that
        identify no person. `count_unreadable` is called at the end of the source, and returns how many pieces
        of it, such as lines, could not be read; they are kept with the upload, too.
        """
        self.upload_id = upload_id or uuid7()
        self._client = client
        self._chunk_events = chunk_events
        self._on_progress = on_progress
        self._on_rejection = on_rejection
        self._on_reconnect = on_reconnect
        self._max_outage_seconds = max_outage_seconds
        self._keep_going = keep_going
        self._source_name = source_name
        self._count_unreadable = count_unreadable

    async def upload(self, events: Source) -> UploadSummary:
        """Uploads all events of the source and finishes the upload.

        An event without an id gets one from the server, the same whenever the source is uploaded under this
        upload id. An event that no chunk can carry is rejected here:
        `on_rejection` gets it and the summary's tally counts it. The source is read in the event loop, no
        faster than the server commits. Blocking work belongs in an asynchronous source, which may pause
        for any time: its earlier events are sent meanwhile.

        An exception of the source is raised after all of its earlier events are committed; the upload then
        stays open, as after a cancellation.

        Raises TakenOverError if a newer stream has taken the upload over, SourceMismatchError if the upload
        began with another source, PreconditionError with the reason UPLOAD_ALL_REJECTED if its first events
        were all rejected (see `keep_going`), the error behind an outage that lasts too long, and any other
        EngagementError at once.
        """
        ledger = UploadLedger(
            on_progress=self._on_progress,
            on_rejection=self._on_rejection,
            count_unreadable=self._count_unreadable,
        )
        chunker = Chunker(events, chunk_events=self._chunk_events, reject=ledger.reject)
        try:
            await self._stream(chunker, ledger)
            if chunker.is_comparing:
                await chunker.wait()
        finally:
            await chunker.close()
        if chunker.error is not None:
            raise chunker.error
        return ledger.summarize(self.upload_id)

    async def _stream(self, chunker: Chunker, ledger: UploadLedger) -> None:
        """Opens connections, one at a time, until everything is committed."""
        outage = Outage(
            max_seconds=self._max_outage_seconds, is_token_renewable=self._client.is_token_renewable
        )
        while True:
            try:
                with keeping_cancellation():
                    stream = UploadStream(
                        self._client,
                        await self._client.upload_events(),
                        upload_id=self.upload_id,
                        keep_going=self._keep_going,
                        source_name=self._source_name,
                        chunker=chunker,
                        ledger=ledger,
                        outage=outage,
                    )
                    await stream.run()
            except EngagementError as error:
                delay_seconds = outage.delay_after(error)
                if self._on_reconnect is not None:
                    self._on_reconnect(error)
            else:
                return
            await asyncio.sleep(delay_seconds)
            ledger.note_reconnect()
