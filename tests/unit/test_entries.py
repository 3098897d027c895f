"""The ids of commits in a replicated log."""

from __future__ import annotations

import pytest

from engagement_server.errors import UnreadableCommitError
from engagement_server.log.nats import entries


def test_the_id_of_a_commit_is_read_as_it_is_written() -> None:
    assert entries.MessageId.parse(str(entries.MessageId("abc", 7))) == ("abc", 7)
    with pytest.raises(UnreadableCommitError):
        entries.MessageId.parse("abc")
