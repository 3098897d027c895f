"""Reads the exports of LivePerson's platform, and events pushed by pages, as events of the contract."""

from engagement.liveperson.detection import looks_like_import
from engagement.liveperson.errors import CorruptInputError
from engagement.liveperson.importer import ImportCounts, ImportedEvent, Importer, UnreadableEvent

__all__ = [
    "CorruptInputError",
    "ImportCounts",
    "ImportedEvent",
    "Importer",
    "UnreadableEvent",
    "looks_like_import",
]
