"""EntityService: the account's lists of customer statuses and types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engagement import v1
from engagement.v1 import entity_service_pb2_grpc
from engagement_server.model import EntityList
from engagement_server.operations import DeleteEntity, PutEntities
from engagement_server.validation import require_valid

if TYPE_CHECKING:
    import grpc

    from engagement_server.committer import Committer
    from engagement_server.store.readers import Readers

    Context = grpc.aio.ServicerContext[Any, Any]


class EntityServicer(entity_service_pb2_grpc.EntityServiceServicer):
    """Reads and changes lists."""

    def __init__(self, *, committer: Committer, readers: Readers) -> None:
        self._committer = committer
        self._readers = readers

    async def ListEntities(
        self, request: v1.ListEntitiesRequest, context: Context
    ) -> v1.ListEntitiesResponse:
        """Reads a list."""
        require_valid(request)
        entities = await self._readers.run(lambda reader: reader.entities(request.account_id, request.kind))
        return v1.ListEntitiesResponse(names=entities.names, closed=entities.is_closed)

    async def PutEntities(self, request: v1.PutEntitiesRequest, context: Context) -> v1.PutEntitiesResponse:
        """Adds names to a list, and closes or opens it."""
        require_valid(request)
        is_closed = request.closed if request.HasField("closed") else None
        operation = PutEntities(request.account_id, request.kind, tuple(request.names), is_closed)
        entities = await self._committer.submit(operation, returns=EntityList)
        return v1.PutEntitiesResponse(names=entities.names, closed=entities.is_closed)

    async def DeleteEntity(
        self, request: v1.DeleteEntityRequest, context: Context
    ) -> v1.DeleteEntityResponse:
        """Takes a name off a list."""
        require_valid(request)
        operation = DeleteEntity(request.account_id, request.kind, request.name)
        entities = await self._committer.submit(operation, returns=EntityList)
        return v1.DeleteEntityResponse(names=entities.names, closed=entities.is_closed)
