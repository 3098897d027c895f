"""The console script. It must not need click, so that it can say how to install the command line."""

from __future__ import annotations

import io
import sys

from engagement.extras import explain_missing

# As in ExitStatus, which needs click.
_FAILED = 2
_INTERRUPTED = 130


def main() -> int:
    """Runs the command line with the process's arguments and returns its exit status."""
    _prepare_output()
    try:
        from engagement.cli.program import main as run  # noqa: PLC0415 - its libraries are an extra
    except ModuleNotFoundError as error:
        if (error.name or "engagement").startswith("engagement"):
            raise
        sys.stderr.write(f"engagement: {explain_missing('The command line', error, extra='cli')}\n")
        return _FAILED
    except KeyboardInterrupt:
        sys.stderr.write("\nengagement: Interrupted.\n")
        return _INTERRUPTED
    return run()


def _prepare_output() -> None:
    """Lets any text be written: programs and files get UTF-8, terminals escapes for what they cannot show."""
    for stream in (sys.stdout, sys.stderr):
        # There may be no stream, or a test's.
        if isinstance(stream, io.TextIOWrapper):
            is_data = stream is sys.stdout and not stream.isatty()
            stream.reconfigure(encoding="utf-8" if is_data else None, errors="backslashreplace")
