"""Identifies the source of an upload, as the contract's `SourceDigest` defines it."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from engagement import v1
from engagement.errors import SourceMismatchError

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_PENDING_FORMS = 1024


def canonical_form(event: v1.Event, serialized: bytes) -> bytes:
    """The canonical form of an event whose deterministic serialization is given."""
    if len(event.additional_attributes) < 2:
        return serialized
    # The library sorts entries too, but puts a key after those that it is the beginning of.
    attributes = event.additional_attributes
    entries = v1.Event(additional_attributes=attributes).SerializeToString(deterministic=True)
    ordered = b"".join(
        v1.Event(additional_attributes={key: attributes[key]}).SerializeToString()
        for key in sorted(attributes, key=str.encode)
    )
    if entries == ordered:
        return serialized
    # Only unknown fields come after the entries.
    head, _, unknown = serialized.rpartition(entries)
    return head + ordered + unknown


class SourceDigester:
    """Digests the events of a source, in order, and compares them with an earlier run's."""

    def __init__(
        self,
        upload_id: str,
        salt: str,
        *,
        committed: v1.SourceDigest | None = None,
        earlier: Iterable[v1.SourceDigest] = (),
    ) -> None:
        """`committed` is the beginning of the source that an earlier run has committed, if there is one.

        `earlier` are digests of shorter beginnings, which tell where another source begins to differ.
        """
        self._upload_id = upload_id
        self._hash = sha256(salt.encode())
        self._pending: list[bytes] = []
        self._events = 0
        self._known: dict[int, str] = {}
        self.committed_events = 0
        """Number of events that the source must have in common with the earlier run."""
        if committed is not None:
            self.committed_events = committed.events
            self._known = {each.events: each.sha256 for each in (*earlier, committed)}
        self._same_events = 0

    @property
    def has_passed(self) -> bool:
        """Whether all committed events have been read."""
        return self._events >= self.committed_events

    def add(self, form: bytes) -> None:
        """Adds the canonical form of the next event. Raises SourceMismatchError."""
        self._pending += (len(form).to_bytes(4, "big"), form)
        self._events += 1
        if len(self._pending) > _MAX_PENDING_FORMS:
            self._flush()
        expected = self._known.get(self._events)
        if expected is None:
            return
        if self.digest().sha256 != expected:
            raise self._mismatch(f"differs between events {self._same_events} and {self._events}")
        self._same_events = self._events

    def digest(self) -> v1.SourceDigest:
        """The digest of the events so far."""
        self._flush()
        return v1.SourceDigest(events=self._events, sha256=self._hash.copy().hexdigest())

    def end(self, *, is_finished: bool) -> None:
        """Checks a source that has ended. Raises SourceMismatchError."""
        if not self.has_passed:
            raise self._mismatch(f"ends after {self._events} events")
        if is_finished and self._events > self.committed_events:
            raise self._mismatch("has more events")

    def _flush(self) -> None:
        self._hash.update(b"".join(self._pending))
        self._pending.clear()

    def _mismatch(self, difference: str) -> SourceMismatchError:
        return SourceMismatchError(
            f"upload {self._upload_id!r} began with another source: {self.committed_events} of its events are"
            f" committed, and this source {difference}. Use an upload id of its own for each source. If this"
            " should be the same source, see whether ids, times or the order of events change from run to run"
        )
