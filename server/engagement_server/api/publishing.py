"""What callers with publishable grants are answered: nothing about what is stored or who is suppressed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from engagement import v1
from engagement.rules import Violation
from engagement_server.errors import FieldInvalidError
from engagement_server.messages import add_facts
from engagement_server.model import Outcome

if TYPE_CHECKING:
    from engagement_server.model import Verdict

_TOLD: Final = {v1.ErrorReason.ERROR_REASON_FIELD_INVALID, v1.ErrorReason.ERROR_REASON_ENTITY_UNKNOWN}
"""Why an event is rejected for what it says, whatever is stored."""


def require_publishable(request: v1.RecordEventsRequest) -> None:
    """Raises FieldInvalidError for a call that would only try what is stored."""
    if request.validate_only:
        rule = "server.publishable.validate_only"
        raise FieldInvalidError([Violation("validate_only", rule, "must be false: the grant is publishable")])


def published_response(events: Sequence[v1.Event], verdicts: Sequence[Verdict]) -> v1.RecordEventsResponse:
    """The answer: new, repeated, suppressed and conflicting events look the same."""
    response = v1.RecordEventsResponse()
    for event, verdict in zip(events, verdicts, strict=True):
        result = response.results.add(index=verdict.index, event_id=event.event_id)
        error = v1.EventError.FromString(verdict.error)
        if verdict.outcome == Outcome.REJECTED and error.reason in _TOLD:
            result.outcome = v1.Outcome.OUTCOME_REJECTED
            result.error.CopyFrom(_without_values(error))
            add_facts(result.error, event_id=event.event_id)
            response.tally.rejected += 1
        else:
            result.outcome = v1.Outcome.OUTCOME_ACCEPTED
            response.tally.accepted += 1
    return response


def _without_values(error: v1.EventError) -> v1.EventError:
    """The error without the names on a list of the account."""
    if error.reason != v1.ErrorReason.ERROR_REASON_ENTITY_UNKNOWN:
        return error
    told = v1.EventError(reason=error.reason, violations_total=error.violations_total)
    for violation in error.violations:
        told.violations.add(field=violation.field, rule=violation.rule, description=_UNKNOWN)
        told.message = f"{violation.field}: {_UNKNOWN}"
    return told


_UNKNOWN: Final = "must be on the closed list of the account"
