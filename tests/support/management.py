"""Requests to a management port, and what its metrics say."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Answer:
    """An answer over HTTP."""

    status: int
    headers: Mapping[str, str]
    text: str


def ask(address: str, path: str, *, method: str = "GET", **headers: str) -> Answer:
    """Sends a request to HOST:PORT; blocks until the answer is there. Names of headers are in lower case."""
    return _ask(http.client.HTTPConnection(address, timeout=_TIMEOUT_SECONDS), method, path, headers)


def ask_over_tls(address: str, path: str, context: ssl.SSLContext) -> Answer:
    """Sends a request over TLS."""
    connection = http.client.HTTPSConnection(address, timeout=_TIMEOUT_SECONDS, context=context)
    return _ask(connection, "GET", path, {})


def _ask(connection: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str]) -> Answer:
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, text)


Sample = tuple[str, tuple[tuple[str, str], ...]]
"""The name of a sample, and its labels."""


def samples(text: str) -> dict[Sample, float]:
    """The samples of an answer in Prometheus' text format."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def example_traces(text: str) -> dict[tuple[str, str], str]:
    """The traces that buckets in the OpenMetrics format name, by the series and the bound."""
    families = openmetrics_families(text)  # type: ignore[no-untyped-call]  # of the library
    return {
        (family.name, sample.labels["le"]): sample.exemplar.labels["trace_id"]
        for family in families
        for sample in family.samples
        if sample.exemplar is not None
    }


def value(found: Mapping[Sample, float], name: str, **labels: str) -> float:
    """The sum of the samples of a name with these labels, whatever others they have."""
    return sum(
        number
        for (each, has), number in found.items()
        if each == name and labels.items() <= dict(has).items()
    )
