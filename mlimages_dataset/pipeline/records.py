"""What a manifest records: each finished stage, what it was given, and each file it wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, cast

import numpy as np

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import (
    paths_outside,
    reason,
)
from mlimages_dataset.tables import schemas
from mlimages_dataset.tables.files import Receipt
from mlimages_dataset.version import __version__

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None  # type: ignore[assignment]
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"


MANIFEST_NAME = "manifest.json"


CACHE_PREFIX = ".cache-"
"""Begins the names of files in an output folder that are made from the others and may be removed at any time."""


FORMAT = "mlimages.manifest/1"


UNFINISHED = "the command that writes it has not ended: run it again"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One written file as the manifest knows it; `rows` is -1 for a file that is no table."""

    rows: int
    bytes: int
    sha256: str
    schema: str


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One finished stage.

    Attributes:
        parameters: everything but the inputs that decides the output.
        inputs: SHA-256 by name.
        outputs: paths relative to the output folder.
        seconds: wall-clock time.
        summary: the stage's own counts, for people and the report.
        version: the package's version that did the work.
    """

    parameters: Mapping[str, Json]
    inputs: Mapping[str, str]
    outputs: tuple[str, ...]
    seconds: float
    summary: Mapping[str, Json]
    version: str = __version__


@dataclass(frozen=True, slots=True)
class Manifest:
    """The finished stages of an output folder and their files."""

    files: Mapping[str, FileRecord] = field(default_factory=dict)
    stages: Mapping[str, StageRecord] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return the manifest as it is stored."""
        content = {
            "format": FORMAT,
            "files": {path: fields_of(record) for path, record in sorted(self.files.items())},
            "stages": {name: fields_of(record) for name, record in self.stages.items()},
        }
        return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage's work returns: the receipts of its files and its own counts."""

    receipts: tuple[Receipt, ...]
    summary: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """A stage's record and whether the work was done now or stood already."""

    record: StageRecord
    fresh: bool


class Summary:
    """A stage's summary in a manifest, which anyone may have edited: each value is checked as it is read."""

    def __init__(self, stage: str, content: Mapping[str, Json]) -> None:
        self._stage = stage
        self.content = content

    def integer(self, key: str) -> int:
        """Return the integer of that name."""
        value = self.content.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else self._refuse(key)

    def integers(self, key: str, length: int | None = None) -> NDArray[np.int64]:
        """Return the list of integers of that name, int64; `length` None for any."""
        try:
            values = np.asarray(self._sequence(key), np.int64).reshape(-1)
        except (ValueError, TypeError, OverflowError):
            self._refuse(key)
        return values if length in {None, len(values)} else self._refuse(key)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the list of texts of that name, none where it is absent."""
        return tuple(str(value) for value in self._sequence(key)) if key in self.content else ()

    def counted(self, key: str) -> list[tuple[tuple[str, ...], int]]:
        """Return the rows of that name, each of texts and a last count, none where it is absent."""
        rows = self._sequence(key) if key in self.content else ()
        return [self._counted(key, row) for row in rows]

    def named_texts(self, key: str) -> dict[str, tuple[str, ...]]:
        """Return the lists of texts by name, none where they are absent."""
        if key not in self.content:
            return {}
        part = self.part(key)
        return {name: part.texts(name) for name in part.content}

    def part(self, key: str) -> Summary:
        """Return the summary of that name."""
        value = self.content.get(key)
        return Summary(f"{self._stage}.{key}", value) if isinstance(value, dict) else self._refuse(key)

    def _sequence(self, key: str) -> Sequence[Json]:
        value = self.content.get(key)
        return value if isinstance(value, list) else self._refuse(key)

    def _counted(self, key: str, row: Json) -> tuple[tuple[str, ...], int]:
        if not isinstance(row, list) or not row or not isinstance(row[-1], int):
            self._refuse(key)
        return tuple(str(value) for value in row[:-1]), row[-1]

    def _refuse(self, key: str) -> NoReturn:
        raise DataError(
            f"stage {self._stage} has no {key} as this version writes it",
            where=MANIFEST_NAME,
            remedy="build the folder again",
        )


def read_manifest(folder: Location) -> Manifest:
    """Return the manifest of an output folder.

    Raises:
        UsageError: there is none.
        DataError: it is not a manifest of this format.
    """
    path = folder / MANIFEST_NAME
    if not path.is_file():
        raise UsageError(
            f"there is no {MANIFEST_NAME} in it", where=folder, remedy="name a folder that mlimages-build wrote"
        )
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != FORMAT:
            raise DataError(f"its format is {content['format']}, not {FORMAT}", where=path, remedy="build it again")
        manifest = Manifest(
            files={path: _file_record_of(record) for path, record in content["files"].items()},
            stages={name: _stage_record_of(record) for name, record in content["stages"].items()},
        )
        # A manifest may come from somebody else, and what it names is read, and removed when a stage is done again.
        outputs = {path for record in manifest.stages.values() for path in record.outputs}
        strangers = [*paths_outside(folder, {*manifest.files, *outputs}), *sorted(outputs - manifest.files.keys())]
        if strangers:
            raise DataError(
                f"it names {strangers[0]!r}, no file of the folder",
                where=path,
                remedy="do not trust it; if a folder in it is a link of your own, put the folder itself there",
            )
    except OSError as error:
        raise DataError(f"cannot be read ({reason(error)})", where=path, remedy="check its permissions") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"is not a whole manifest ({error})", where=path, remedy="name another folder, or remove this one"
        ) from error
    return manifest


def _file_record_of(content: Mapping[str, Json]) -> FileRecord:
    """Return a file's record from JSON that anyone may have edited; a `TypeError` says what is not as it must be."""
    _check_kinds(content, {"rows": int, "bytes": int, "sha256": str, "schema": str})
    return FileRecord(**cast("Mapping[str, Any]", content))


def _stage_record_of(content: Mapping[str, Json]) -> StageRecord:
    """Return a stage's record, as `_file_record_of`."""
    whole = {"parameters": dict, "inputs": dict, "outputs": list, "summary": dict, "version": str}
    _check_kinds(content, {**whole, "seconds": (int, float)})
    outputs = cast("list[str]", content["outputs"])
    return StageRecord(**{**cast("Mapping[str, Any]", content), "outputs": tuple(outputs)})


def _check_kinds(content: Mapping[str, Json], kinds: Mapping[str, type | tuple[type, ...]]) -> None:
    for name, kind in kinds.items():
        if name in content and (not isinstance(content[name], kind) or isinstance(content[name], bool)):
            raise TypeError(f"{name} is {json.dumps(content[name])[:40]}")


def other_versions(labels: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each schema of which this package writes and reads another version."""
    for label in sorted(set(labels)):
        current = schemas.ALL.get(label.partition("/")[0])
        if current is not None and current.label != label:
            yield f"a table is {label} and this version's are {current.label}"


def stands(path: Location, record: FileRecord) -> bool:
    """Return whether a file is there with the size on record."""
    return path.is_file() and path.stat().st_size == record.bytes


def file_record(receipt: Receipt) -> FileRecord:
    """Return what a manifest records of a written file."""
    return FileRecord(receipt.rows, receipt.bytes, receipt.sha256, receipt.schema)


def receipt_of(path: Location, record: FileRecord) -> Receipt:
    """Return the receipt of a file on record."""
    return Receipt(path, record.rows, record.bytes, record.sha256, record.schema)


def fields_of(record: FileRecord | StageRecord) -> dict[str, Json]:
    """Return a record as JSON has it."""
    return {name: getattr(record, name) for name in record.__slots__}
