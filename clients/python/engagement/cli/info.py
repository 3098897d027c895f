"""`engagement info`: shows the version, the partitions and the limits of a server."""

from __future__ import annotations

from collections.abc import Iterator

import click
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration

from engagement import v1
from engagement.cli.connection import connect
from engagement.cli.connection_options import server_option
from engagement.cli.expiry_texts import hold_text
from engagement.cli.failures import ExitStatus
from engagement.cli.moment import write_epoch_ms
from engagement.cli.printing import print_pairs
from engagement.client import EngagementClient

_EPILOG = """\b
Examples:
  engagement info
  engagement info --server engagement.example.com:50051 --json
"""


@click.command(epilog=_EPILOG)
@server_option
@click.option("--json", "as_json", is_flag=True, help="Print GetServerInfoResponse in proto-JSON.")
def info(server: str, *, as_json: bool) -> int:
    """Show the version and the limits of a server, and which partitions it serves."""
    with connect(server) as connection:
        answer = connection.call(EngagementClient.get_server_info)
    if as_json:
        click.echo(json_format.MessageToJson(answer, indent=None, always_print_fields_with_no_presence=True))
    else:
        print_pairs(_describe(answer))
    return ExitStatus.OK


def _describe(answer: v1.GetServerInfoResponse) -> Iterator[tuple[str, str]]:
    yield "version", answer.version
    yield "contract", answer.contract
    yield "log epoch", answer.log_epoch
    for partition in answer.partitions:
        name = f"partition {partition.number} of {answer.partition_count}"
        yield name, _freshness(partition)
        if partition.HasField("expiry_hold"):
            yield f"expiry of {name}", f"held: {hold_text(partition.expiry_hold)}"
    for field in answer.limits.DESCRIPTOR.fields:
        value = getattr(answer.limits, field.name)
        shown = f"{value.ToTimedelta()}" if isinstance(value, Duration) else f"{value:,}"
        yield field.name.replace("_", " "), shown


def _freshness(partition: v1.Partition) -> str:
    if partition.current:
        return "current"
    if not partition.HasField("view_time"):
        return "behind, still empty"
    return f"behind, as of {write_epoch_ms(partition.view_time.ToMilliseconds())}"
