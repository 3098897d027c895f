"""`engagement serve`: runs the server, which is an extra of the package."""

from __future__ import annotations

from pathlib import Path

import click

from engagement.cli.failures import CommandError, ExitStatus

_EPILOG = """\b
Examples:
  engagement serve
  engagement serve --listen 0.0.0.0:50051 --data /var/lib/engagement
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:50051",
    envvar="ENGAGEMENT_LISTEN",
    show_default=True,
    show_envvar=True,
    help="Address to listen on. The default takes calls from this machine only; port 0 picks a free one.",
)
@click.option(
    "--data",
    "data_dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    default="data",
    envvar="ENGAGEMENT_DATA",
    show_default=True,
    show_envvar=True,
    help="Folder that holds everything the server stores. Made where it does not exist.",
)
@click.option(
    "--retention-days",
    type=click.FloatRange(min=0, min_open=True),
    metavar="DAYS",
    default=396,
    envvar="ENGAGEMENT_RETENTION_DAYS",
    show_default=True,
    show_envvar=True,
    help="Remove events this long after their acceptance.",
)
def serve(listen: str, *, data_dir: Path, retention_days: float) -> int:
    """Run the server until it is stopped with Ctrl-C or SIGTERM.

    A stopping server finishes what it has begun: all that was acknowledged is
    on disk, and running uploads are told to come back.
    """
    try:
        from engagement_server.app import serve as run_server  # noqa: PLC0415 - the server is an extra
        from engagement_server.config import Config  # noqa: PLC0415
        from engagement_server.errors import ConfigurationError  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise CommandError(
            f"The server is not installed ({error.name} is missing). "
            "Install it with: pip install 'engagement-attributes[server]'"
        ) from error
    try:
        run_server(Config(listen=listen, data_dir=data_dir, retention_days=retention_days))
    except ConfigurationError as error:
        raise CommandError(str(error)) from error
    return ExitStatus.OK
