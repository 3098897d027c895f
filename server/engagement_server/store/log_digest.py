"""The digest of what a view has applied, and the votes of other views on it.

Each view folds one digest over the messages that it has applied and what came of them. At every boundary it
keeps the digest, and compares it with those that other views have voted for in the log. It works inside the
transactions of the writer.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from engagement_server.errors import RequestError
from engagement_server.log_entries import DigestVote, SkipList
from engagement_server.model import EntityList, ErasureState, UploadState
from engagement_server.operations import ChunkCommitted

if TYPE_CHECKING:
    import apsw

    from engagement_server.log_entries import LogEntry
    from engagement_server.operations import Applied, Result

BOUNDARY_MESSAGES = 1024
"""Views keep and compare their digests after every so many messages of the log."""
_KEPT_BOUNDARIES = 64
# Including those in dispute: views that differ at one boundary differ at all later ones as well.
_MAX_BOUNDARIES = 1024
_DIGEST_BYTES = 16
_OWN = ""


class Divergence(NamedTuple):
    """A view may differ from others of its log."""

    after: int
    """Message after which they may differ; up to it, they are known to be equal."""
    cause: str


class DigestState(NamedTuple):
    """The comparison of a view with others of its log."""

    divergence: Divergence | None
    """None unless this view is known to differ, or as many views differ from it as agree with it."""
    due: list[DigestVote]
    """Votes of this view that others need to see, because views differ."""
    newest: DigestVote | None
    """The digest at the last boundary; None once any view has voted on it."""


class DigestRows:
    """The digest of a view and the votes on it."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.value = b""
        """The digest at the position of the view, once it is loaded."""

    def load(self) -> None:
        """Reads the digest; call it at the begin of each transaction."""
        row = self._connection.execute("SELECT digest FROM log_position WHERE sequence > 0").fetchone()
        if row is None:  # a new log, which may continue the store of an earlier one
            self._connection.execute("DELETE FROM log_digests")
            self._connection.execute("DELETE FROM log_skips")
            self._connection.execute("DELETE FROM settings WHERE name = 'log_voter_since'")
        self.value = bytes(row[0]) if row else bytes(_DIGEST_BYTES)

    def fold(self, entry: LogEntry, applied: Applied | None) -> None:
        """Adds a message and what came of it."""
        if entry.is_skipped:
            self._connection.execute("INSERT OR REPLACE INTO log_skips VALUES (?, 0)", (entry.sequence,))
        if isinstance(entry.note, DigestVote):
            self._note_vote(entry.note)
        elif isinstance(entry.note, SkipList):
            # Those that were skipped in time have a row.
            skipped = [(each,) for each in entry.note.sequences if each < entry.sequence]
            self._connection.executemany("INSERT OR IGNORE INTO log_skips VALUES (?, 1)", skipped)
            # They may come from views that had applied a message.
            self._connection.execute("DELETE FROM log_digests WHERE voter <> ?", (_OWN,))
        outcome = None if applied is None else (sorted(applied.tails.items()), _outcomes(applied.results))
        folded = repr((self.value, entry.sequence, entry.checksum, outcome))
        self.value = hashlib.blake2b(folded.encode(), digest_size=_DIGEST_BYTES).digest()
        if entry.sequence % BOUNDARY_MESSAGES == 0:
            self._keep(entry.sequence)

    def known_voter(self) -> str | None:
        """The id of this view in votes, which its copies do not have; None if it has none yet."""
        row = self._connection.execute("SELECT value FROM settings WHERE name = 'log_voter'").fetchone()
        return None if row is None else str(row[0])

    def voter(self) -> str:
        """The id of this view, a new one if it has none."""
        if (known := self.known_voter()) is not None:
            return known
        voter = secrets.token_hex(8)
        self._connection.execute(
            "INSERT INTO settings SELECT 'log_voter', ?"
            " UNION ALL SELECT 'log_voter_since', sequence FROM log_position WHERE sequence > 0",
            (voter,),
        )
        return voter

    def appoint(self, voter: str | None) -> None:
        """Has a repaired view vote at once, in place of the view before it if the id of that is known."""
        forget_voter(self._connection)
        self._connection.execute(
            "INSERT INTO settings VALUES ('log_voter', ?)", (voter or secrets.token_hex(8),)
        )

    def state(self, voter: str) -> DigestState:
        """Compares this view with the votes."""
        if self._connection.execute("SELECT 1 FROM log_position WHERE sequence > 0").fetchone() is None:
            return DigestState(None, [], None)  # what is there is of an earlier log
        rows = self._connection.execute("SELECT sequence, voter, digest FROM log_digests ORDER BY sequence")
        own: dict[int, bytes] = {}
        votes: dict[int, dict[str, bytes]] = {}
        for sequence, by, digest in rows:
            if by == _OWN:
                own[sequence] = digest
            else:
                votes.setdefault(sequence, {})[by] = digest
        if (divergence := self._was_applied()) is not None:  # known to differ from those that will remain
            return DigestState(divergence, [], None)
        newest = max(own, default=0)
        votes_after = self._votes_after(own, votes)
        divergence, decided_at = _outvoted(own, votes, voter)
        if divergence is not None:  # as all later digests of this view tell again
            newest = 0
        return DigestState(
            divergence,
            [
                DigestVote(sequence, digest, voter)
                for sequence, digest in own.items()
                if votes_after < sequence <= decided_at
                and set(votes.get(sequence, {}).values()) - {digest}
                and votes[sequence].get(voter) != digest
            ],
            DigestVote(newest, own[newest], voter) if newest > votes_after and newest not in votes else None,
        )

    def _votes_after(self, own: dict[int, bytes], votes: dict[int, dict[str, bytes]]) -> int:
        """The boundary behind which this view votes.

        A view that began as a copy votes behind the first boundary that it has passed without objection:
        otherwise a wrong view would gain a vote with each node that starts from its snapshot.
        """
        row = self._connection.execute("SELECT value FROM settings WHERE name = 'log_voter_since'").fetchone()
        if row is None:
            return 0
        first = -(-int(row[0]) // BOUNDARY_MESSAGES) * BOUNDARY_MESSAGES
        objections = set(votes.get(first, {}).values()) - {own.get(first)}
        return max(own, default=0) if objections else first

    def _note_vote(self, vote: DigestVote) -> None:
        """Records a vote on a digest that this view has kept."""
        self._connection.execute(
            "INSERT OR REPLACE INTO log_digests SELECT sequence, ?, ? FROM log_digests"
            " WHERE sequence = ? AND voter = ?",
            (vote.voter, vote.digest, vote.sequence, _OWN),
        )

    def _keep(self, sequence: int) -> None:
        """Keeps the digest at a boundary, and drops old ones on which all agree."""
        self._connection.execute(
            "INSERT OR REPLACE INTO log_digests VALUES (?, ?, ?)", (sequence, _OWN, self.value)
        )
        self._connection.execute(
            "DELETE FROM log_digests WHERE sequence <= ? AND sequence IN"
            " (SELECT sequence FROM log_digests GROUP BY sequence HAVING count(DISTINCT digest) = 1)",
            (sequence - _KEPT_BOUNDARIES * BOUNDARY_MESSAGES,),
        )
        self._connection.execute(
            "DELETE FROM log_digests WHERE sequence <= ?", (sequence - _MAX_BOUNDARIES * BOUNDARY_MESSAGES,)
        )

    def _was_applied(self) -> Divergence | None:
        row = self._connection.execute("SELECT min(sequence) FROM log_skips WHERE was_applied").fetchone()
        if row is None or row[0] is None:
            return None
        return Divergence(
            row[0] - 1, "the log skips this message, but this node had applied it: repair its view"
        )


def forget_voter(connection: apsw.Connection) -> None:
    """Removes the id of a view from a copy: two views with one id would count as one."""
    connection.execute("DELETE FROM settings WHERE name IN ('log_voter', 'log_voter_since')")


def _outvoted(
    own: dict[int, bytes], votes: dict[int, dict[str, bytes]], voter: str
) -> tuple[Divergence | None, int]:
    """The first boundary at which no majority has the digest of this view, or the last one."""
    equal_through = sequence = 0
    for sequence, digest in own.items():
        others = Counter(value for by, value in votes.get(sequence, {}).items() if by != voter)
        agreeing = 1 + others.pop(digest, 0)
        differing = max(others.values(), default=0)
        if differing >= agreeing:
            verdict = "this view is wrong" if differing > agreeing else "it is undecided which is wrong"
            cause = (
                f"the digests of the views at message {sequence} differ, {agreeing} to {differing} with this"
                f" one, so {verdict}"
            )
            return Divergence(equal_through, cause), sequence
        if sequence in votes and not others:  # no view has objected
            equal_through = sequence
    return None, sequence


def _outcomes(results: list[Result | RequestError]) -> list[object]:
    """What came of each operation, without what may differ between versions of the server."""
    outcomes: list[object] = []
    for result in results:
        match result:
            case RequestError():
                outcomes.append(result.reason)
            case ChunkCommitted() | UploadState():
                tally = result.tally
                counts = (tally.accepted, tally.duplicate, tally.rejected, tally.suppressed)
                outcomes.append((result.committed_through, counts))
            case ErasureState():
                outcomes.append(result.erased_events)
            case EntityList():
                outcomes.append(list(result.names))
            case int():
                outcomes.append(result)
            case _:  # the tails tell how many events a batch had stored
                outcomes.append(None)
    return outcomes
