"""Named sets of connection settings in the user's configuration file, which holds no secrets."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final  # Any: what TOML may hold

from engagement.cli.failures import CommandError

SETTINGS: Final = ("server", "account", "token-file", "ca", "cert", "key")
"""What a profile may set: the options of the same names."""
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_MAX_FILE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Profiles:
    """The contents of the configuration file."""

    profiles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    used: str = ""
    """The profile of commands that name none; empty if there is none."""

    def find(self, name: str) -> Mapping[str, str]:
        """The settings of a profile. Raises CommandError if there is none of this name."""
        if name not in self.profiles:
            known = ", ".join(sorted(self.profiles)) or "none"
            raise CommandError(
                f"There is no profile '{name}' in {path()}, only: {known}. "
                f"Create it with 'engagement config set {name} --server HOST:PORT'."
            )
        return self.profiles[name]


def path() -> Path:
    """The place of the configuration file, by the rules of XDG."""
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder) / "engagement" / "config.toml"


def read_profiles() -> Profiles:
    """The profiles of the user; none without a file. Raises CommandError if others may use the file."""
    try:
        with path().open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & _OTHERS:
                raise CommandError(f"Others may use {path()}: run 'chmod 600 {path()}'.")
            text = file.read(_MAX_FILE_BYTES)
    except FileNotFoundError:
        return Profiles()
    try:
        return _parse(tomllib.loads(text.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"{path()} is not TOML: {error}.") from error


def _parse(document: dict[str, Any]) -> Profiles:
    profiles, used = document.get("profiles", {}), document.get("profile", "")
    is_sound = isinstance(profiles, dict) and isinstance(used, str) and {*document} <= {"profile", "profiles"}
    if not is_sound or not all(_is_profile(each) for each in profiles.values()):
        allowed = ", ".join(SETTINGS)
        raise CommandError(
            f"{path()} must have `profile`, a name, and tables [profiles.NAME] with texts: {allowed}."
        )
    return Profiles(profiles, used)


def _is_profile(value: object) -> bool:
    return (
        isinstance(value, dict)
        and {*value} <= {*SETTINGS}
        and all(isinstance(each, str) for each in value.values())
    )


def write_profiles(profiles: Profiles) -> None:
    """Replaces the configuration file, which only its owner may read. Raises OSError."""
    lines = [f"profile = {_quoted(profiles.used)}\n"] if profiles.used else []
    for name, settings in sorted(profiles.profiles.items()):
        lines.append(f"\n[profiles.{_quoted(name)}]\n")
        lines += [f"{key} = {_quoted(settings[key])}\n" for key in SETTINGS if key in settings]
    folder = path().parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # It is made for its owner alone.
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=".config")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.writelines(lines)
        Path(name).replace(path())
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _quoted(text: str) -> str:
    """A text in TOML, whose escapes are those of JSON."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
