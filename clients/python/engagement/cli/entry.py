"""The console script. It must not need click, so that it can say how to install the command line."""

from __future__ import annotations

import sys

from engagement.extras import explain_missing

# As ExitStatus.FAILED, which needs click.
_FAILED = 2


def main() -> int:
    """Runs the command line with the process's arguments and returns its exit status."""
    try:
        from engagement.cli.program import main as run  # noqa: PLC0415 - its libraries are an extra
    except ModuleNotFoundError as error:
        if (error.name or "engagement").startswith("engagement"):
            raise
        sys.stderr.write(f"engagement: {explain_missing('The command line', error, extra='cli')}\n")
        return _FAILED
    return run()
