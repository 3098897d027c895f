"""What a client can read in a call that was refused."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

# Metadata that grpc's clients receive for certain; over it they may refuse the answer.
SAFE_METADATA_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class Refusal:
    """A status with its details."""

    code: grpc.StatusCode
    message: str
    reason: str
    domain: str
    metadata: Mapping[str, str]
    violations: Sequence[tuple[str, str, str]]
    """Field, rule and description of each."""
    details_bytes: int

    @property
    def fields(self) -> list[str]:
        """Paths of the fields that are wrong."""
        return [field for field, _, _ in self.violations]


async def refusal(call: Awaitable[object]) -> Refusal:
    """Waits for a call to be refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return read_refusal(caught.value)


def read_refusal(error: grpc.aio.AioRpcError) -> Refusal:
    """Reads the details, which every refusal of this service has."""
    trailing = dict(error.trailing_metadata())
    serialized = trailing["grpc-status-details-bin"]
    assert isinstance(serialized, bytes)
    status = status_pb2.Status.FromString(serialized)
    assert (status.code, status.message) == (error.code().value[0], error.details())
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    for detail in status.details:
        for message in (info, bad_request):
            if detail.Is(message.DESCRIPTOR):
                detail.Unpack(message)
    assert info.domain == "engagement.v1"
    return Refusal(
        code=error.code(),
        message=status.message,
        reason=info.reason,
        domain=info.domain,
        metadata=dict(info.metadata),
        violations=[(each.field, each.reason, each.description) for each in bad_request.field_violations],
        details_bytes=len(serialized),
    )


def assert_receivable(refused: Refusal) -> None:
    """The details keep their bound, and all metadata together stays far from what clients refuse."""
    assert refused.details_bytes <= 4096
    assert refused.details_bytes * 4 / 3 + len(quote(refused.message)) <= SAFE_METADATA_BYTES - 512
