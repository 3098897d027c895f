"""The documents' examples are run, and do what the documents say."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engagement import v1
from tests.support.child_process import REPOSITORY
from tests.support.document import DOCUMENTED_ADDRESS, Block, read_blocks, relative_links, run_blocks
from tests.support.server_process import ServerProcess
from tests.support.waiting import DEADLINE_SECONDS

CLIENTS = sorted(path.parent for path in REPOSITORY.glob("clients/*/Makefile"))
# tests/e2e/test_client_readmes.py follows them in empty folders.
CLIENT_DOCUMENTS = [f"clients/{name}/README.md" for name in ("python", *(each.name for each in CLIENTS))]
DOCUMENTS = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "clients/*.md", "clients/vectors/*.md")
    for path in REPOSITORY.glob(pattern)
)
# It consists of `make bench`, which takes minutes on a quiet machine.
MEASURING_DOCUMENT = "docs/benchmarks.md"
# Run in tests/contract, with `make test-clients`, as far as their tools are there.
DOCUMENTS_OF_TOOLS = {"docs/other-languages.md", "docs/tools.md"}
RUNNABLE_DOCUMENTS = [name for name in DOCUMENTS if name not in {MEASURING_DOCUMENT, *DOCUMENTS_OF_TOOLS}]
FIRST_DOCUMENT = "README.md"
# What its programs print the second time, as its text says; everything else stays as it is shown.
REPEATED: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"\bOUTCOME_ACCEPTED\b", lambda _: "OUTCOME_DUPLICATE"),
    (
        r"(\d+) accepted, (\d+) duplicate",
        lambda found: f"0 accepted, {int(found[1]) + int(found[2])} duplicate",
    ),
    (r'\{\n  "ack": \{\n(?:    .*\n)*  \}\n\}\n', lambda _: ""),
)
# Commands that build environments, run these tests or release a contract.
NEVER_RUN = re.compile(r"make .*|\.venv/bin/python protos/contract\.py release")


@pytest.mark.timeout(6 * DEADLINE_SECONDS)
@pytest.mark.parametrize("name", sorted({*RUNNABLE_DOCUMENTS} - {FIRST_DOCUMENT}))
def test_what_a_document_shows_is_what_happens(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    blocks = read_blocks(REPOSITORY / name)
    if any(block.is_run for block in blocks):
        server: ServerProcess = request.getfixturevalue("server_process")
        copy_files(tmp_path)
        run_blocks(blocks, folder=tmp_path, address=server.address)


def copy_files(folder: Path) -> None:
    """Copies the files that documents name."""
    for name in ("docs/examples", "deploy"):
        shutil.copytree(REPOSITORY / name, folder / name)


@pytest.mark.timeout(12 * DEADLINE_SECONDS)
def test_the_first_document_may_be_followed_twice(server_process: ServerProcess, tmp_path: Path) -> None:
    blocks = read_blocks(REPOSITORY / FIRST_DOCUMENT)
    copy_files(tmp_path)
    first = run_blocks(blocks, folder=tmp_path, address=server_process.address)
    again = run_blocks([*map(repeated, blocks)], folder=tmp_path, address=server_process.address)
    assert cursor_in(first[0]) == cursor_in(again[0])


def repeated(block: Block) -> Block:
    """The block as it is the second time."""
    text = block.text
    if block.is_output:
        for pattern, replacement in REPEATED:
            text = re.sub(pattern, replacement, text)
    return replace(block, text=text)


def cursor_in(printed: str) -> str:
    """The one cursor in an output."""
    (cursor,) = re.findall(r'"cursor": "([^"]+)"', printed)
    return str(cursor)


@pytest.mark.parametrize("name", RUNNABLE_DOCUMENTS)
def test_only_make_and_releases_are_not_run(name: str) -> None:
    for block in read_blocks(REPOSITORY / name):
        if block.is_program and not block.is_run:
            assert all(NEVER_RUN.fullmatch(line) for line in block.text.splitlines()), block.place


@pytest.mark.parametrize("name", [*DOCUMENTS, *CLIENT_DOCUMENTS])
def test_links_lead_somewhere(name: str) -> None:
    document = REPOSITORY / name
    for target in relative_links(document):
        path, _, anchor = target.partition("#")
        linked = document.parent / path if path else document
        assert linked.exists(), f"{name} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{name} links to {target}"


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("before_method", [f"{DOCUMENTED_ADDRESS} ", f"http://{DOCUMENTED_ADDRESS}/"])
def test_there_is_a_recipe_for_every_call_with_both_tools(before_method: str) -> None:
    recipes = "".join(block.text for block in read_blocks(REPOSITORY / "docs/grpcurl.md") if block.is_run)
    for module in (
        v1.ingest_service_pb2,
        v1.event_service_pb2,
        v1.entity_service_pb2,
        v1.privacy_service_pb2,
        v1.server_service_pb2,
    ):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                recipe = rf"{re.escape(before_method)}{service.full_name}/{method.name}\b"
                assert re.search(recipe, recipes), method.full_name


def test_both_pages_show_the_same_python_example() -> None:
    (example,) = (block for block in read_blocks(REPOSITORY / "README.md") if block.language == "python")
    own = read_blocks(REPOSITORY / "clients/python/README.md")
    assert [block.text for block in own if block.file] == [example.text]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_what_is_shown_of_other_languages_is_in_their_examples(client: Path) -> None:
    (example,) = (
        path
        for path in (client / "examples").rglob("*")
        if path.suffix in {".go", ".ts", ".java", ".rs"} and path.stem in {"main", "quickstart", "Quickstart"}
    )
    (shown,) = (
        block
        for block in read_blocks(REPOSITORY / "README.md")
        if block.language == {".rs": "rust"}.get(example.suffix, example.suffix[1:])
    )
    lines = {line.strip() for line in example.read_text().splitlines()}
    assert {line.strip() for line in shown.text.splitlines()} <= lines
    own = read_blocks(client / "README.md")
    assert example.read_text() in {block.text for block in own}, "its README shows another program"


def test_decision_records_are_short_complete_and_listed() -> None:
    folder = REPOSITORY / "docs/decisions"
    overview = (folder / "README.md").read_text()
    for record in sorted(folder.glob("[0-9]*.md")):
        text = record.read_text()
        assert text.count("\n") < 40, record.name
        sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert sections == ["Context", "Decision", "Consequences", "Numbers"], record.name
        title = text.splitlines()[0].removeprefix(f"# {record.name[:4]} ")
        assert f"| [{record.name[:4]}]({record.name}) | {title} |" in overview, record.name
