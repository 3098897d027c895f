"""The pages about expiry name the limits that the server has."""

from __future__ import annotations

from pathlib import Path

import pytest

from engagement_server.jobs import node_clock, retention
from engagement_server.jobs.agreement import DEFAULT_RETENTION_MS
from engagement_server.jobs.spans import duration_text
from engagement_server.store import retention_rows

DOCS = Path(__file__).parents[2] / "docs"
WORDS = {"7 days": "a week", "1 hour": "an hour", "1 day": "a day"}


def in_words(duration_ms: float) -> str:
    """A duration as a page writes it."""
    text = duration_text(round(duration_ms))
    return WORDS.get(text, text)


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ("operations.md", f"Events are removed {in_words(DEFAULT_RETENTION_MS)} after their acceptance"),
        ("privacy.md", f"Events expire {in_words(DEFAULT_RETENTION_MS)} (13 months) after their acceptance"),
        (
            "operations.md",
            f"a commit's clock is more than {in_words(retention_rows.MAX_CLOCK_GAP_MS)} ahead of the commit"
            f" before it, or more than {in_words(retention_rows.MAX_CLOCK_STEP_BACK_MS)} behind",
        ),
        (
            "operations.md",
            f"the clock gains more than {in_words(node_clock.MAX_JUMP_MS)} while the server runs",
        ),
        (
            "operations.md",
            f"the clocks of two nodes differ by more than {in_words(node_clock.MAX_DIFFERENCE_MS)}",
        ),
        (
            "cluster.md",
            f"from {in_words(node_clock.MAX_DIFFERENCE_MS)} on, expiry is [held]",
        ),
        (
            "operations.md",
            f"is tried again {in_words(1000 * retention.RETRY_SECONDS)} after a failure",
        ),
        (
            "0040-expiry-is-held.md",
            f"no node has disagreed for {node_clock.AGREEMENT_SECONDS:g} seconds",
        ),
    ],
)
def test_a_page_names_the_limit(page: str, sentence: str) -> None:
    (path,) = DOCS.rglob(page)
    assert sentence in " ".join(path.read_text().split())


def test_words_for_amounts_are_those_of_the_server() -> None:
    operations, privacy = (
        " ".join((DOCS / page).read_text().split()) for page in ("operations.md", "privacy.md")
    )
    assert "would remove more than a tenth of all events" in operations
    assert retention.MAX_FIRST_SHARE == 10
    assert "Removal begins within minutes." in privacy
    assert 60 <= retention.INTERVAL_SECONDS <= 600
    assert "after some minutes in which they agree" in operations
    assert 120 <= node_clock.AGREEMENT_SECONDS <= 600
    assert node_clock.AGREEMENT_SECONDS > 2 * retention.HELD_INTERVAL_SECONDS
    assert "cannot be removed is named in the log and tried again every hour" in operations
    assert in_words(1000 * retention.DAMAGE_RETRY_SECONDS) == "an hour"
