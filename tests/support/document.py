"""Reads the code blocks of a document, and runs them as its reader would: in order, in one folder.

A block of `sh` or `python` is run; it must end with status 0, or with the one that its first line
announces, such as "sh exit=67". A block marked `output` shows what the block before it prints. A block
marked `not-run` stays out, and so does everything that is no program: text, JSON, protos.

The server of the documents has its address changed to that of the test's, and servers that a block starts
itself, at ports such as `506$n`, get others that are free.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import DEADLINE_SECONDS

DOCUMENTED_ADDRESS = "127.0.0.1:50051"
_PROGRAMS = frozenset({"sh", "python"})
_OTHERS = frozenset(
    {"text", "json", "proto", "makefile", "toml", "xml", "yaml", "go", "ts", "java", "rust"}
    | {"cpp", "csharp", "kotlin", "php", "ruby", "swift"}
)
_FENCE = re.compile(r"^```(?P<info>.*)\n(?P<text>(?:.*\n)*?)```$", re.MULTILINE)
_NUMBERED_PORT = re.compile(r"(?<=127\.0\.0\.1:)\d+(?=\$n\b)")
_NUMBERS = (1, 2, 3)

# What differs from run to run, or between versions of grpcurl.
_VOLATILE = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<uuid>"),
    (re.compile(r"(?<![\w-])(?=[\w-]*[A-Z])(?=[\w-]*AAA)[\w-]{26}(?![\w-])"), "<cursor>"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
    (re.compile(r"\b1[789]\d{11}\b"), "<milliseconds>"),
    (re.compile(r"\(\d[\d.,]* s, [\d,]+/s\)"), "(<speed>)"),
    (re.compile(r"(?<=log epoch\t)\w+"), "<epoch>"),
    (re.compile(r'(?<=[a-z])[A-Z](?=\w*":)'), None),
    (re.compile(r"[ \t]+"), " "),
)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a document."""

    place: str
    language: str
    marks: frozenset[str]
    text: str

    @property
    def file(self) -> str | None:
        """The file that it is, if its mark names one."""
        named = [mark.removeprefix("file=") for mark in self.marks if mark.startswith("file=")]
        return named[0] if named else None

    @property
    def is_program(self) -> bool:
        """Whether it can be run."""
        return self.language in _PROGRAMS

    @property
    def is_run(self) -> bool:
        """Whether the tests run it."""
        return self.is_program and "not-run" not in self.marks

    @property
    def is_output(self) -> bool:
        """Whether it shows what the block before it prints."""
        return "output" in self.marks

    @property
    def exit_status(self) -> int:
        """The status with which it ends."""
        announced = [mark.removeprefix("exit=") for mark in self.marks if mark.startswith("exit=")]
        return int(announced[0]) if announced else 0


def read_blocks(document: Path) -> list[Block]:
    """All blocks of a document; an unknown language is an error, not a block to skip."""
    text = document.read_text()
    blocks = []
    for match in _FENCE.finditer(text):
        language, *marks = match["info"].split() or [""]
        line_number = text.count("\n", 0, match.start()) + 1
        place = f"{document.name}:{line_number}"
        assert language in _PROGRAMS | _OTHERS, f"{place}: a block of {language or 'nothing'}"
        blocks.append(Block(place, language, frozenset(marks), match["text"]))
    assert text.count("\n```") + text.startswith("```") == 2 * len(blocks), (
        f"{document.name}: a fence is open"
    )
    return blocks


def run_blocks(blocks: list[Block], *, folder: Path, address: str) -> list[str]:
    """Runs every program against a server, and compares its output with the document; returns all outputs."""
    outputs = []
    printed = ""
    for block in blocks:
        if block.is_run:
            printed = _run(block, folder=folder, address=address)
            outputs.append(printed)
        elif block.is_output:
            shown = re.escape(_settled(block.text)).replace("…", "(?s:.*?)")
            actual = _settled(printed)
            assert re.fullmatch(shown, actual), f"{block.place} shows\n{block.text}\nbut it prints\n{printed}"
    return outputs


def _run(block: Block, *, folder: Path, address: str) -> str:
    program = _with_free_ports(block.text.replace(DOCUMENTED_ADDRESS, address))
    command = [sys.executable, "-W", "error"] if block.language == "python" else ["bash", "-euo", "pipefail"]
    commands = Path(sys.executable).parent
    process = subprocess.Popen(
        [*command, "-c", program],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{commands}:{os.environ['PATH']}",
            "ENGAGEMENT_SERVER": address,
            # Not the profiles of whoever runs the tests.
            "XDG_CONFIG_HOME": str(folder / ".config"),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # So that all its processes can be ended.
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=3 * DEADLINE_SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == block.exit_status, (
        f"{block.place} ends with {process.returncode}:\n{printed}"
    )
    return printed


def _with_free_ports(program: str) -> str:
    """The program with free ports instead of its numbered ones."""
    shown = sorted(set(_NUMBERED_PORT.findall(program)))
    # Below the ports that systems and other tests assign.
    free = (str(start) for start in random.sample(range(1200, 2000), 800) if _are_free(start))
    taken = dict(zip(shown, free, strict=False))
    return _NUMBERED_PORT.sub(lambda found: taken[found[0]], program)


def _are_free(start: int) -> bool:
    """Whether the ports that begin with these digits are free."""
    for number in _NUMBERS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", 10 * start + number))
            except OSError:
                return False
    return True


def _settled(text: str) -> str:
    """The text without the parts that differ from run to run."""
    for pattern, replacement in _VOLATILE:
        if replacement is None:
            text = pattern.sub(lambda found: f"_{found[0].lower()}", text)
        else:
            text = pattern.sub(replacement, text)
    return "\n".join(line.strip() for line in text.strip().splitlines())


def relative_links(document: Path) -> Iterator[str]:
    """The links of a document to other files of the repository, without anchors."""
    without_code = _FENCE.sub("", document.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code):
        if not re.match(r"[a-z]+:", target):
            yield target


def inline_code(document: Path) -> Iterator[str]:
    """What stands in backticks in the text of a document, outside of its blocks and of the names of links."""
    text = _FENCE.sub("", document.read_text())
    for code in re.findall(r"`([^`]+)`", re.sub(r"\[[^\]]*\](?=\()", "", text)):
        yield " ".join(code.split())
