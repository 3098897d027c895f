"""The health service, asked in every way."""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health_pb2

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
Watch = grpc.aio.UnaryStreamCall[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]
_messages: Any = health_pb2  # the stubs are older than List


def watch(channel: grpc.aio.Channel, service: str = "") -> Watch:
    """Watches the status of a service."""
    method: grpc.aio.UnaryStreamMultiCallable[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]
    method = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return method(health_pb2.HealthCheckRequest(service=service))


async def statuses(channel: grpc.aio.Channel) -> dict[str, str]:
    """The status of each name."""
    listing: Any = channel.unary_unary(
        "/grpc.health.v1.Health/List",
        request_serializer=_messages.HealthListRequest.SerializeToString,
        response_deserializer=_messages.HealthListResponse.FromString,
    )
    response = await listing(_messages.HealthListRequest())
    name_of = health_pb2.HealthCheckResponse.ServingStatus.Name
    return {name: name_of(each.status) for name, each in response.statuses.items()}
