"""The limits that decide what a view holds are those of the present rules.

Views of one log apply each message by the same rules, whatever version their nodes run. So a limit that
changes raises `operations.RULES`, and messages with an earlier number are applied by the earlier limit.
"""

from __future__ import annotations

import pytest

from engagement.limits import MAX_ENTITY_NAMES
from engagement_server.operations import RULES
from engagement_server.store import entity_lists, fold, log_digest, retention_rows, upload_rows

LIMITS = {
    1: {
        "chunks of an upload that are remembered": (upload_rows.MAX_REMEMBERED_CHUNKS, 1000),
        "names on a list": (MAX_ENTITY_NAMES, 110),
        "bytes of names in a stored error": (entity_lists._MAX_DESCRIBED_BYTES, 256),
        "text that matches": (fold.fold_version().rpartition("/")[0], "2/14.0"),
        "marks that are sorted": (fold._MAX_MARKS, 30),
        "correction of a clock": (retention_rows.MAX_CLOCK_STEP_BACK_MS, 3_600_000),
        "gap between commits": (retention_rows.MAX_CLOCK_GAP_MS, 604_800_000),
        "messages between votes": (log_digest.BOUNDARY_MESSAGES, 1024),
        "boundaries that are kept": (log_digest._KEPT_BOUNDARIES, 64),
        "boundaries in dispute that are kept": (log_digest._MAX_BOUNDARIES, 1024),
        "bytes of a digest": (log_digest._DIGEST_BYTES, 16),
    }
}


@pytest.mark.parametrize("name", LIMITS[RULES])
def test_a_limit_that_decides_state_changes_with_the_rules_alone(name: str) -> None:
    found, expected = LIMITS[RULES][name]
    assert found == expected
