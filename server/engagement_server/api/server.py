"""ServerService: version, limits, the partitions that this node serves, and how long they keep events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engagement import limits, v1
from engagement.rules import Violation
from engagement_server.access.seen import as_seen
from engagement_server.api.paging import MAX_PAGE_SIZE
from engagement_server.clock import ceil_ms, now_ms
from engagement_server.errors import FieldInvalidError
from engagement_server.jobs.spans import DAY_MS
from engagement_server.messages import MAX_DAMAGE_CHARACTERS, hold_message
from engagement_server.streams.subscription import MAX_BATCH_EVENTS as MAX_SUBSCRIPTION_BATCH_EVENTS
from engagement_server.streams.upload_answers import MAX_UNACKED_CHUNKS
from engagement_server.validation import require_valid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import timedelta

    from engagement_server.api.account_pages import AccountPages
    from engagement_server.api.call import Call
    from engagement_server.governor.turns import Caller
    from engagement_server.jobs.expiry import Expiry, Removal
    from engagement_server.model import PartitionState


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What the operator or the transport sets; the other limits are the contract's."""

    heartbeat_interval: timedelta
    max_stream_age: timedelta
    upload_idle_timeout: timedelta
    min_keepalive_interval: timedelta
    allows_short_retention: bool
    max_metadata_bytes: int
    identity_required: bool
    encrypted: bool


