"""The files that publishers offer: names, addresses and licences, from the packaged `publishers.toml`."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from mlimages_dataset.core.errors import ConfigError, UsageError
from mlimages_dataset.core.locations import is_plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

LOCK_NAME = "mlimages.lock"
"""The lock file of an output folder; no published file may have this name."""
UNKNOWN = -1
"""The size in bytes of a file whose publisher does not state it."""

_Item = TypeVar("_Item")
_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file of a publisher.

    Attributes:
        name: its path below the output folder, with forward slashes.
        url: its address; empty if it can only be downloaded through a web page.
        what: what it holds.
        reader: the command that reads it.
        licence: its licence.
        page: the web page to look for it on if the address no longer works.
        approximate_bytes: its size; `UNKNOWN` if the publisher does not state it.
        sha256: the digest it must have; empty if the first fetch is to record it.
    """

    name: str
    what: str
    url: str = ""
    reader: str = ""
    licence: str = ""
    page: str = ""
    approximate_bytes: int = UNKNOWN
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Collection:
    """The files of one publisher; `default` are patterns of the files that are fetched unless others are named."""

    name: str
    title: str
    licence: str
    page: str
    default: tuple[str, ...]
    files: tuple[PublishedFile, ...]

    def matching(self, patterns: Iterable[str]) -> tuple[PublishedFile, ...]:
        """Return the files whose names match any of the patterns (`*`, `?`, `[...]`)."""
        return tuple(file for file in self.files if any(fnmatch.fnmatchcase(file.name, each) for each in patterns))


def read_publishers(path: Path | None = None) -> Mapping[str, Collection]:
    """Return the collections by name: the packaged ones, or those of another TOML file.

    Raises:
        UsageError: there is no such file.
        ConfigError: it is not TOML, or an entry does not have the form that `publishers.toml` explains.
    """
    source = resources.files("mlimages_dataset.sources").joinpath("publishers.toml") if path is None else path
    try:
        tables = tomllib.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})", where=source, remedy="check the path") from error
    except ValueError as error:
        raise ConfigError(f"is not valid TOML ({error})", where=source, remedy="correct it") from error
    return {name: _collection(name, table, source) for name, table in tables.items()}


def _collection(name: str, table: object, source: object) -> Collection:
    where = f"{source}, [{name}]"
    if not isinstance(table, dict):
        raise ConfigError("is not a table", where=where, remedy="write it as [name] and [[name.files]]")
    entries, default = _list_of(dict, table.get("files")), _list_of(str, table.get("default", ["*"]))
    if not entries:
        raise ConfigError("names no file", where=where, remedy="add a [[name.files]] entry")
    if not default:
        raise ConfigError("default is not a list of patterns", where=where, remedy='write default = ["*"]')
    inherited = {"licence": table.get("licence", ""), "page": table.get("page", "")}
    files = tuple(record_of(PublishedFile, {**inherited, **entry}, where) for entry in entries)
    names = [file.name for file in files]
    for file in files:
        _check_published(file, where)
        if names.count(file.name) > 1:
            raise ConfigError(f"{file.name} is listed twice", where=where, remedy="give each file its own name")
    fields = {"title": name, **inherited, **table, "name": name, "default": tuple(default), "files": files}
    return record_of(Collection, fields, where)


def _list_of(kind: type[_Item], value: object) -> list[_Item]:
    """Return a value if it is a list whose items all have the type, else an empty list."""
    return value if isinstance(value, list) and all(isinstance(item, kind) for item in value) else []


def record_of(kind: type[_Record], table: Mapping[str, object], where: object) -> _Record:
    """Return a dataclass filled from a table of TOML or JSON.

    Raises:
        ConfigError: a key is unknown or missing, or a value has another type than its field.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]  # kind is a dataclass
    for key, value in table.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            raise ConfigError(
                f"unknown key {key}",
                where=where,
                remedy=f"did you mean {near[0]}?" if near else f"use {', '.join(fields)}",
            )
        wanted = {"str": str, "int": int}.get(str(fields[key].type), tuple)
        if not isinstance(value, wanted):
            raise ConfigError(f"{key} is {value!r}, not a {wanted.__name__}", where=where, remedy="correct it")
    missing = [name for name, field in fields.items() if field.default is dataclasses.MISSING and name not in table]
    if missing:
        raise ConfigError(f"an entry lacks {', '.join(missing)}", where=where, remedy="add it")
    return kind(**table)


def _check_published(file: PublishedFile, where: object) -> None:
    if not is_plain(file.name) or file.name == LOCK_NAME:
        raise ConfigError(
            f"{file.name!r} is not a path below the output folder", where=where, remedy="choose another name"
        )
    if file.url and urlsplit(file.url).scheme not in {"http", "https"}:
        raise ConfigError(f"{file.url} is not an http or https address", where=where, remedy="give such an address")
    if not file.page:
        raise ConfigError(f"{file.name} has no page", where=where, remedy="say where to look for the file")


def select_files(collection: Collection, only: Sequence[str] = ()) -> tuple[PublishedFile, ...]:
    """Return the files whose names match any of the patterns; without patterns, the collection's default files.

    Raises:
        UsageError: a pattern matches no file.
    """
    patterns = only or collection.default
    for pattern in patterns:
        if not collection.matching([pattern]):
            names = [file.name for file in collection.files]
            near = difflib.get_close_matches(pattern, names, n=1, cutoff=0.3)
            raise UsageError(
                f"no file of {collection.name} matches {pattern}",
                remedy=f"did you mean {near[0]}? --list shows them all" if near else "--list shows them all",
            )
    return collection.matching(patterns)
