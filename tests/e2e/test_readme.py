"""Everything that the documents show is run, and does what they say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from engagement import v1
from tests.e2e.document import read_blocks, relative_links, run_blocks
from tests.server_process import ServerProcess

REPOSITORY = Path(__file__).parents[2]
TESTED_DOCUMENTS = ("README.md", "docs/grpcurl.md", "docs/import.md", "docs/operations.md")
DOCUMENTS = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")]
)
# `make` builds environments and runs these tests: what it does is run by those who run them.
NEVER_RUN = re.compile(r"(make|\.venv/bin/python protos/contract\.py) .*")


@pytest.mark.parametrize("name", TESTED_DOCUMENTS)
def test_what_a_document_shows_is_what_happens(
    name: str, server_process: ServerProcess, tmp_path: Path
) -> None:
    shutil.copytree(REPOSITORY / "docs/examples", tmp_path / "docs/examples")
    run_blocks(read_blocks(REPOSITORY / name), folder=tmp_path, address=server_process.address)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_only_make_and_releases_are_not_run(name: str) -> None:
    for block in read_blocks(REPOSITORY / name):
        if block.language in ("sh", "python") and not (block.is_run and name in TESTED_DOCUMENTS):
            lines = [line for line in block.text.splitlines() if line]
            assert all(NEVER_RUN.fullmatch(line) for line in lines), block.place


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    document = REPOSITORY / name
    for target in relative_links(document):
        path, _, anchor = target.partition("#")
        linked = document.parent / path if path else document
        assert linked.exists(), f"{name} links to {target}"
        assert not anchor or f"#{anchor}" in anchors(linked), f"{name} links to {target}"


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_there_is_a_recipe_for_every_call() -> None:
    recipes = "".join(block.text for block in read_blocks(REPOSITORY / "docs/grpcurl.md") if block.is_run)
    for module in (v1.ingest_service_pb2, v1.event_service_pb2, v1.server_service_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                assert f" {service.full_name}/{method.name}" in recipes
