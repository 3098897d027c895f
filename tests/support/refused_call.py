"""A refused call, as a client sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from tests.support.waiting import deadline

# gRPC clients surely receive this much metadata; beyond it they may reject the response.
SAFE_METADATA_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """A status with its details."""

    code: grpc.StatusCode
    message: str
    reason: str
    domain: str
    metadata: Mapping[str, str]
    violations: Sequence[tuple[str, str, str]]
    """Field, rule and description of each."""
    details_bytes: int
    retry_delay_ms: int
    """When to retry; 0: not given."""
    quotas: Sequence[tuple[str, int]] = ()
    """Name and value of each quota that is used up."""

    @classmethod
    def of(cls, error: grpc.aio.AioRpcError) -> Self:
        """Reads the details, which every refused call of this service has."""
        trailing = dict(error.trailing_metadata())
        serialized = trailing["grpc-status-details-bin"]
        assert isinstance(serialized, bytes)
        status = status_pb2.Status.FromString(serialized)
        assert (status.code, status.message) == (error.code().value[0], error.details())
        info = error_details_pb2.ErrorInfo()
        bad_request = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        quota = error_details_pb2.QuotaFailure()
        for detail in status.details:
            assert any(detail.Unpack(message) for message in (info, bad_request, retry, quota))
        assert info.domain == "engagement.v1"
        retry_delay_ms = retry.retry_delay.ToMilliseconds()
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:  # clients wait for quotas by themselves
            assert "grpc-retry-pushback-ms" not in trailing
            assert quota.violations
        else:
            assert retry_delay_ms == int(trailing.get("grpc-retry-pushback-ms", 0))
        return cls(
            code=error.code(),
            message=status.message,
            reason=info.reason,
            domain=info.domain,
            metadata=dict(info.metadata),
            violations=[(each.field, each.reason, each.description) for each in bad_request.field_violations],
            details_bytes=len(serialized),
            retry_delay_ms=retry_delay_ms,
            quotas=[(each.quota_metric, each.quota_value) for each in quota.violations],
        )

    @property
    def fields(self) -> list[str]:
        """Paths of the invalid fields."""
        return [field for field, _, _ in self.violations]


async def expect_refused(call: Awaitable[object]) -> RefusedCall:
    """Waits for a call to be refused; fails if it is not."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with deadline("the call was refused"):
            await call
    return RefusedCall.of(caught.value)


def assert_receivable(refused: RefusedCall) -> None:
    """Checks that the details keep their bound, and that clients accept all metadata together."""
    assert refused.details_bytes <= 4096
    assert refused.details_bytes * 4 / 3 + len(quote(refused.message)) <= SAFE_METADATA_BYTES - 512


async def outcome_of(call: Awaitable[object]) -> str:
    """How a call ends: OK, or the reason that refuses it."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return RefusedCall.of(error).reason
    return "OK"
