"""Bulk uploads that resume, in bounded memory."""

from engagement.upload.client import UploadCall, UploadClient
from engagement.upload.ledger import (
    CountUnreadable,
    OnProgress,
    OnRejection,
    Progress,
    RejectedEvent,
    UploadSummary,
)
from engagement.upload.uploader import Uploader

__all__ = [
    "CountUnreadable",
    "OnProgress",
    "OnRejection",
    "Progress",
    "RejectedEvent",
    "UploadCall",
    "UploadClient",
    "UploadSummary",
    "Uploader",
]
