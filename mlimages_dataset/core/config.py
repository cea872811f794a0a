"""Typed configurations read from TOML files, and checks of their values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

from mlimages_dataset.core.decoding import Decoder, UndecodableError
from mlimages_dataset.core.documents import parse_toml
from mlimages_dataset.core.errors import ConfigError
from mlimages_dataset.core.locations import is_folder_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlimages_dataset.core.locations import Location

_Config = TypeVar("_Config")


def read_toml(path: Location) -> dict[str, object]:
    """Return the content of a TOML file.

    Raises:
        ConfigError: there is no such file, or it is not TOML.
    """
    try:
        return parse_toml(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=path, remedy="check the path") from error
    except UnicodeDecodeError as error:
        what = f"is no text in UTF-8, from its byte {error.start + 1:,} on"
        raise ConfigError(what, where=path, remedy="save it as UTF-8") from error
    except ValueError as error:
        raise ConfigError(f"is not valid TOML ({error})", where=path, remedy="correct it there") from error


def read_config(
    kind: type[_Config], path: Location, *, document: str, packaged: Callable[[str], Path] | None = None
) -> _Config:
    """Return the configuration, a frozen dataclass, that a TOML file holds; its paths are relative to its folder.

    Args:
        kind: the dataclass.
        path: the file.
        document: what such files are called in messages, as in "every recipe needs it".
        packaged: returns the path of a packaged file by its name; None if `packaged:NAME` is not allowed.

    Raises:
        ConfigError: there is no such file, it is not TOML, a key is unknown or missing, or a value is not of its
            field's type or refused by the dataclass.
    """
    decoder = Decoder(folder=path.parent, packaged=packaged, document=document)
    try:
        return decoder.decode(kind, read_toml(path))
    except UndecodableError as error:
        raise ConfigError(error.what, where=path, remedy=error.remedy) from error


def check_folder_name(name: str, value: str) -> None:
    """Raise a `ValueError` that names the field, unless a value can be a folder's name."""
    if not is_folder_name(value):
        raise ValueError(f"{name} is {value!r}, which cannot be a folder's name on every system")


def check_share(name: str, value: float) -> None:
    """Raise a `ValueError` that names the field, unless a value is in 0..1."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}, which is not in 0..1")


def check_below_one(name: str, value: float) -> None:
    """Raise a `ValueError` that names the field, unless a value is in 0..1 and not 1."""
    check_share(name, value)
    if value == 1:
        raise ValueError(f"{name} is {value}, which is not below 1")


def check_at_least(name: str, value: float, least: float) -> None:
    """Raise a `ValueError` that names the field, unless a value is a finite number of at least `least`."""
    _check_bounded(name, value)
    if not value >= least:
        raise ValueError(f"{name} is {value}, which is less than {least}")


def check_positive(name: str, value: float) -> None:
    """Raise a `ValueError` that names the field, unless a value is a finite number above 0."""
    _check_bounded(name, value)
    if not value > 0:
        raise ValueError(f"{name} is {value}, which is not above 0")


def _check_bounded(name: str, value: float) -> None:
    if value == math.inf:
        raise ValueError(f"{name} is infinite")
