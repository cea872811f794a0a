"""The content of a manifest: each finished stage, its parameters and inputs, and each file it wrote."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the decoder reads it
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from mlimages_dataset.core.decoding import RECORDS, Json, UndecodableError, encode
from mlimages_dataset.core.documents import parse_json, written_json
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import paths_outside, reason
from mlimages_dataset.tables import schemas
from mlimages_dataset.tables.files import Receipt
from mlimages_dataset.tables.parts import FORMAT, MANIFEST_NAME, refuse_other_format
from mlimages_dataset.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mlimages_dataset.core.locations import Location

_SummaryT = TypeVar("_SummaryT")
_SummaryT_co = TypeVar("_SummaryT_co", covariant=True)
CACHE_PREFIX = ".cache-"
"""Prefix of files in an output folder that are made from the others and may be removed at any time."""
UNFINISHED = "the command that writes it has not finished: run it again"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """The manifest's record of one written file; `rows` is -1 for a file that is not a table."""

    rows: int
    bytes: int
    sha256: str
    schema: str


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One finished stage.

    Attributes:
        parameters: everything except the inputs that decides the output.
        inputs: SHA-256 by name.
        outputs: paths relative to the output folder.
        seconds: wall-clock time.
        summary: the stage's own counts, for people and the report.
        version: version of the package that did the work.
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
            "files": {path: encode(record) for path, record in sorted(self.files.items())},
            "stages": {name: encode(record) for name, record in self.stages.items()},
        }
        return written_json(content, indent=True) + b"\n"


@dataclass(frozen=True, slots=True)
class StageResult(Generic[_SummaryT_co]):
    """The result of a stage's work: the receipts of its files, and a dataclass with its counts (default: none)."""

    receipts: tuple[Receipt, ...]
    summary: _SummaryT_co = field(default_factory=cast("Any", dict))


@dataclass(frozen=True, slots=True)
class StageOutcome(Generic[_SummaryT_co]):
    """A stage's record, whether the work was done now or by an earlier run, and its counts."""

    record: StageRecord
    fresh: bool
    summary: _SummaryT_co


def summary_of(stage: str, record: StageRecord, kind: type[_SummaryT]) -> _SummaryT:
    """Return a stage's summary from a manifest, which anyone may have edited.

    Raises:
        DataError: it does not have the form that this version writes.
    """
    try:
        return RECORDS.decode(kind, record.summary)
    except UndecodableError as error:
        raise DataError(
            f"the summary of stage {stage} does not have the form that this version writes ({error})",
            where=MANIFEST_NAME,
            remedy="build the folder again",
        ) from error


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
        content = parse_json(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("it holds no object with the keys format, files and stages")  # noqa: TRY004, TRY301 - told below
        if missing := [key for key in ("format", "files", "stages") if key not in content]:
            raise ValueError(f"it has no key {missing[0]}")  # noqa: TRY301 - told below
        refuse_other_format(content["format"], path)
        manifest = Manifest(
            files=RECORDS.decode(dict[str, FileRecord], content["files"], "files"),
            stages=RECORDS.decode(dict[str, StageRecord], content["stages"], "stages"),
        )
        # A manifest may come from a stranger, and the files that it names are read, and removed when a stage is done
        # again.
        outputs = {path for record in manifest.stages.values() for path in record.outputs}
        if strangers := paths_outside(folder, {*manifest.files, *outputs}):
            raise DataError(
                f"it names {strangers[0]!r}, which is not a file inside the folder",
                where=path,
                remedy="do not trust it; if you made a link to a folder there, replace the link by the folder",
            )
        if lacking := sorted(outputs - manifest.files.keys()):
            raise ValueError(f"files has no {lacking[0]}, which a stage wrote")  # noqa: TRY301 - told below
    except OSError as error:
        raise DataError(f"cannot be read ({reason(error)})", where=path, remedy="check its permissions") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"is not a complete manifest ({error})", where=path, remedy="name another folder, or remove this one"
        ) from error
    return manifest


def other_versions(labels: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each schema whose version differs from that of this package."""
    for label in sorted(set(labels)):
        current = schemas.ALL.get(label.partition("/")[0])
        if current is not None and current.label != label:
            yield f"a table is {label} and this version's are {current.label}"


def stands(path: Location, record: FileRecord) -> bool:
    """Return whether a file exists with the recorded size."""
    return path.is_file() and path.stat().st_size == record.bytes


def file_record(receipt: Receipt) -> FileRecord:
    """Return the manifest's record of a written file."""
    return FileRecord(receipt.rows, receipt.bytes, receipt.sha256, receipt.schema)


def receipt_of(path: Location, record: FileRecord) -> Receipt:
    """Return the receipt of a recorded file."""
    return Receipt(path, record.rows, record.bytes, record.sha256, record.schema)
