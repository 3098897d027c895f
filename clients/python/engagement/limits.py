"""The limits of the contract, read from its annotations if they are expressed there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from buf.validate import validate_pb2
from engagement import v1

if TYPE_CHECKING:
    from google.protobuf.message import Message


def _rules(message: type[Message], field: str) -> Any:  # Any: extensions of options have no typed access
    """The validation rules that the contract gives a field."""
    options = message.DESCRIPTOR.fields_by_name[field].GetOptions()
    return options.Extensions[validate_pb2.field]  # type: ignore[index]  # its stub knows no field options


MAX_TEXT_CHARACTERS: Final[int] = _rules(v1.CustomerInfo, "balance").string.max_len
MAX_EVENT_ID_CHARACTERS: Final[int] = _rules(v1.Event, "event_id").string.max_len
MAX_SOURCE_CHARACTERS: Final[int] = _rules(v1.Event, "source").string.max_len
MAX_BATCH_EVENTS: Final[int] = _rules(v1.RecordEventsRequest, "events").repeated.max_items
MAX_CHUNK_EVENTS: Final[int] = _rules(v1.UploadEventsRequest.Chunk, "events").repeated.max_items
MAX_ENTITY_NAMES: Final[int] = _rules(v1.PutEntitiesRequest, "names").repeated.max_items
MAX_ENTITY_NAME_CHARACTERS: Final[int] = _rules(v1.PutEntitiesRequest, "names").repeated.items.string.max_len
MAX_ADDITIONAL_ATTRIBUTES: Final[int] = _rules(v1.Event, "additional_attributes").map.max_pairs
MAX_OTHER_CONTACTS: Final[int] = _rules(v1.PersonalInfo, "other_contacts").repeated.max_items
MAX_FILTER_VALUES: Final[int] = _rules(v1.EventFilter, "consumer_ids").repeated.max_items
END_OF_TIME_MS: Final[int] = _rules(v1.CustomerInfo, "server_time_stamp").int64.lt

# The rule `time.seconds`: an earlier time in milliseconds is one in seconds.
START_OF_TIME_MS: Final = 315_532_800_000
# The rule `read_mask.max_paths`.
MAX_MASK_PATHS: Final = 100

# Annotations cannot express serialized sizes, or times relative to the clock.
MAX_EVENT_BYTES: Final = 3_584 * 1024
"""Leaves half a MiB of the 4 MiB that gRPC libraries accept to everything else in a response."""
MAX_MESSAGE_BYTES: Final = 8 * 1024 * 1024
MAX_CLOCK_LEAD_MS: Final = 24 * 60 * 60 * 1000

MAX_VIOLATIONS: Final = 32
"""Limit on the broken rules that one error lists."""
MAX_CHUNK_BYTES: Final = 256 * 1024
"""Limit on a serialized chunk of several events."""
MAX_REJECTIONS_WITHOUT_SUCCESS: Final = 1_000
"""Number of rejected events at which an upload ends, if it has brought nothing but these."""
