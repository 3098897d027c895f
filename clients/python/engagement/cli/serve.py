"""`engagement serve`: runs the server, which is an extra of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from engagement.cli.failures import CommandError, ExitStatus

_EPILOG = """\b
Examples:
  engagement serve
  engagement serve --listen 0.0.0.0:50051 --data /var/lib/engagement
  engagement serve --workers 4
  engagement serve --log nats://a:4222,nats://b:4222,nats://c:4222
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
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    metavar="COUNT",
    default=1,
    envvar="ENGAGEMENT_WORKERS",
    show_default=True,
    show_envvar=True,
    help="Processes that take calls on the port, each with about a core to itself; one more writes for all. "
    "1: a single process does both.",
)
@click.option(
    "--log",
    metavar="URLS",
    default="",
    envvar="ENGAGEMENT_LOG",
    show_envvar=True,
    help="Servers of a replicated log, as nats://[USER:PASSWORD@]HOST:PORT,… or tls://… "
    "Without it the folder is all that there is, on this machine.",
)
@click.option(
    "--log-name",
    metavar="NAME",
    default="engagement",
    envvar="ENGAGEMENT_LOG_NAME",
    show_default=True,
    show_envvar=True,
    help="What the streams of the log are called; servers with the same name are one service.",
)
@click.option(
    "--log-replicas",
    type=click.IntRange(1, 5),
    metavar="COUNT",
    default=3,
    envvar="ENGAGEMENT_LOG_REPLICAS",
    show_default=True,
    show_envvar=True,
    help="Servers of the log that keep each commit.",
)
@click.option(
    "--log-days",
    type=click.FloatRange(min=0, min_open=True),
    metavar="DAYS",
    default=7,
    envvar="ENGAGEMENT_LOG_DAYS",
    show_default=True,
    show_envvar=True,
    help="How long the log keeps commits. What is erased stays in it for this long.",
)
@click.option(
    "--log-credentials",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="ENGAGEMENT_LOG_CREDENTIALS",
    show_envvar=True,
    help="File with a user's token and key for the log (.creds).",
)
@click.option(
    "--log-tls-ca",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="ENGAGEMENT_LOG_TLS_CA",
    show_envvar=True,
    help="Certificates (PEM) that the log's servers are trusted by, instead of the system's.",
)
@click.option(
    "--log-tls-cert",
    "log_tls_certificate",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="ENGAGEMENT_LOG_TLS_CERT",
    show_envvar=True,
    help="Certificate (PEM) that this server shows to the log.",
)
@click.option(
    "--log-tls-key",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="ENGAGEMENT_LOG_TLS_KEY",
    show_envvar=True,
    help="Key of that certificate.",
)
@click.option(
    "--partitions",
    metavar="COUNT|LIST/COUNT",
    default="1",
    envvar="ENGAGEMENT_PARTITIONS",
    show_default=True,
    show_envvar=True,
    help="How many partitions the accounts are spread over, or which of them are served here: 0-3,7/8. "
    "The count can never be changed.",
)
@click.option(
    "--snapshot-hours",
    type=click.FloatRange(min=0, min_open=True),
    metavar="HOURS",
    default=6,
    envvar="ENGAGEMENT_SNAPSHOT_HOURS",
    show_default=True,
    show_envvar=True,
    help="How often one of the servers puts a snapshot into the log, for servers that begin.",
)
@click.option(
    "--metrics",
    metavar="HOST:PORT",
    default="",
    envvar="ENGAGEMENT_METRICS",
    show_envvar=True,
    help="Where to answer GET /metrics with what is measured of the log, for Prometheus.",
)
def serve(**settings: Any) -> int:  # Any: each option has its own type
    """Run the server until it is stopped with Ctrl-C or SIGTERM.

    A stopping server finishes what it has begun: all that was acknowledged is
    on disk, and running uploads are told to come back.
    """
    try:
        from engagement_server.app import serve as run_server  # noqa: PLC0415 - the server is an extra
        from engagement_server.config import Config  # noqa: PLC0415
        from engagement_server.errors import ConfigurationError, LogError  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise CommandError(
            f"The server is not installed ({error.name} is missing). "
            "Install it with: pip install 'engagement-attributes[server]'"
        ) from error
    try:
        run_server(Config(**settings))
    except (ConfigurationError, LogError) as error:
        raise CommandError(str(error)) from error
    return ExitStatus.OK
