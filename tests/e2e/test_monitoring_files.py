"""Dashboard and alerts are well formed, and name series and labels that a server shows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import promql_parser as promql
import pytest

from engagement_server.metrics.catalogue import ACCESS_RELOAD_FAILED, CATALOGUE, REJECTIONS
from tests.support.alerts import EXPRESSIONS, Rule, rules
from tests.support.child_process import REPOSITORY
from tests.support.events import bad_event
from tests.support.management import Sample, ask, samples
from tests.support.nats_cluster import NatsCluster
from tests.support.panels import DASHBOARD, panels
from tests.support.promql import grouping_labels, scraped, selectors
from tests.support.refused_call import expect_refused
from tests.support.server_process import ServerProcess
from tests.support.tls_files import TlsFiles

_TARGET = {"job", "instance"}
_GROWING = re.compile(r".*_(total|bucket|count|sum)")
_ENDING = re.compile(r"_(total|bucket|count|sum)$")
_RULE_KEYS = {"alert", "expr", "for", "labels", "annotations"}
USED = [*EXPRESSIONS.items(), *((panel.title, each) for panel in panels() for each in panel.expressions)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """The certificate of the server."""
    return TlsFiles(tmp_path_factory.mktemp("tls") / "secret")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, files: TlsFiles) -> Iterator[ServerProcess]:
    """A server over a replicated log, with TLS, that has not taken any call."""
    folder = tmp_path_factory.mktemp("server")
    with ExitStack() as ending:
        log = ending.enter_context(NatsCluster(folder / "nats", size=1))
        yield ending.enter_context(
            ServerProcess(
                folder / "data",
                environment={"ENGAGEMENT_HTTP": "127.0.0.1:0"},
                options=("--log", log.url, "--log-replicas", "1", *files.options),
            ).start()
        )


@pytest.fixture(scope="module")
def shown(first: ServerProcess) -> Mapping[Sample, float]:
    """What it shows at the first scrape."""
    return samples(ask(first.http_address, "/metrics").text)


def test_all_series_are_there_at_the_first_scrape(shown: Mapping[Sample, float]) -> None:
    names = {_ENDING.sub("", name) for name, _ in shown if name.startswith(("engagement_", "grpc_"))}
    names |= {name for name, _ in shown}
    missing = {name for name in CATALOGUE if name not in names}
    # Rules are known once one is broken, and files of access are there if callers are asked.
    assert missing == {REJECTIONS.name, ACCESS_RELOAD_FAILED.name}


async def test_expressions_name_series_and_labels_that_are_there(
    first: ServerProcess, files: TlsFiles
) -> None:
    async with files.connect(first.address) as connection:
        await expect_refused(connection.record(bad_event()))
    scrape = scraped({"here": samples(ask(first.http_address, "/metrics").text)}, seconds=0.0)
    for title, expression in USED:
        labels = set(_TARGET)
        for selector in selectors(expression):
            read = [dict(each) for each in scrape.samples if selector.takes(each)]
            assert read, f"{title}: there is no {selector.name} with these labels"
            assert all(matcher.name in read[0] for matcher in selector.matchers), title
            labels.update(*read)
        assert grouping_labels(expression) <= labels, title


def test_what_grows_is_shown_by_its_rate_and_nothing_else_is() -> None:
    for title, expression in USED:
        ranges: list[str] = []
        reads: list[str] = []

        def note(node: promql.Expr, ranges: list[str] = ranges, reads: list[str] = reads) -> None:
            if isinstance(node, promql.MatrixSelector):
                ranges.append(str(node.vector_selector.name))
            if isinstance(node, promql.VectorSelector):  # that of a range, too
                reads.append(str(node.name))

        promql.walk(promql.parse(expression), note)
        assert sorted(ranges) == sorted(name for name in reads if _GROWING.fullmatch(name)), title


def test_each_panel_has_a_unit_and_says_what_it_shows() -> None:
    titles = [panel.title for panel in panels()]
    assert len(set(titles)) == len(titles) > 30
    for panel in panels():
        assert panel.description.endswith("."), panel.title
        assert panel.unit, panel.title
        assert panel.expressions, panel.title
        assert set(panel.datasources) == {"${datasource}"}, panel.title
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert [each["name"] for each in DASHBOARD["templating"]["list"]] == ["datasource", "instance"]


def test_no_panel_covers_another_one() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        left, top, width, height = panel.place
        fields = {(x, y) for x in range(left, left + width) for y in range(top, top + height)}
        assert left + width <= 24, panel.title
        assert taken.isdisjoint(fields), panel.title
        taken |= fields


@pytest.mark.parametrize("rule", rules(), ids=[rule["alert"] for rule in rules()])
def test_an_alert_is_a_rule_of_prometheus_with_a_summary_and_a_runbook(rule: Rule) -> None:
    assert rule.keys() <= _RULE_KEYS
    assert rule.keys() >= _RULE_KEYS - {"for"}
    assert re.fullmatch(r"Engagement[A-Za-z]+", rule["alert"])
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    if "for" in rule:
        assert promql.parse_duration(rule["for"]).total_seconds() >= 60
    assert isinstance(promql.parse(rule["expr"]), promql.BinaryExpr), "it fires while the comparison holds"
    annotations = rule["annotations"]
    assert annotations.keys() == {"summary", "runbook"}
    assert annotations["summary"].endswith(".")
    document, _, section = annotations["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (REPOSITORY / document).read_text(), re.MULTILINE)
    assert section in {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("rule", rules(), ids=[rule["alert"] for rule in rules()])
def test_a_summary_names_labels_that_the_alert_has(rule: Rule, shown: Mapping[Sample, float]) -> None:
    named = set(re.findall(r"{{ \$labels\.(\w+) }}", rule["annotations"]["summary"]))
    assert rule["annotations"]["summary"].count("{{") == len(named)
    kept = grouping_labels(rule["expr"]) - {"le"}
    if " by " not in rule["expr"]:
        scrape = scraped({"here": shown}, seconds=0.0)
        selector = selectors(rule["expr"])[0]
        kept = next({name for name, _ in each} for each in scrape.samples if selector.takes(each))
    assert named <= kept
