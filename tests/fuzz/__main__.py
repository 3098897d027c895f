"""Fuzzes one target with atheris, guided by coverage: `python -m tests.fuzz TARGET [options of libFuzzer]`.

It needs `pip install -e '.[fuzz]'`. What it finds worth keeping it writes to a folder, with which a later run
begins. An input that fails is written to the folder as well.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["engagement", "engagement_server", "joserfc"]):
    from tests.fuzz.targets import TARGETS

_CORPORA = Path(".fuzz")
_MAX_BYTES = 4096


def main() -> None:
    """Runs until it is ended, or as long as the options say, such as `-runs=100000`."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"name one of {', '.join(TARGETS)}")
    name, *options = sys.argv[1:]
    target = TARGETS[name]
    corpus = _CORPORA / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    limits = (f"-max_len={_MAX_BYTES}", f"-artifact_prefix={corpus}-")
    atheris.Setup([sys.argv[0], *limits, *options, str(corpus)], target.read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
