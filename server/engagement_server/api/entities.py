"""EntityService: the account's lists of customer statuses and types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement import v1
from engagement_server.model import EntityList
from engagement_server.operations import DeleteEntity, PutEntities
from engagement_server.validation import require_valid

if TYPE_CHECKING:
    from engagement_server.api.call import Call
    from engagement_server.partitions import Partitions


class EntityHandlers:
    """Handlers of EntityService."""

    def __init__(self, partitions: Partitions) -> None:
        self._partitions = partitions

    async def list_entities(self, request: v1.ListEntitiesRequest, call: Call) -> v1.ListEntitiesResponse:
        """Returns a list."""
        require_valid(request)
        readers = self._partitions.of(request.account_id).readers
        entities = await readers.run(
            lambda reader: reader.entities(request.account_id, request.kind), caller=call.caller
        )
        return v1.ListEntitiesResponse(names=entities.names, closed=entities.is_closed)

    async def put_entities(self, request: v1.PutEntitiesRequest, call: Call) -> v1.PutEntitiesResponse:
        """Adds names to a list, and closes or opens it."""
        require_valid(request)
        is_closed = request.closed if request.HasField("closed") else None
        operation = PutEntities(request.account_id, request.kind, tuple(request.names), is_closed)
        committer = self._partitions.of(request.account_id).committer
        entities = await committer.submit(operation, returns=EntityList, caller=call.caller)
        return v1.PutEntitiesResponse(names=entities.names, closed=entities.is_closed)

    async def delete_entity(self, request: v1.DeleteEntityRequest, call: Call) -> v1.DeleteEntityResponse:
        """Removes a name from a list."""
        require_valid(request)
        operation = DeleteEntity(request.account_id, request.kind, request.name)
        committer = self._partitions.of(request.account_id).committer
        entities = await committer.submit(operation, returns=EntityList, caller=call.caller)
        return v1.DeleteEntityResponse(names=entities.names, closed=entities.is_closed)
