"""What a method of the contract asks of its callers: its option `access`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from engagement import v1
from engagement.v1 import access_pb2

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor

ACCOUNT_FIELD: Final = "account_id"
_PUBLISHABLE: Final = "engagement.v1.IngestService.RecordEvents"
_PREFIX: Final = "SCOPE_"


def scope_name(scope: int) -> str:
    """The name of a scope in grants, such as `read.pii`."""
    return v1.Scope.Name(scope).removeprefix(_PREFIX).lower().replace("_", ".")


SCOPES: Final = {
    scope_name(scope): scope for scope in v1.Scope.values() if scope != v1.Scope.SCOPE_UNSPECIFIED
}
"""All scopes by their names in grants."""


class Requirement(NamedTuple):
    """What a method asks of its callers."""

    any_of: frozenset[int]
    """Scopes of which one is enough; empty if every identity will do."""
    is_open: bool
    """Whether callers need not say who they are."""
    has_account: bool
    """Whether calls are about one account."""
    takes_publishable: bool = False
    """Whether it may be called with credentials that are in other people's hands."""

    @property
    def names(self) -> str:
        """The scopes, for people."""
        return ", ".join(sorted(map(scope_name, self.any_of)))


def requirement_of(method: MethodDescriptor) -> Requirement:
    """What a method asks of its callers. Raises ValueError if the contract does not say."""
    access: v1.MethodAccess = method.GetOptions().Extensions[access_pb2.access]  # type: ignore[index]  # of the stubs
    if bool(access.any_of) == bool(access.audience):
        raise ValueError(f"{method.full_name} needs either scopes or an audience")
    return Requirement(
        any_of=frozenset(access.any_of),
        is_open=access.audience == v1.MethodAccess.AUDIENCE_EVERYBODY,
        takes_publishable=method.full_name == _PUBLISHABLE,
        has_account=ACCOUNT_FIELD in method.input_type.fields_by_name or method.client_streaming,
    )
