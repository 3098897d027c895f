"""ServerService: version, limits, and the partitions that this node serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engagement import limits, v1
from engagement_server.api.paging import MAX_PAGE_SIZE
from engagement_server.streams.subscriptions import MAX_BATCH_EVENTS as MAX_SUBSCRIPTION_BATCH_EVENTS
from engagement_server.streams.uploads import MAX_UNACKED_CHUNKS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from engagement_server.api.call import Call
    from engagement_server.model import PartitionState


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Limits that the operator or the transport sets; the others are the contract's."""

    heartbeat_interval: timedelta
    max_stream_age: timedelta
    upload_idle_timeout: timedelta
    min_keepalive_interval: timedelta
    retention: timedelta
    max_metadata_bytes: int


class ServerHandlers:
    """Handlers of ServerService."""

    def __init__(
        self,
        server_limits: ServerLimits,
        *,
        version: str,
        partition_count: int,
        partitions: Callable[[], Sequence[PartitionState]],
    ) -> None:
        """`partitions` returns the current state of the partitions that this node serves, by number."""
        self._partitions = partitions
        self._info = v1.GetServerInfoResponse(
            version=version,
            contract=v1.Event.DESCRIPTOR.file.package,
            partition_count=partition_count,
            limits=v1.Limits(
                max_text_characters=limits.MAX_TEXT_CHARACTERS,
                max_event_id_characters=limits.MAX_EVENT_ID_CHARACTERS,
                max_source_characters=limits.MAX_SOURCE_CHARACTERS,
                max_event_bytes=limits.MAX_EVENT_BYTES,
                max_message_bytes=limits.MAX_MESSAGE_BYTES,
                max_batch_events=limits.MAX_BATCH_EVENTS,
                max_chunk_events=limits.MAX_CHUNK_EVENTS,
                max_unacked_chunks=MAX_UNACKED_CHUNKS,
                max_page_events=MAX_PAGE_SIZE,
                max_entity_names=limits.MAX_ENTITY_NAMES,
                max_entity_name_characters=limits.MAX_ENTITY_NAME_CHARACTERS,
                max_subscription_batch_events=MAX_SUBSCRIPTION_BATCH_EVENTS,
                max_additional_attributes=limits.MAX_ADDITIONAL_ATTRIBUTES,
                max_other_contacts=limits.MAX_OTHER_CONTACTS,
                max_filter_values=limits.MAX_FILTER_VALUES,
                max_mask_paths=limits.MAX_MASK_PATHS,
                max_metadata_bytes=server_limits.max_metadata_bytes,
            ),
        )
        allowed = self._info.limits
        allowed.max_clock_lead.FromMilliseconds(limits.MAX_CLOCK_LEAD_MS)
        allowed.heartbeat_interval.FromTimedelta(server_limits.heartbeat_interval)
        allowed.max_stream_age.FromTimedelta(server_limits.max_stream_age)
        allowed.upload_idle_timeout.FromTimedelta(server_limits.upload_idle_timeout)
        allowed.retention.FromTimedelta(server_limits.retention)
        allowed.min_keepalive_interval.FromTimedelta(server_limits.min_keepalive_interval)

    async def get_server_info(self, request: v1.GetServerInfoRequest, call: Call) -> v1.GetServerInfoResponse:
        """Returns version, limits and the state of the partitions."""
        response = v1.GetServerInfoResponse()
        response.CopyFrom(self._info)
        for state in self._partitions():
            partition = response.partitions.add(
                number=state.number, log_epoch=state.log_epoch, current=state.is_current
            )
            if state.view_time_ms is not None:
                partition.view_time.FromMilliseconds(state.view_time_ms)
        if response.partitions:
            response.log_epoch = response.partitions[0].log_epoch
        return response
