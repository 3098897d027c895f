"""The kinds of audit lines. Who configures the server needs nothing else of them."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """The kinds of lines. Each has files of its own, so that many of one push out none of another."""

    ERASURES = "erasures"
    """Erasures, and lifted suppressions."""
    READS = "reads"
    """Single unmasked reads about persons."""
    EXPORTS = "exports"
    """Unmasked lists, exports and subscriptions."""
    MASKED_READS = "masked-reads"
    """Both of these, where the caller sees them masked."""
    CHANGES = "changes"
    """Changes of the retention and of entities."""
    ACCESS = "access"
    """The server's starts, and changes of its grants, tokens and keys."""
    DENIALS = "denials"
    """Calls that were refused because of who made them, or because a quota was used up."""
