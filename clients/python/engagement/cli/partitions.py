"""Prints what a server says of each of its partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from google.protobuf import json_format

from engagement import v1
from engagement.cli.printing import print_pairs

Describe = Callable[[v1.Partition], Iterable[tuple[str, str]]]


def print_partitions(answer: v1.GetServerInfoResponse, describe: Describe, *, as_json: bool) -> None:
    """Prints names and values of each partition, or its proto-JSON on a line."""
    for partition in answer.partitions:
        if as_json:
            click.echo(json_format.MessageToJson(partition, indent=None))
            continue
        number = f"{partition.number} of {answer.partition_count}"
        pairs = [("partition", number)] if answer.partition_count > 1 else []
        print_pairs([*pairs, *describe(partition)])
