"""Writes the test vectors that the clients of all languages run: `python -m clients.vectors.make`.

Wire bytes come from Google's own protobuf library for Python; the expectations are in `cases`.
"""

from __future__ import annotations

import json
from pathlib import Path

from clients.vectors.cases import (
    access,
    calls,
    follow,
    messages,
    resumed_upload,
    rules,
    source_digest,
    statuses,
    targets,
    upload,
    upload_limits,
)


def files() -> dict[str, str]:
    """The text of each file, by file name."""
    vectors = {
        "events.json": messages.events(),
        "texts.json": messages.texts(),
        "rules.json": rules.cases(),
        "errors.json": statuses.cases(),
        "sources.json": source_digest.cases(),
        "targets.json": targets.cases(),
        "conversations.json": [
            *calls.cases(),
            *follow.cases(),
            *upload.cases(),
            *upload_limits.cases(),
            *resumed_upload.cases(),
            *access.cases(),
        ],
    }
    return {name: json.dumps({"cases": cases}, indent=1) + "\n" for name, cases in vectors.items()}


def main() -> None:
    """Writes every file."""
    for name, text in files().items():
        (Path(__file__).parent / name).write_text(text)


if __name__ == "__main__":
    main()