class ServerHandlers:
    """Handlers of ServerService."""

    def __init__(  # noqa: PLR0913  # all but one are named at the call
        self,
        server_limits: ServerLimits,
        *,
        version: str,
        partition_count: int,
        partitions: Callable[[], Sequence[PartitionState]],
        accounts: AccountPages,
        expiries: Mapping[int, Expiry],
        read_stats: Callable[[], Awaitable[v1.GetServerStatsResponse]],
    ) -> None:
        """`partitions` returns the current state of the partitions that this node serves, by number.

        `accounts` and `expiries` are those of the same partitions. `read_stats` returns what the node does.
        """
        self._read_stats = read_stats
        self._partitions = partitions
        self._accounts = accounts
        self._expiries = expiries
        self._allows_short_retention = server_limits.allows_short_retention
        self._info = v1.GetServerInfoResponse(
            version=version,
            contract=v1.Event.DESCRIPTOR.file.package,
            partition_count=partition_count,
            identity_required=server_limits.identity_required,
            encrypted=server_limits.encrypted,
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
                max_chunk_bytes=limits.MAX_CHUNK_BYTES,
                max_rejections_without_success=limits.MAX_REJECTIONS_WITHOUT_SUCCESS,
            ),
        )
        allowed = self._info.limits
        allowed.max_clock_lead.FromMilliseconds(limits.MAX_CLOCK_LEAD_MS)
        allowed.heartbeat_interval.FromTimedelta(server_limits.heartbeat_interval)
        allowed.max_stream_age.FromTimedelta(server_limits.max_stream_age)
        allowed.upload_idle_timeout.FromTimedelta(server_limits.upload_idle_timeout)
        allowed.min_keepalive_interval.FromTimedelta(server_limits.min_keepalive_interval)

    async def get_server_info(self, request: v1.GetServerInfoRequest, call: Call) -> v1.GetServerInfoResponse:
        """Returns version, limits, the state of the partitions, and how long they keep events."""
        response = v1.GetServerInfoResponse()
        response.CopyFrom(self._info)
        longest_ms = 0
        for state in self._partitions():
            partition = response.partitions.add(
                number=state.number,
                log_epoch=state.log_epoch,
                current=state.is_current,
                damage=state.damage[:MAX_DAMAGE_CHARACTERS],
            )
            if state.view_time_ms is not None:
                partition.view_time.FromMilliseconds(state.view_time_ms)
            expiry = self._expiries.get(state.number)
            if expiry is not None:
                longest_ms = max(longest_ms, await _describe_expiry(partition, expiry, call.caller))
        if response.partitions:
            response.log_epoch = response.partitions[0].log_epoch
        response.limits.retention.FromMilliseconds(longest_ms)
        return response

    async def get_server_stats(
        self, request: v1.GetServerStatsRequest, call: Call
    ) -> v1.GetServerStatsResponse:
        """Returns what this node does now, as it was sampled last and as the caller may see it."""
        require_valid(request)
        return as_seen(await self._read_stats(), call.identity.principal.accounts)

    async def get_identity(self, request: v1.GetIdentityRequest, call: Call) -> v1.GetIdentityResponse:
        """Returns as whom the server sees the caller."""
        require_valid(request)
        identity = call.identity
        principal = identity.principal
        response = v1.GetIdentityResponse(
            principal=principal.name,
            credential=identity.credential,
            accounts=principal.accounts.patterns,
            scopes=[v1.Scope.Name(scope) for scope in sorted(principal.scopes)],
            sources=sorted(principal.sources),
            may_authenticate=principal.may_authenticate,
            publishable=principal.is_publishable,
        )
        if principal.quotas is not None:
            response.quotas.MergeFrom(v1.GrantQuotas(**principal.quotas._asdict()))
        if identity.expires_at is not None:
            response.expire_time.FromMilliseconds(int(identity.expires_at * 1000))
        return response

    async def list_accounts(self, request: v1.ListAccountsRequest, call: Call) -> v1.ListAccountsResponse:
        """Returns one page of the accounts that the caller's grant covers."""
        require_valid(request)
        accounts = call.identity.principal.accounts
        return await self._accounts.read(request, accounts=accounts, caller=call.caller)

    async def set_retention(self, request: v1.SetRetentionRequest, call: Call) -> v1.SetRetentionResponse:
        """Changes how long events are kept, or counts what that would remove."""
        require_valid(request)
        retention_ms = ceil_ms(request.retention.ToNanoseconds())
        if retention_ms < DAY_MS and not self._allows_short_retention:
            raise FieldInvalidError([_TOO_SHORT])
        response = v1.SetRetentionResponse()
        for expiry in self._expiries.values():
            state = expiry.state
            if state.retention_ms is not None and not response.HasField("previous_retention"):
                response.previous_retention.FromMilliseconds(state.retention_ms)
            removal = await expiry.removal(retention_ms, caller=call.caller)
            if not request.validate_only:
                await expiry.set_retention(retention_ms, caller=call.caller)
            _add_removal(response, removal)
        return response

    async def release_expiry(self, request: v1.ReleaseExpiryRequest, call: Call) -> v1.ReleaseExpiryResponse:
        """Ends the hold of expiry, or counts what that would remove."""
        require_valid(request)
        response = v1.ReleaseExpiryResponse()
        for expiry in self._expiries.values():
            state = expiry.state
            if state.retention_ms is None:
                continue
            removal = await expiry.removal(state.retention_ms, caller=call.caller)
            if state.hold is not None and not response.HasField("expiry_hold"):
                response.expiry_hold.CopyFrom(
                    hold_message(state.hold, due=removal.due, stored=removal.stored)
                )
            if state.hold is not None and not request.validate_only:
                await expiry.release(confirmed_before_ms=removal.before_ms, caller=call.caller)
            _add_removal(response, removal)
        return response


async def _describe_expiry(partition: v1.Partition, expiry: Expiry, caller: Caller) -> int:
    """Adds how long a partition keeps events, and the hold; returns the retention in milliseconds."""
    state = expiry.state
    if state.retention_ms is None:
        return 0
    partition.expired_events = await expiry.expired_events(caller=caller)
    partition.retention.FromMilliseconds(state.retention_ms)
    partition.remove_before_time.FromMilliseconds(now_ms() - state.retention_ms)
    if state.hold is not None:
        removal = await expiry.removal(state.retention_ms, caller=caller)
        partition.expiry_hold.CopyFrom(hold_message(state.hold, due=removal.due, stored=removal.stored))
    return state.retention_ms


def _add_removal(response: v1.SetRetentionResponse | v1.ReleaseExpiryResponse, removal: Removal) -> None:
    response.remove_before_time.FromMilliseconds(removal.before_ms)
    response.due_events += removal.due
    response.stored_events += removal.stored


_TOO_SHORT = Violation(
    "retention",
    "server.retention.short",
    "must be at least a day, unless the server is started with --allow-short-retention",
)
