"""Watches the files of access, so that a change counts within seconds; the last good version counts.

With workers the parent watches, and hands each version on to them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from engagement_server.access.directory import Directory, Known
from engagement_server.access.files import GRANTS, JWT_KEYS, TOKENS, WatchedFile
from engagement_server.access.last_uses import LastUses, uses_path
from engagement_server.access.parsing import know
from engagement_server.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from engagement_server.access.config import AccessConfig
    from engagement_server.access.files import AllContents, Contents

POLL_SECONDS: Final = 2.0
AGAIN_SECONDS: Final = 0.2
"""A new version is read once more after this long: a file that is being written looks empty, or broken."""
REPORT_SECONDS: Final = 60.0
"""Between log lines about the same broken file, between two times that last uses are written, and between
looks at the files because of JWTs by unknown keys."""
_OPTIONS: Final = {GRANTS: "--grants", TOKENS: "--tokens", JWT_KEYS: "--jwt-keys"}

OnVersion: TypeAlias = Callable[["AllContents"], None]

_log = logging.getLogger(__name__)


class AccessWatch:
    """The files of access as the process knows them that watches them."""

    def __init__(self, config: AccessConfig) -> None:
        """Reads the files. Raises ConfigurationError."""
        self._config = config
        paths = {GRANTS: config.grants, TOKENS: config.tokens, JWT_KEYS: config.jwt_keys}
        self._files = [WatchedFile(kind, path) for kind, path in paths.items() if path is not None]
        self._problems: dict[str, str] = {}
        self._senseless: dict[str, str] = {}
        """What is wrong with what is in a file, by kind."""
        self._reported: dict[str, float] = {}
        self._look = asyncio.Event()
        self._callbacks: list[OnVersion] = []
        self._looked_for_key = 0.0
        self._wrote_uses = time.monotonic()
        self._uses_path = None if config.tokens is None else uses_path(config.tokens)
        self.uses = LastUses() if self._uses_path is None else LastUses.read(self._uses_path)
        """When secrets were used last."""
        self._contents = {file.kind: self._first(file) for file in self._files}
        self.directory = Directory(self._known_first(), uses=self.uses, on_unknown_key=self.look_for_key)

    @property
    def config(self) -> AccessConfig:
        """The settings."""
        return self._config

    @property
    def contents(self) -> AllContents:
        """The good versions of all files."""
        return self._contents

    @property
    def kinds(self) -> list[str]:
        """The kinds of files that are watched."""
        return [file.kind for file in self._files]

    @property
    def problem(self) -> str:
        """What is wrong with the newest versions of files; empty if nothing is."""
        return "; ".join(self._problems.values())

    def is_broken(self, kind: str) -> bool:
        """Whether the newest version of a file does not count."""
        return kind in self._problems

    def subscribe(self, callback: OnVersion) -> None:
        """Registers `callback`, which is called with the contents of the files that have changed."""
        self._callbacks.append(callback)

    def look_now(self) -> None:
        """Looks at the files at once."""
        self._look.set()

    def look_for_key(self) -> None:
        """Looks at the files at once, at most once a minute: a JWT names a key that is not loaded."""
        now = time.monotonic()
        if not self._looked_for_key or now - self._looked_for_key >= REPORT_SECONDS:
            self._looked_for_key = now
            self.look_now()

    async def run(self) -> None:
        """Watches the files until it is cancelled."""
        while True:
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._look.wait()
            except TimeoutError:
                is_asked = False
            else:
                is_asked = True
                self._look.clear()
            for file in self._files:
                await self._check(file, is_asked=is_asked)
            await self._write_uses()

    async def close(self) -> None:
        """Writes what is left to write."""
        self._wrote_uses = float("-inf")
        await self._write_uses()

    async def _check(self, file: WatchedFile, *, is_asked: bool) -> None:
        """Takes a new version of a file."""
        try:
            may_have_changed = await asyncio.to_thread(file.may_have_changed)
            if not (may_have_changed or is_asked or file.kind in self._problems):
                return
            contents = await asyncio.to_thread(file.read)
            if contents != file.contents:
                await asyncio.sleep(AGAIN_SECONDS)
                if contents != await asyncio.to_thread(file.read):
                    self.look_now()
                    return
                file.contents = contents
                await self._take(file, contents)
            elif file.kind in self._senseless:
                self._fail(file, self._senseless[file.kind])
            else:
                self._problems.pop(file.kind, None)
        except ConfigurationError as error:
            self._fail(file, str(error))

    async def _take(self, file: WatchedFile, contents: Contents) -> None:
        """Lets a version count. Raises ConfigurationError if it makes no sense."""
        version = {file.kind: contents}
        try:
            known = await asyncio.to_thread(know, self.directory.known, version, config=self._config)
        except ConfigurationError as error:
            self._senseless[file.kind] = f"{file.path}: {error}"
            raise ConfigurationError(self._senseless[file.kind]) from error
        self._senseless.pop(file.kind, None)
        self._problems.pop(file.kind, None)
        self._reported.pop(file.kind, None)
        if contents == self._contents[file.kind]:
            return
        self._contents[file.kind] = contents
        self.directory.replace(known)
        _log.info("%s was read again", _OPTIONS[file.kind])
        for callback in self._callbacks:
            callback(version)

    def _fail(self, file: WatchedFile, problem: str) -> None:
        self._problems[file.kind] = f"{_OPTIONS[file.kind]}: {problem}"
        self._report(file)

    def _report(self, file: WatchedFile) -> None:
        """Logs what is wrong with a file, once a minute."""
        now = time.monotonic()
        reported = self._reported.get(file.kind)
        if reported is None or now - reported >= REPORT_SECONDS:
            self._reported[file.kind] = now
            _log.error("%s; the last good version still counts", self._problems[file.kind])

    def _first(self, file: WatchedFile) -> Contents:
        try:
            file.may_have_changed()
            file.contents = file.read()
        except ConfigurationError as error:
            raise ConfigurationError(f"{_OPTIONS[file.kind]}: {error}") from error
        return file.contents

    def _known_first(self) -> Known:
        known = Known()
        for kind, contents in self._contents.items():
            try:
                known = know(known, {kind: contents}, config=self._config)
            except ConfigurationError as error:
                path: Path = getattr(self._config, kind)
                raise ConfigurationError(f"{_OPTIONS[kind]} {path}: {error}") from error
        return known

    async def _write_uses(self) -> None:
        """Writes the last uses, once a minute at most."""
        now = time.monotonic()
        if self._uses_path is None or not self.uses.has_news or now - self._wrote_uses < REPORT_SECONDS:
            return
        self._wrote_uses = now
        try:
            await asyncio.to_thread(self.uses.write, self._uses_path, known=self.directory.secret_names)
        except OSError as error:
            _log.warning("cannot keep the last uses of tokens: %s: %s", self._uses_path, error.strerror)
