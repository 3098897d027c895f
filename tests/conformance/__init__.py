"""The promises of a commit log, tested against each implementation."""

import pytest

pytest.register_assert_rewrite(
    "tests.conformance.commit_log",
    "tests.conformance.entity_conformance",
    "tests.conformance.erasure_conformance",
    "tests.conformance.event_conformance",
    "tests.conformance.history_conformance",
    "tests.conformance.upload_conformance",
)
