"""Server reflection under both of its names, so that old and new tools work without the protos."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

# Without these messages tools cannot show the details of errors.
from google.rpc import error_details_pb2  # noqa: F401
from grpc_reflection.v1alpha import reflection, reflection_pb2

_V1 = "grpc.reflection.v1.ServerReflection"


def add_reflection(services: Sequence[str], server: grpc.aio.Server) -> None:
    """Serves reflection over `services`.

    The library has v1alpha only; v1 is the same on the wire, so the same servicer answers for both.
    """
    names = (*services, reflection.SERVICE_NAME, _V1)
    servicer = reflection.aio.ReflectionServicer(service_names=names)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        tuple(
            grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler})
            for name in (reflection.SERVICE_NAME, _V1)
        )
    )
