"""The columns of a `StoredRow`, from the table of events under the name `e`."""

from __future__ import annotations

# A look-up by number takes a tenth of a microsecond. NULL once the record of the upload has expired.
_UPLOAD_ID = "(SELECT u.upload_id FROM uploads AS u WHERE u.number = e.upload)"
ROW_COLUMNS = (
    "e.position, e.server_time_ms, e.receive_time_ms, e.payload, e.matched_status, e.matched_type,"
    f" {_UPLOAD_ID}, e.upload_event"
)
