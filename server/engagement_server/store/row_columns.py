"""The columns of a `StoredRow`, from the table of events under the name `e`."""

from __future__ import annotations

import logging

import apsw

from engagement_server.store.checksums import is_damage

_EVENT_COLUMNS = (
    "e.position, e.server_time_ms, e.receive_time_ms, e.payload, e.matched_status, e.matched_type"
)
# A look-up by number takes a tenth of a microsecond. NULL once the record of the upload has expired.
_UPLOAD_ID = "(SELECT u.upload_id FROM uploads AS u WHERE u.number = e.upload)"
_WITH_UPLOADS = f"{_EVENT_COLUMNS}, {_UPLOAD_ID}, e.upload_event"
_WITHOUT_UPLOADS = f"{_EVENT_COLUMNS}, NULL, NULL"

_log = logging.getLogger(__name__)


class RowColumns:
    """Works through the connection of the caller.

    Events stay readable without their uploads if the records of these are damaged.
    """

    def __init__(self, connection: apsw.Connection, *, has_uploads: bool = False) -> None:
        self._connection = connection
        self._has_uploads = has_uploads

    @property
    def text(self) -> str:
        """The columns for a statement."""
        return _WITH_UPLOADS if self._has_uploads else _WITHOUT_UPLOADS

    def leave_out_uploads(self) -> bool:
        """Leaves the uploads out from now on, if they are damaged; false if nothing has changed."""
        if not self._has_uploads or self._can_read_uploads():
            return False
        _log.warning("the records of uploads are damaged; events are read without them")
        self._has_uploads = False
        return True

    def _can_read_uploads(self) -> bool:
        try:
            self._connection.execute("SELECT count(upload_id) FROM uploads NOT INDEXED").fetchall()
        except apsw.Error as error:
            if not is_damage(error):
                raise
            return False
        return True
