"""The contract compiles in every language of protoc, and the programs of docs/other-languages.md run.

The programs belong to `make test-clients`. One is skipped if tools are missing, and they are named.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from engagement import v1
from tests.support.child_process import REPOSITORY
from tests.support.document import DOCUMENTED_ADDRESS, Block, read_blocks, run_blocks
from tests.support.server_process import ServerProcess
from tests.support.waiting import DEADLINE_SECONDS

PAGE = REPOSITORY / "docs/other-languages.md"
PLAIN = REPOSITORY / "protos/plain"
PROTOC = Path(sys.executable).parent / "protoc"

# Of each language whose commands are run: what it needs, and a command that fails without it.
TOOLS = {
    "C++": {
        "g++": "g++ --version",
        "pkg-config": "pkg-config --version",
        "libgrpc++-dev": "pkg-config --exists grpc++",
        "libprotobuf-dev": "pkg-config --exists protobuf",
        "protobuf-compiler-grpc": "command -v grpc_cpp_plugin",
    },
    "PHP": {"protobuf-compiler-grpc": "command -v grpc_php_plugin"},
    "Ruby": {"ruby-grpc": "ruby -r grpc -e ''", "ruby-grpc-tools": "command -v grpc_tools_ruby_protoc"},
}
CALLING = {"C++", "Ruby"}


def section(heading: str) -> list[Block]:
    """The blocks below a heading of the page; those above the first one if it is empty."""
    text = PAGE.read_text()
    starts = {
        match[1]: text.count("\n", 0, match.start()) + 1 for match in re.finditer("^## (.*)$", text, re.M)
    }
    first = starts[heading] if heading else 0
    last = min((line for line in starts.values() if line > first), default=sys.maxsize)
    return [block for block in read_blocks(PAGE) if first < int(block.place.rpartition(":")[2]) < last]


def missing_tools(language: str) -> list[str]:
    return [
        name
        for name, command in TOOLS[language].items()
        if subprocess.run(["sh", "-c", command], capture_output=True, check=False).returncode != 0
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which the page's commands are run."""
    folder = tmp_path / "reader"
    folder.mkdir()
    (folder / "protos").symlink_to(REPOSITORY / "protos")
    return folder


@pytest.mark.parametrize("language", ["cpp", "csharp", "java", "kotlin", "objc", "php", "ruby"])
def test_messages_are_generated_from_the_plain_protos_alone(language: str, tmp_path: Path) -> None:
    sources = sorted(PLAIN.rglob("*.proto"))
    subprocess.run([PROTOC, f"-I{PLAIN}", f"--{language}_out={tmp_path}", *sources], check=True)
    code = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    for module in (
        v1.attributes_pb2,
        v1.entity_service_pb2,
        v1.event_pb2,
        v1.event_service_pb2,
        v1.ingest_service_pb2,
        v1.privacy_service_pb2,
        v1.server_service_pb2,
    ):
        for name in module.DESCRIPTOR.message_types_by_name:
            assert name in code, name


@pytest.mark.toolchain
@pytest.mark.timeout(6 * DEADLINE_SECONDS)
@pytest.mark.parametrize("language", TOOLS)
def test_what_the_page_shows_of_a_language_is_what_happens(
    language: str, folder: Path, server_process: ServerProcess
) -> None:
    if missing := missing_tools(language):
        pytest.skip(f"{language} needs {', '.join(missing)}")
    blocks = section(language)
    programs = {
        folder / block.file: block.text.replace(DOCUMENTED_ADDRESS, server_process.address)
        for block in blocks
        if block.file is not None
    }
    for program, text in programs.items():
        program.write_text(text)
    run_blocks([*section(""), *blocks], folder=folder, address=server_process.address)
    assert len(programs) == (language in CALLING)
    for program, text in programs.items():
        program.write_text(text.replace("-400.99", "-400"))
        command, output = blocks[-2:]
        again = replace(command, marks=frozenset({"exit=1"}))
        conflict = replace(
            output, text="EVENT_ID_CONFLICT: an event with id 'visit-17/1' and other content …"
        )
        run_blocks([again, conflict], folder=folder, address=server_process.address)


@pytest.mark.timeout(3 * DEADLINE_SECONDS)
def test_what_the_page_shows_of_the_descriptor_set_is_what_happens(
    folder: Path, server_process: ServerProcess
) -> None:
    run_blocks(section("With the rules"), folder=folder, address=server_process.address)


def test_the_page_shows_what_protoc_says_without_the_rules(tmp_path: Path) -> None:
    done = subprocess.run(
        [PROTOC, f"-I{REPOSITORY / 'protos'}", f"--cpp_out={tmp_path}", "engagement/v1/event.proto"],
        cwd=REPOSITORY / "protos",
        capture_output=True,
        text=True,
        check=False,
    )
    assert section("")[0].text in done.stderr
