"""Results and errors pass a channel unchanged."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from engagement.rules import Violation
from engagement_server import errors
from engagement_server.api.grpc.status import describe
from engagement_server.errors import EntityUnknownError, InvalidRequestError, RequestError
from engagement_server.model import EntityList, ErasureState, Outcome, Tally, UploadState, Verdict
from engagement_server.operations import Applied, ChunkCommitted, Opening, Recorded, Result
from engagement_server.workers.results import (
    decode_applied,
    decode_results,
    encode_applied,
    encode_results,
)

_NUMBERS = st.integers(0, 2**63 - 1)
_TEXTS = st.text(max_size=20)
_violations = st.builds(Violation, _TEXTS, _TEXTS, _TEXTS)
_tallies = st.builds(Tally, _NUMBERS, _NUMBERS, _NUMBERS, _NUMBERS)
_verdicts = st.lists(
    st.builds(Verdict, _NUMBERS, _TEXTS, st.sampled_from(Outcome), _NUMBERS, st.binary(max_size=20)),
    max_size=3,
)
_results: st.SearchStrategy[Result] = st.one_of(
    _NUMBERS,
    st.builds(Recorded, _verdicts),
    st.builds(ChunkCommitted, _NUMBERS, _NUMBERS, _tallies, _verdicts),
    st.builds(UploadState, _TEXTS, st.booleans(), _NUMBERS, _tallies, _NUMBERS, _NUMBERS),
    st.builds(EntityList, st.lists(_TEXTS, max_size=3), st.booleans()),
    st.builds(
        ErasureState,
        _NUMBERS,
        _TEXTS,
        _TEXTS,
        st.lists(_NUMBERS, max_size=3),
        _NUMBERS,
        _NUMBERS,
        st.booleans(),
        _NUMBERS,
        st.none() | _NUMBERS,
        st.none() | _NUMBERS,
        st.booleans(),
    ),
)
_errors: dict[str, st.SearchStrategy[RequestError]] = {
    "FieldInvalidError": st.builds(errors.FieldInvalidError, st.lists(_violations, min_size=1, max_size=3)),
    "FilterInvalidError": st.builds(errors.FilterInvalidError, st.lists(_violations, min_size=1, max_size=3)),
    "EntityUnknownError": st.builds(EntityUnknownError, _violations, allowed=_TEXTS, index=_NUMBERS),
    "BatchTooLargeError": st.builds(
        errors.BatchTooLargeError, count=_NUMBERS, limit=_NUMBERS, unit=st.just("events")
    ),
    "ChunkTooLargeError": st.builds(
        errors.ChunkTooLargeError, count=_NUMBERS, limit=_NUMBERS, unit=st.just("events")
    ),
    "PageTokenMismatchError": st.builds(errors.PageTokenMismatchError),
    "CursorMalformedError": st.builds(errors.CursorMalformedError),
    "CursorMismatchError": st.builds(errors.CursorMismatchError),
    "EventIdConflictError": st.builds(errors.EventIdConflictError, _TEXTS),
    "RequestIdReusedError": st.builds(errors.RequestIdReusedError, _TEXTS),
    "SequenceGapError": st.builds(
        errors.SequenceGapError, upload_id=_TEXTS, sequence=_NUMBERS, expected=_NUMBERS
    ),
    "UploadFinishedError": st.builds(
        errors.UploadFinishedError, upload_id=_TEXTS, committed_through=_NUMBERS
    ),
    "ChunkChangedError": st.builds(
        errors.ChunkChangedError, upload_id=_TEXTS, sequence=_NUMBERS, committed_through=_NUMBERS
    ),
    "FinishMismatchError": st.builds(
        errors.FinishMismatchError, upload_id=_TEXTS, last_sequence=_NUMBERS, committed_through=_NUMBERS
    ),
    "UploadAllRejectedError": st.builds(
        errors.UploadAllRejectedError, upload_id=_TEXTS, rejected=_NUMBERS, committed_through=_NUMBERS
    ),
    "CursorExpiredError": st.builds(errors.CursorExpiredError, _TEXTS),
    "LogEpochChangedError": st.builds(errors.LogEpochChangedError),
    "PartitionNotServedError": st.builds(
        errors.PartitionNotServedError, account_id=_TEXTS, partition=_NUMBERS, partition_count=_NUMBERS
    ),
    "UploadTakenOverError": st.builds(errors.UploadTakenOverError, _TEXTS),
    "TokenMissingError": st.builds(errors.TokenMissingError),
    "TokenInvalidError": st.builds(errors.TokenInvalidError, _TEXTS),
    "TokenExpiredError": st.builds(errors.TokenExpiredError),
    "AccountForbiddenError": st.builds(errors.AccountForbiddenError, st.none() | _TEXTS),
    "ScopeMissingError": st.builds(errors.ScopeMissingError, _TEXTS),
    "AccountMismatchError": st.builds(errors.AccountMismatchError),
    "EventNotFoundError": st.builds(errors.EventNotFoundError, eventId=_TEXTS),
    "UploadNotFoundError": st.builds(errors.UploadNotFoundError, _TEXTS),
    "EntityNotFoundError": st.builds(errors.EntityNotFoundError, _TEXTS),
    "ErasureNotFoundError": st.builds(errors.ErasureNotFoundError, _TEXTS),
    "ProfileNotFoundError": st.builds(errors.ProfileNotFoundError, consumerId=_TEXTS),
    "DataDamagedError": st.builds(errors.DataDamagedError, cursor=_TEXTS),
    "LogDamagedError": st.builds(errors.LogDamagedError, log=_TEXTS, sequence=_NUMBERS, cause=_TEXTS),
    "OverloadedError": st.builds(errors.OverloadedError),
    "DrainingError": st.builds(errors.DrainingError),
    "ProfilePendingError": st.builds(errors.ProfilePendingError),
    "StoreUnavailableError": st.builds(errors.StoreUnavailableError, _TEXTS),
}


def _comparable(outcome: Result | RequestError) -> object:
    """An outcome in a comparable form."""
    if not isinstance(outcome, RequestError):
        return outcome
    violations = list(outcome.violations) if isinstance(outcome, InvalidRequestError) else None
    item = outcome.index if isinstance(outcome, EntityUnknownError) else None
    return type(outcome), str(outcome), outcome.message, outcome.metadata, violations, item, describe(outcome)


def test_there_is_an_error_of_every_kind_to_try() -> None:
    kinds = {
        name
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, RequestError) and hasattr(kind, "reason")
    }
    # Quotas are checked before the log: theirs never comes from there.
    assert kinds - {errors.QuotaExceededError.__name__} == _errors.keys()


@given(st.lists(_results | st.one_of(*_errors.values()), max_size=6))
def test_outcomes_arrive_as_they_were(outcomes: Sequence[Result | RequestError]) -> None:
    arrived = decode_results(encode_results(outcomes))
    assert [_comparable(outcome) for outcome in arrived] == [_comparable(outcome) for outcome in outcomes]
    assert [type(outcome) for outcome in arrived] == [type(outcome) for outcome in outcomes]


@given(_violations)
def test_a_value_that_is_not_on_a_list_is_still_found_within_its_request(violation: Violation) -> None:
    error = EntityUnknownError(violation, allowed="gold, tin", index=3)
    (arrived,) = decode_results(encode_results([error]))
    assert isinstance(arrived, EntityUnknownError)
    assert _comparable(arrived.within("events[3]")) == _comparable(error.within("events[3]"))


@given(
    st.builds(
        Applied,
        st.just([]),
        st.dictionaries(_TEXTS, _NUMBERS, max_size=3),
        st.booleans(),
        st.lists(st.builds(Opening, _TEXTS, _TEXTS, _TEXTS), max_size=3),
        st.dictionaries(_TEXTS, st.lists(_NUMBERS, max_size=3), max_size=3),
    )
)
def test_what_readers_see_of_a_commit_arrives_as_it_was(applied: Applied) -> None:
    assert decode_applied(encode_applied(applied)) == applied
