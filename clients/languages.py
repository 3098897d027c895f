"""How the clients in other languages than Python are made and tested, with each language's own tools."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

CLIENTS: Final = Path(__file__).resolve().parent

Command: TypeAlias = Sequence[str]


@dataclass(frozen=True, slots=True)
class Program:
    """A tool that must be installed, in this version or a newer one."""

    name: str
    version_command: Command
    minimum: tuple[int, ...]
    before_version: str = ""
    """What stands in front of the version, where another number may stand before it."""

    def problem(self) -> str:
        """Why it cannot be used; empty where it can."""
        wanted = f"{self.name} {'.'.join(map(str, self.minimum))} or newer"
        if shutil.which(self.version_command[0]) is None:
            return f"{wanted} is not installed"
        done = subprocess.run(self.version_command, capture_output=True, text=True, check=False)
        found = re.search(rf"{re.escape(self.before_version)}(\d+(?:\.\d+)*)", done.stdout + done.stderr)
        if done.returncode != 0 or found is None:
            return f"{wanted} is needed; `{' '.join(self.version_command)}` tells no version"
        version = tuple(map(int, found[1].split(".")))
        return "" if version >= self.minimum else f"{wanted} is needed, {found[1]} is installed"


@dataclass(frozen=True, slots=True)
class Language:
    """How one client is made and tested. All commands run in its folder."""

    name: str
    title: str
    programs: Sequence[Program]
    downloads: Sequence[Command]
    """All that needs a network; may be run again."""
    checks: Sequence[Command]
    """Formatter, linters, documentation."""
    tests: Sequence[Command]
    build_bench: Sequence[Command]
    bench: Command
    """Takes ADDRESS ACCOUNT WARMUP_FILE EVENTS_FILE; see benchmarks/clients.py."""
    generator: Command | None = None
    """Takes IMAGE and OUT_DIR, and writes what belongs into `generated`; None where every build generates."""
    generated: str = ""

    @property
    def folder(self) -> Path:
        """Where the client is."""
        return CLIENTS / self.name

    def problem(self) -> str:
        """Why this machine cannot build it; empty where it can."""
        return "; ".join(filter(None, (program.problem() for program in self.programs)))


_STATICCHECK = ["go", "tool", "-modfile=internal/tools/go.mod", "staticcheck", "./..."]

GO: Final = Language(
    "go",
    "Go",
    programs=[Program("Go", ["go", "version"], (1, 25)), Program("gcc", ["gcc", "-dumpversion"], (8,))],
    downloads=[["go", "mod", "download", "-C", folder] for folder in (".", "internal/tools", "validate")],
    checks=[["sh", "-c", "! gofmt -l . | grep ."], ["go", "vet", "./..."], _STATICCHECK],
    # Go would answer from its cache while the server and the shared cases, outside of its module, change.
    tests=[
        ["go", "test", "-count=1", "-race", "./..."],
        ["go", "test", "-C", "validate", "-count=1", "./..."],
    ],
    build_bench=[["go", "build", "-o", "bin/bench", "./internal/bench"]],
    bench=["bin/bench"],
    generator=["./generate"],
    generated="v1",
)

TYPESCRIPT: Final = Language(
    "typescript",
    "TypeScript",
    programs=[
        Program("Node.js", ["node", "--version"], (20, 4)),
        Program("npm", ["npm", "--version"], (9,)),
    ],
    downloads=[["npm", "install", "--no-audit", "--no-fund"]],
    checks=[["npm", "run", "--silent", "lint"]],
    tests=[["npm", "test", "--silent"]],
    build_bench=[["npm", "run", "--silent", "build:all"]],
    bench=["node", "build/benchmarks/upload.js"],
    generator=["node", "scripts/generate.js"],
    generated="src/gen",
)

# Formatter, linters and documentation are part of Maven's build, and so is the generator.
JAVA: Final = Language(
    "java",
    "Java",
    programs=[
        Program("JDK", ["javac", "--version"], (17,)),
        Program("Maven", ["mvn", "--batch-mode", "--version"], (3, 8), before_version="Apache Maven "),
    ],
    downloads=[["mvn", "--batch-mode", "--quiet", "-DskipTests", "verify"]],
    checks=[],
    tests=[["mvn", "--batch-mode", "--offline", "verify"]],
    build_bench=[["mvn", "--batch-mode", "--offline", "--quiet", "test-compile"]],
    bench=["java", "-cp", "target/classes:target/test-classes:target/lib/*", "UploadBenchmark"],
)

RUST: Final = Language(
    "rust",
    "Rust",
    programs=[
        Program("Rust", ["cargo", "--version"], (1, 88)),
        Program("rustfmt", ["cargo", "fmt", "--version"], (1,)),
        Program("clippy", ["cargo", "clippy", "--version"], (0, 1)),
        Program("gcc", ["gcc", "-dumpversion"], (8,)),
    ],
    downloads=[["cargo", "fetch"]],
    checks=[
        ["cargo", "fmt", "--all", "--check"],
        ["cargo", "clippy", "--workspace", "--all-targets", "--all-features", "--", "--deny", "warnings"],
        ["env", "RUSTDOCFLAGS=-D warnings", "cargo", "doc", "--no-deps", "--all-features"],
    ],
    tests=[["cargo", "test", "--all-features"]],
    build_bench=[["cargo", "build", "--release", "--example", "benchmark"]],
    bench=["target/release/examples/benchmark"],
    generator=["./generate"],
    generated="src/generated",
)

LANGUAGES: Final = (GO, TYPESCRIPT, JAVA, RUST)
