"""The services of the contract with the handlers of their methods, for any edge to serve."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from engagement.v1 import (
    entity_service_pb2,
    event_service_pb2,
    ingest_service_pb2,
    privacy_service_pb2,
    server_service_pb2,
)
from engagement_server.api.account_pages import AccountPages
from engagement_server.api.entities import EntityHandlers
from engagement_server.api.events import EventHandlers
from engagement_server.api.ingest import IngestHandlers
from engagement_server.api.privacy import PrivacyHandlers
from engagement_server.api.server import ServerHandlers

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor

    from engagement import v1
    from engagement_server.access.call_quotas import CallQuotas
    from engagement_server.api.server import ServerLimits
    from engagement_server.metrics.rejections import Rejections
    from engagement_server.partitions import Partitions


def services(  # noqa: PLR0913  # all but three are named at the call
    partitions: Partitions,
    rejections: Rejections,
    server_limits: ServerLimits,
    *,
    quotas: CallQuotas,
    version: str,
    read_stats: Callable[[], Awaitable[v1.GetServerStatsResponse]],
) -> Mapping[ServiceDescriptor, object]:
    """Handlers by service: the method `RecordEvent` of the contract is `record_event` of the handlers."""
    described = ServerHandlers(
        server_limits,
        version=version,
        partition_count=partitions.count,
        partitions=partitions.states,
        accounts=AccountPages(partitions),
        expiries={partition.number: partition.expiry for partition in partitions},
        read_stats=read_stats,
    )
    return {
        ingest_service_pb2.DESCRIPTOR.services_by_name["IngestService"]: IngestHandlers(
            partitions, rejections, quotas
        ),
        event_service_pb2.DESCRIPTOR.services_by_name["EventService"]: EventHandlers(partitions),
        entity_service_pb2.DESCRIPTOR.services_by_name["EntityService"]: EntityHandlers(partitions),
        privacy_service_pb2.DESCRIPTOR.services_by_name["PrivacyService"]: PrivacyHandlers(partitions),
        server_service_pb2.DESCRIPTOR.services_by_name["ServerService"]: described,
    }
