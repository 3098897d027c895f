"""Files that people import: of any format, whole or damaged."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from engagement.cli.input_events import Format, InputEvents
from engagement.cli.input_file import InputFile
from engagement.cli.outcomes import FoundEvent

_EXAMPLES: Final = Path(__file__).parents[2] / "docs" / "examples"
_MAX_SEED_BYTES: Final = 8 * 1024
FILES: Final = [
    *(b'{"customerInfo":{"balance":"1"}}\n', b'[{"eventId":"a","personalInfo":{"name":"x"}}]'),
    *(
        path.read_bytes()[:_MAX_SEED_BYTES]
        for path in sorted(_EXAMPLES.iterdir())
        if path.is_file() and path.suffix != ".md"
    ),
    b"eventId,balance\na,1\n",
]


def read_import(data: bytes) -> None:
    """Each format reads what it can, tells what it cannot, and gives every event an id."""
    with tempfile.TemporaryFile(buffering=0) as raw:
        raw.write(data)
        for chosen in (Format.AUTO, Format.EVENTS, Format.LIVEPERSON, Format.TABLE):
            raw.seek(0)
            events = InputEvents(InputFile(raw, name="input"), format=chosen, source="s")
            for found in events:
                assert not isinstance(found, FoundEvent) or found.event.event_id
