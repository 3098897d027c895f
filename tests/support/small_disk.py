"""A small disk of its own for the data folder of a server: it really runs full."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.child_process import ChildProcess
from tests.support.server_process import ServerProcess


class SmallDiskServer(ServerProcess):
    """A server in a mount namespace, where its data folder is the disk."""

    holder: int = 0
    """The process that holds the namespace."""

    def launch(self) -> None:
        """Starts the server and does not wait for it."""
        places = ("--listen", self.address, "--data", str(self.data_dir))
        self.command = self._inside("serve", *places, *self._options)
        ChildProcess.launch(self)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end where the server runs."""
        return subprocess.run(self._inside(*arguments), capture_output=True, text=True, check=False)

    def create(self, name: str) -> None:
        """Creates an empty file in the data folder."""
        subprocess.run([*self._entering(), "touch", str(self.data_dir / name)], check=True)

    def fill_disk(self) -> None:
        """Leaves no room on the disk."""
        file = f"of={self.data_dir / 'filler'}"
        done = subprocess.run(
            [*self._entering(), "dd", "if=/dev/zero", file, "bs=4096"], capture_output=True, check=False
        )
        assert b"No space left" in done.stderr, done.stderr

    def free_disk(self) -> None:
        """Undoes `fill_disk`."""
        subprocess.run([*self._entering(), "rm", str(self.data_dir / "filler")], check=True)

    def make_read_only(self, name: str) -> None:
        """Makes a file of the data folder read-only, for root too."""
        path = str(self.data_dir / name)
        for options in ("bind", "bind,remount,ro"):
            subprocess.run([*self._entering(), "mount", "-o", options, path, path], check=True)

    def _inside(self, *arguments: str) -> tuple[str, ...]:
        return (*self._entering(), sys.executable, "-m", "engagement.cli", *arguments)

    def _entering(self) -> tuple[str, ...]:
        return (
            "nsenter",
            f"--target={self.holder}",
            "--user",
            "--mount",
            "--preserve-credentials",
            f"--wd={Path.cwd()}",
        )


@contextmanager
def small_disk(server: SmallDiskServer, *, size_bytes: int) -> Iterator[None]:
    """The disk exists while the context is open; the server may be killed and started again."""
    server.data_dir.mkdir()
    mount = f"mount -t tmpfs -o size={size_bytes} none '{server.data_dir}' && echo mounted && exec sleep 600"
    with subprocess.Popen(["unshare", "-rm", "sh", "-c", mount], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"mounted\n"
            server.holder = holder.pid
            yield
        finally:
            server.kill()
            holder.kill()


def can_mount() -> bool:
    """Whether this machine allows it, as Linux does to everybody unless it is told otherwise."""
    if not all(map(shutil.which, ("unshare", "nsenter"))):
        return False
    tried = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0
