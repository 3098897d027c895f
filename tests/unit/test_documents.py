"""What documents name is there: paths, modules, options, tasks of make, and documents that the code names."""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import click
import pytest

from engagement.cli.program import program
from tests.support.document import inline_code

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "clients/*.md", "clients/*/README.md")
    for path in REPOSITORY.glob(pattern)
)
FOLDERS_OF_CODE = ("server", "clients/python", "clients/vectors", "tests", "benchmarks", "deploy", "protos")
CODE = [
    path
    for folder in FOLDERS_OF_CODE
    for path in (REPOSITORY / folder).rglob("*")
    if path.suffix in {".py", ".sql", ".proto", ".yaml", ".conf"}
]
# Paths may begin here, so that a page on the server need not repeat its folder.
ROOTS = ("", "server/engagement_server", "clients/python/engagement", "deploy")
SUFFIXES = "conf|go|java|json|md|proto|py|rs|sh|sql|toml|ts|yaml"
PATH = re.compile(rf"\.?[\w-]+/|(?:\.?[\w-]+/)*\.?[\w-]+\.(?:{SUFFIXES})|(?:\.?[\w-]+/)+[\w.-]+/?")
# Named to say that they are not here.
ABSENT = {
    "setup.py": "0011: there is none",
    "validate.proto": "0001: protovalidate brings it",
    "buf/validate": "0001: below clients/python",
    "engagement/v1": "0001: below clients/python",
    "partition/0": "a name that health knows",
    "sbom.cdx.json": "`make sbom` writes it",
}
MODULE = re.compile(r"(engagement(?:_server)?(?:\.\w+)+)(?:\(.*\))?")
ATTRIBUTES_OF_SPANS = {
    f"engagement.{name}" for name in ("account_id", "error.reason", "log.sequence", "process")
}
NOT_MODULES = {"engagement.v2", "engagement.db", "engagement_server.calls", *ATTRIBUTES_OF_SPANS}
COMMANDS_OF_NATS = {"nats stream rm", "server report jetstream"}
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
# Programs of others, named with their options in pages of clients in other languages.
DOCUMENTS_WITHOUT_OPTIONS = tuple(f"clients/{name}/" for name in ("go", "java", "rust", "typescript"))


def options_of(command: click.Command) -> Iterator[str]:
    """Every option of a command and of those below it."""
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    if isinstance(command, click.Group):
        for name in command.list_commands(context := click.Context(command)):
            below = command.get_command(context, name)
            assert below is not None
            yield from options_of(below)


def options_of_benchmarks() -> set[str]:
    text = "".join(path.read_text() for path in (REPOSITORY / "benchmarks").glob("*.py"))
    return set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', text))


def is_there(path: str, document: str) -> bool:
    """Whether a path leads somewhere from the document or from a root."""
    folder = REPOSITORY / document
    return any((root / path).exists() for root in (folder.parent, *(REPOSITORY / root for root in ROOTS)))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_lead_somewhere(document: str) -> None:
    saved_by_readers = re.findall(r"^```.* file=(\S+)", (REPOSITORY / document).read_text(), re.MULTILINE)
    absent = {*ABSENT, *saved_by_readers}
    named = [code for code in inline_code(REPOSITORY / document) if PATH.fullmatch(code)]
    assert [path for path in named if path not in absent and not is_there(path, document)] == []


def test_modules_can_be_imported() -> None:
    for document in DOCUMENTS:
        for code in inline_code(REPOSITORY / document):
            if (named := MODULE.fullmatch(code)) is not None and named[1] not in NOT_MODULES:
                resolve_name(named[1])


def test_options_are_those_of_our_programs() -> None:
    known = {*options_of(program), *options_of_benchmarks(), "--help"}
    for document in DOCUMENTS:
        if not document.startswith(DOCUMENTS_WITHOUT_OPTIONS):
            named = {option for code in inline_code(REPOSITORY / document) for option in OPTION.findall(code)}
            assert named <= known, document


def test_tasks_of_make_are_in_the_makefile() -> None:
    makefiles = [
        REPOSITORY / "Makefile",
        *REPOSITORY.glob("clients/*/Makefile"),
        REPOSITORY / "clients/client.mk",
    ]
    tasks = {
        task for path in makefiles for task in re.findall(r"^([a-z-]+):", path.read_text(), re.MULTILINE)
    }
    for document in DOCUMENTS:
        for code in inline_code(REPOSITORY / document):
            if code.startswith("make "):
                assert code.split()[1] in tasks, document


def test_tests_that_documents_name_are_there() -> None:
    sources = "".join(path.read_text() for path in (REPOSITORY / "tests").rglob("*.py"))
    named = {
        code
        for document in DOCUMENTS
        for code in inline_code(REPOSITORY / document)
        if re.fullmatch(r"test_\w+", code)
    }
    assert named
    for name in named:
        assert f"def {name}(" in sources, name


def test_every_threat_has_a_test_that_holds_it_off() -> None:
    threats = (REPOSITORY / "docs/security.md").read_text().partition("\n## Threats\n")[2]
    rows = re.findall(r"^\|.*\|$", threats.partition("\n## ")[0], re.MULTILINE)[2:]
    assert len(rows) > 10
    for row in rows:
        assert re.search(r"`test_\w+`", row.split("|")[4]), row


def test_documents_that_code_names_are_there() -> None:
    assert CODE
    for path in [*CODE, REPOSITORY / ".importlinter", REPOSITORY / "Makefile"]:
        for target in re.findall(r"\bdocs/[\w/-]+\.md\b", path.read_text()):
            assert (REPOSITORY / target).exists(), f"{path} names {target}"


def test_the_architecture_describes_every_room_from_the_top_down() -> None:
    config = configparser.ConfigParser()
    config.read(REPOSITORY / ".importlinter")
    layers = config["importlinter:contract:layers"]["layers"].split("\n")
    rooms = [room for layer in layers for room in re.findall(r"\w+", layer)]
    described = (REPOSITORY / "docs/architecture.md").read_text().partition("\n## Rooms\n")[2]
    table = re.findall(r"^\| (.*?) \|", described.partition("\n\nLibraries ")[0], re.MULTILINE)[2:]
    top = [name.strip("/") for cell in table for name in re.findall(r"`([^`]+)`", cell)]
    assert [name for name in top if "/" not in name] == rooms


def test_messages_that_operators_are_told_about_are_those_of_the_server() -> None:
    logged = {
        text
        for path in CODE
        if path.is_relative_to(REPOSITORY / "server") and path.suffix == ".py"
        for node in ast.walk(ast.parse(path.read_text()))
        if (text := text_of(node))
    }
    quoted = {
        code
        for code in inline_code(REPOSITORY / "docs/cluster.md")
        if re.fullmatch(r"[a-z …,]+ [a-z …,]+", code)
    }
    assert len(quoted) > len(COMMANDS_OF_NATS)
    for message in quoted - COMMANDS_OF_NATS:
        parts = [re.escape(part) for part in message.strip("… ").split("…")]
        assert any(re.search(".*".join(parts), text) for text in logged), message


def text_of(node: ast.AST) -> str:
    """The text of a literal, without what is put into it."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
