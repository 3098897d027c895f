"""Every error reason is known to all clients; the contract says which there are."""

from __future__ import annotations

from engagement import v1
from tests.support.vectors import cases


def test_a_case_of_all_clients_has_the_reason() -> None:
    reasons = {case["expected"]["reason"] for case in cases("errors.json")}
    for name in v1.ErrorReason.keys():  # noqa: SIM118  # it is no dictionary
        reason = name.removeprefix("ERROR_REASON_")
        assert reason in reasons or reason == "UNSPECIFIED", "clients/vectors/cases/statuses.py lacks it"
