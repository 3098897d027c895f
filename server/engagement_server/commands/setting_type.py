"""The type of an option that sets a setting: reads its text, or says in a sentence what it must be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from engagement_server.settings import shown, type_name, wanted

if TYPE_CHECKING:
    from dataclasses import Field

_FAILED = 2
_TRUTHS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


class SettingError(click.ClickException):
    """The text of an option or of its variable is no value of the setting."""

    exit_code = _FAILED


def setting_type(setting: Field[Any]) -> click.ParamType[Any]:  # Any: settings are of many types
    """The type of the option of a setting."""
    return _TruthType(setting) if type_name(setting) == "bool" else _SettingType(setting)


class _SettingType(click.ParamType[Any]):  # Any: settings are of many types
    """Whether the value lies within its bounds, the configuration checks itself."""

    def __init__(self, setting: Field[Any]) -> None:  # Any: settings are of many types
        self._setting = setting
        self.name = type_name(setting).lower()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value. Raises SettingError."""
        if not isinstance(value, str):
            return value  # the default
        value.encode()  # an argument may hold bytes that are not text; raises UnicodeEncodeError
        read = self._read(value)
        if read is None:
            raise SettingError(f"{wanted(self._setting)}; got {shown(value)}")
        return read

    def _read(self, text: str) -> Any:  # Any: settings are of many types
        match type_name(self._setting):
            case "str":
                return text
            case "Path":
                return Path(text) if text.strip() else None
            case name:
                return _number(text, is_whole=name == "int")

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """The files or folders that begin with a text, if it is a path."""
        if type_name(self._setting) != "Path":
            return []
        is_folder = self._setting.metadata["metavar"] == "DIR"
        kind = click.Path(file_okay=not is_folder, dir_okay=is_folder)
        return kind.shell_complete(ctx, param, incomplete)


class _TruthType(click.types.BoolParamType):
    """As a flag, which has a text in its variable only."""

    def __init__(self, setting: Field[Any]) -> None:  # Any: settings are of many types
        self._setting = setting

    def convert(
        self,
        value: bool | str,  # noqa: FBT001  # as the library calls it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> bool:
        """The value. Raises SettingError."""
        if isinstance(value, bool):
            return value
        if (truth := _TRUTHS.get(value.strip().lower())) is None:
            raise SettingError(f"{wanted(self._setting)}; got {shown(value)}")
        return truth


def _number(text: str, *, is_whole: bool) -> float | None:
    """The number, in digits of every keyboard; None if it is none."""
    if not text.isascii() or "_" in text:
        return None
    try:
        return int(text) if is_whole else float(text)
    except ValueError:
        return None
