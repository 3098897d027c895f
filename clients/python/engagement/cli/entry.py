"""The console script. It must not need click, so that it can say how to install the command line."""

from __future__ import annotations

import io
import os
import sys

from engagement.cli import interrupts
from engagement.extras import explain_missing

# As in ExitStatus, which needs click.
_FAILED = 2


def main() -> int:
    """Runs the command line with the process's arguments and returns its exit status."""
    interrupts.obey()
    # Before anything loads gRPC, which else writes lines of its own to standard error beside our errors.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    _open_closed()
    _prepare_output()
    try:
        from engagement.cli.program import main as run  # noqa: PLC0415 - its libraries are an extra
    except ModuleNotFoundError as error:
        if (error.name or "engagement").startswith("engagement"):
            raise
        sys.stderr.write(f"engagement: {explain_missing('The command line', error, extra='cli')}\n")
        return _FAILED
    return run()


def _open_closed() -> None:
    """Opens standard streams that the caller has closed, as in `>&-`: nothing is read, output is discarded.

    Otherwise the next file or connection would get the number of the stream.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            stream = open(number, "r" if name == "stdin" else "w", closefd=False)  # noqa: SIM115 - stays open
            setattr(sys, name, stream)


def _prepare_output() -> None:
    """Lets any text be written: programs and files get UTF-8, terminals escapes for what they cannot show."""
    for stream in (sys.stdout, sys.stderr):
        # There may be no stream, or a test's.
        if isinstance(stream, io.TextIOWrapper):
            is_data = stream is sys.stdout and not stream.isatty()
            stream.reconfigure(encoding="utf-8" if is_data else None, errors="backslashreplace")
