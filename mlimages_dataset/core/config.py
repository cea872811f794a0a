"""Typed configurations out of TOML files: unknown keys are errors that name the nearest known key.

A configuration is a frozen dataclass whose fields may be plain values, enumerations, places, other configurations,
tuples of these, and tuples of (name, value) pairs, which a TOML table of name = value gives. A field without a default
is required. Paths are relative to the file's folder.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from mlimages_dataset.core.errors import ConfigError
from mlimages_dataset.core.locations import Location, location

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGED = "packaged:"
"""What a path begins with that names a file of the package."""
_Config = TypeVar("_Config")


def read_toml(path: Location) -> dict[str, object]:
    """Return the content of a TOML file.

    Raises:
        ConfigError: there is no such file, or it is not TOML.
    """
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=path, remedy="check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"is not valid TOML ({error})", where=path, remedy="correct it there") from error


class ConfigReader:
    """Reads typed configurations out of the document of one file."""

    def __init__(self, path: Location, *, document: str, packaged: Callable[[str], Path] | None = None) -> None:
        """Read for one file.

        Args:
            path: the file, for messages, and for the folder that paths are relative to.
            document: what such files are called, as in "every recipe needs it".
            packaged: returns the path of a packaged file by its name, where `packaged:NAME` may be written.
        """
        self._path = path
        self._document = document
        self._packaged = packaged

    def table(self, kind: type[_Config], content: object, key: str = "") -> _Config:
        """Return a configuration of dataclass `kind`, which the document holds under `key`.

        Raises:
            ConfigError: a key is unknown or missing, or a value is not of its field's type or refused by the dataclass.
        """
        if not isinstance(content, Mapping):
            raise self._error(f"{key} is not a table", f"write [{key}]")
        hints = get_type_hints(kind)
        fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]  # checked by callers
        for name in content:
            if name not in fields:
                nearest = difflib.get_close_matches(name, fields, 1)
                remedy = f"did you mean {nearest[0]}?" if nearest else f"use one of {', '.join(fields)}"
                raise self._error(f"unknown key {_dotted(key, name)}", remedy)
        for name, field in fields.items():
            if name not in content and field.default is dataclasses.MISSING:
                raise self._error(f"no {_dotted(key, name)}", f"every {self._document} needs it")
        values = {name: self._value(hints[name], value, _dotted(key, name)) for name, value in content.items()}
        try:
            return kind(**values)
        except ValueError as error:
            raise self._error(_dotted(key, str(error)), "correct it") from error

    def _value(self, kind: Any, value: object, key: str) -> object:  # noqa: PLR0911 - one return a kind of value
        arguments = [a for a in getattr(kind, "__args__", ()) if a not in {type(None), Ellipsis}]
        origin = getattr(kind, "__origin__", None)
        if set(arguments) == set(get_args(Location)):
            return self._place(self._plain(str, value, key))
        if origin is None and arguments:  # X | None
            return self._value(arguments[0], value, key)
        if origin is tuple:
            return self._sequence(arguments, value, key)
        if dataclasses.is_dataclass(kind):
            return self.table(kind, value, key)  # type: ignore[arg-type]  # a class, not an instance
        if kind is Path:
            return self._file(self._plain(str, value, key), key)
        if isinstance(kind, type) and issubclass(kind, Enum):
            text = self._plain(str, value, key)
            choices = [member.value for member in kind]
            if text not in choices:
                raise self._error(f"{key} is {text!r}", f"use one of {', '.join(choices)}")
            return kind(text)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        return self._plain(kind, value, key)

    def _sequence(self, arguments: list[Any], value: object, key: str) -> tuple[object, ...]:
        inner = arguments[0]
        if getattr(inner, "__origin__", None) is tuple:  # pairs: a TOML table of name = value
            if not isinstance(value, Mapping):
                raise self._error(f"{key} is not a table", f"write {key} = {{ name = value }}")
            return tuple((name, self._value(inner.__args__[1], v, _dotted(key, name))) for name, v in value.items())
        if not isinstance(value, list):
            raise self._error(f"{key} is not a list", "write [...], or [[...]] for tables")
        return tuple(self._value(inner, v, f"{key}[{i}]") for i, v in enumerate(value))

    def _plain(self, kind: Any, value: object, key: str) -> Any:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self._error(f"{key} is {value!r}", f"give a {kind.__name__}")
        return value

    def _place(self, text: str) -> Location:
        if self._packaged is not None and text.startswith(PACKAGED):
            return self._packaged(text.removeprefix(PACKAGED))
        return location(text) if "://" in text else self._path.parent / text

    def _file(self, text: str, key: str) -> Path:
        place = self._place(text)
        if not isinstance(place, Path):
            raise self._error(f"{key} is {text!r}, which is remote", "name a path of this machine")
        return place

    def _error(self, what: str, remedy: str) -> ConfigError:
        return ConfigError(what, where=self._path, remedy=remedy)


def check_share(name: str, value: float) -> None:
    """Raise `ValueError`, which names the field, unless a value is in 0..1."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}, which is not in 0..1")


def check_at_least(name: str, value: float, least: float) -> None:
    """Raise `ValueError`, which names the field, unless a value is a finite number of at least `least`."""
    _check_bounded(name, value)
    if not value >= least:
        raise ValueError(f"{name} is {value}, which is less than {least}")


def check_positive(name: str, value: float) -> None:
    """Raise `ValueError`, which names the field, unless a value is a finite number above 0."""
    _check_bounded(name, value)
    if not value > 0:
        raise ValueError(f"{name} is {value}, which is not above 0")


def _check_bounded(name: str, value: float) -> None:
    if value == math.inf:
        raise ValueError(f"{name} is infinite")


def _dotted(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
