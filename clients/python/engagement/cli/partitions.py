"""Prints what a server says of each of its partitions, and which it does not serve."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

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


def report_unreached(answer: v1.GetServerInfoResponse) -> None:
    """Says which partitions a call for all of them has not reached, because this node does not serve them."""
    served = {partition.number for partition in answer.partitions}
    missing = [number for number in range(answer.partition_count) if number not in served]
    if missing:
        click.echo(
            f"engagement: Not reached: partitions {_ranges(missing)} of {answer.partition_count}, which this"
            " node does not serve. Call a node of each.",
            err=True,
        )


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers, as in 0-3, 7."""
    texts = []
    for _, pairs in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        run = [number for _, number in pairs]
        texts.append(f"{run[0]}-{run[-1]}" if run[1:] else f"{run[0]}")
    return ", ".join(texts)
