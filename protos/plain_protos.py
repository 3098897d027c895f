"""The contract without custom options, for toolchains that cannot read validation rules.

The result imports nothing but google/protobuf. Comments, numbers, names and standard options stay, except
`debug_redact`, which protoc knows only since version 22.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

OPTIONS_PROTO = "engagement/v1/access.proto"
"""Has nothing but options of methods."""
_RULES_IMPORT = re.compile(rf'^import "(?:buf/[^"]*|{OPTIONS_PROTO})";\n', re.MULTILINE)
_TOKEN = re.compile(r'//[^\n]*|"(?:\\.|[^"\\])*"|\w+|\s+|.', re.DOTALL)
_CLOSING = {"[": "]", "{": "}"}
_NOTICE = "// Generated from the contract by protos/contract.py: the same without validation rules.\n\n"


def plain(source: str) -> str:
    """The text of a proto file without custom options and the imports that only they need."""
    tokens = _TOKEN.findall(_RULES_IMPORT.sub("", source))
    kept: list[str] = []
    position = 0
    while position < len(tokens):
        if tokens[position] == "[":
            end = _end(tokens, position)
            kept.append(_standard_options(tokens[position + 1 : end]))
            position = end + 1
        elif tokens[position] == "option" and tokens[position + 2] == "(":
            while tokens[position] != ";":
                position = _end(tokens, position) + 1 if tokens[position] in _CLOSING else position + 1
            position += 2  # behind the semicolon and the white space after it
        else:
            kept.append(tokens[position])
            position += 1
    text = re.sub(r" +;|(?<=\)) \{\s*\}", ";", "".join(kept))
    return _NOTICE + re.sub(r"\n{3,}", "\n\n", text)


def _end(tokens: list[str], start: int) -> int:
    """Where the bracket that opens at `start` closes."""
    depth = 0
    for position in range(start, len(tokens)):
        depth += (tokens[position] == tokens[start]) - (tokens[position] == _CLOSING[tokens[start]])
        if depth == 0:
            return position
    raise ValueError("a bracket of the contract is never closed")


def _standard_options(tokens: list[str]) -> str:
    options = ["".join(option).strip() for option in _split(tokens)]
    standard = [option for option in options if not option.startswith(("(", "debug_redact"))]
    return f"[{', '.join(standard)}]" if standard else ""


def _split(tokens: list[str]) -> Iterator[list[str]]:
    """The options of a list, which commas outside of brackets separate."""
    option: list[str] = []
    position = 0
    while position < len(tokens):
        end = _end(tokens, position) if tokens[position] in _CLOSING else position
        if tokens[position] == ",":
            yield option
            option = []
        else:
            option += tokens[position : end + 1]
        position = end + 1
    yield option
