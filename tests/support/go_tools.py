"""Programs in Go that documents tell to install: built once, in a folder of the user's cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from clients.run import DOWNLOAD_ATTEMPTS, DOWNLOAD_PAUSE_SECONDS

INSTALL_SECONDS = 600
"""How long one attempt may take: modules are downloaded and compiled."""
_COMMAND = re.compile(r"^go install ((\S+)@(\S+))$", re.MULTILINE)


def is_go_there() -> bool:
    """Whether programs in Go can be built."""
    return shutil.which("go") is not None


def installed(document: Path) -> list[Path]:
    """The folders of the programs that a document installs, in the versions that it names.

    A download that fails or hangs is tried again. Raises RuntimeError with what Go says.
    """
    commands = _COMMAND.findall(document.read_text())
    assert commands, f"{document} installs nothing"
    return [_installed(package, name=Path(path).name, version=version) for package, path, version in commands]


def _installed(package: str, *, name: str, version: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "engagement-attributes"
    folder = cache / f"{name}-{version}"
    if not (folder / name).exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            _install(package, Path(scratch))
            (Path(scratch) / name).replace(folder / name)  # another run may do the same
    return folder


def _install(package: str, folder: Path) -> None:
    for attempt in range(1, DOWNLOAD_ATTEMPTS + 1):
        try:
            done = subprocess.run(
                ["go", "install", package],
                env={**os.environ, "GOBIN": str(folder), "GOFLAGS": ""},
                cwd=folder,  # outside of the modules of the clients
                capture_output=True,
                text=True,
                check=False,
                timeout=INSTALL_SECONDS,
            )
        except subprocess.TimeoutExpired:
            message = f"it took more than {INSTALL_SECONDS} s"
        else:
            if done.returncode == 0:
                return
            message = done.stderr[-2000:]
        if attempt < DOWNLOAD_ATTEMPTS:
            time.sleep(attempt * DOWNLOAD_PAUSE_SECONDS)
    raise RuntimeError(f"cannot install {package}: {message}")
