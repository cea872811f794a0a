"""An output folder's manifest: what each stage was given, what it wrote, and whether that still stands.

A stage whose parameters and inputs are those of the manifest, and whose files are there, is not run again. The
manifest is written, whole, after a stage's last file, so a cut run leaves no stage that looks done.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, cast

import numpy as np
import pyarrow.parquet as pq

from mlimages_dataset import schemas
from mlimages_dataset.errors import DataError, UsageError
from mlimages_dataset.locations import (
    folder_stays,
    is_inside,
    is_local,
    paths_outside,
    reason,
    relative,
    remove_folder,
)
from mlimages_dataset.storage import PARTIAL_PREFIX, Receipt, file_digest, parquet_source, write_bytes, write_errors
from mlimages_dataset.version import __version__

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from mlimages_dataset.locations import Location

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"

MANIFEST_NAME = "manifest.json"
CACHE_PREFIX = ".cache-"
"""Begins the names of files in an output folder that are made from the others and may be removed at any time."""
FORMAT = "mlimages.manifest/1"
_ENTRY = f"{PARTIAL_PREFIX}done-"
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
            "files": {path: _fields(record) for path, record in sorted(self.files.items())},
            "stages": {name: _fields(record) for name, record in self.stages.items()},
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


@dataclass(frozen=True, slots=True)
class Finished:
    """What a finished job of a stage wrote, and what else it returned."""

    receipts: tuple[Receipt, ...]
    content: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Journal:
    """The finished jobs of a stage that is not finished: what its next run need not do again after it was cut.

    An entry is a file that appears whole when those of its job have; it goes when the stage is in the manifest.

    Attributes:
        folder: the stage's folder.
        fingerprint: of everything that decides the stage's output; entries with another one are not read.
    """

    folder: Location
    fingerprint: str

    @classmethod
    def of(cls, folder: Location, parameters: Mapping[str, Json], inputs: Mapping[str, str]) -> Journal:
        """Return the journal of a stage with these parameters, and inputs in this order, by which jobs are numbered."""
        decisive = json.dumps([__version__, parameters, list(inputs.items())], sort_keys=True)
        return cls(folder, hashlib.sha256(decisive.encode()).hexdigest())

    def record(self, job: str, finished: Finished) -> None:
        """Write the entry of a job whose files are all there."""
        files = {relative(r.path, self.folder): _fields(_file_record(r)) for r in finished.receipts}
        entry: Json = {"fingerprint": self.fingerprint, "files": files, "content": finished.content}
        write_bytes(self._entry(job), json.dumps(entry).encode())

    def forget(self, job: str) -> None:
        """Remove the entry of a job, if there is one: its files no longer count."""
        self._entry(job).unlink(missing_ok=True)

    def finished(self, job: str) -> Finished | None:
        """Return what a job left, None unless it is finished and its files stand."""
        return self._read(self._entry(job))

    def standing(self) -> set[Location]:
        """Return the entries of this fingerprint and the files of their jobs."""
        found: set[Location] = set()
        for entry in self.folder.glob(f"{_ENTRY}*"):
            finished = self._read(entry)
            if finished is not None:
                found |= {entry, *(receipt.path for receipt in finished.receipts)}
        return found

    def _entry(self, job: str) -> Location:
        return self.folder / f"{_ENTRY}{job}"

    def _read(self, entry: Location) -> Finished | None:
        try:
            content = json.loads(entry.read_bytes())
            if paths_outside(self.folder, content["files"]):
                return None
            files = {self.folder / path: FileRecord(**record) for path, record in content["files"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # whatever is no entry of ours is not done
            return None
        if content.get("fingerprint") != self.fingerprint or not all(_stands(path, one) for path, one in files.items()):
            return None
        return Finished(tuple(_receipt(path, one) for path, one in files.items()), content["content"])


class OutputFolder:
    """An output folder opened for building: it runs stages and keeps the manifest true.

    Args:
        folder: a new or empty folder, or one with a manifest.
        overwrite: let a stage with other parameters or inputs replace the one on record.

    Raises:
        UsageError: the folder holds files but no manifest: they are not ours to mix with.
    """

    def __init__(self, folder: Location, *, overwrite: bool = False) -> None:
        # Absolute: the workers of an engine may have other working folders.
        self.path = folder.absolute()
        self._overwrite = overwrite
        if (folder / MANIFEST_NAME).is_file():
            self.manifest = read_manifest(folder)
            return
        if folder.exists() and not folder.is_dir():
            raise UsageError("is a file", where=folder, remedy="name a folder for the output")
        if folder.exists() and any(not path.name.startswith(PARTIAL_PREFIX) for path in folder.iterdir()):
            raise UsageError(
                f"the folder holds files but no {MANIFEST_NAME}", where=folder, remedy="name a new or an empty folder"
            )
        self.manifest = Manifest()

    def run(
        self,
        stage: str,
        *,
        parameters: Mapping[str, Json],
        inputs: Mapping[str, str],
        work: Callable[[Location], StageResult],
        into: str = "",
        folders: Sequence[str] = ("",),
        journal: Journal | None = None,
        jobs_of: Callable[[Sequence[Receipt]], Iterable[tuple[str, Finished]]] | None = None,
    ) -> StageOutcome:
        """Return the stage's record after doing its work, unless it stands already with these inputs and parameters.

        Args:
            stage: the stage's name in the manifest.
            parameters: everything but the inputs and the package's version that decides the output.
            inputs: SHA-256 by name.
            work: is called with the folder to write into.
            into: that folder, relative to the output folder.
            folders: those below `into` in which the work writes: the parts that a cut run left in them are removed.
            journal: the journal in `into`, for work that keeps one.
            jobs_of: returns the jobs that some files of the finished stage are the whole output of. With it, a stage
                of which files were lost does again only the jobs of those.

        Raises:
            UsageError: the folder holds another build of this stage, whole or cut, and `overwrite` was not asked for;
                or another stage has its parts where this one writes; or a folder in which it writes is a link to
                elsewhere; or another run is writing here.
        """
        with self._alone():
            wanted = cast("Mapping[str, Json]", json.loads(json.dumps(parameters)))
            target = self.path / into
            written = [target / name if name else target for name in folders]
            self._refuse_links(into, folders)
            self._refuse_foreign_parts(stage, written)
            standing = self.manifest.stages.get(stage)
            if standing is not None:
                written_as = [self.manifest.files[path].schema for path in standing.outputs]
                differences = [*_differences(standing, wanted, inputs), *_other_versions(written_as)]
                intact = self.standing(stage)
                if not differences and len(intact) == len(standing.outputs):
                    return StageOutcome(standing, fresh=False)
                if differences and not self._overwrite:
                    raise UsageError(
                        f"the folder holds another build: in stage {stage}, {'; '.join(differences[:3])}",
                        where=self.path,
                        remedy="name another folder, or pass --overwrite to replace it",
                    )
                if differences or journal is None or jobs_of is None:
                    self._forget(stage)
                else:
                    self._reopen(stage, journal, jobs_of(intact))
            if not self._overwrite:
                _refuse_another_cut_run(target, "" if journal is None else journal.fingerprint)
            resumed = set() if journal is None else journal.standing()
            _clear_partial(written, keep=resumed)
            _clear_parts(written, keep=resumed | {self.path / path for path in self.manifest.files})
            start = time.monotonic()
            result = work(target)
            record = StageRecord(
                parameters=wanted,
                inputs=dict(inputs),
                outputs=tuple(self._relative(receipt.path) for receipt in result.receipts),
                seconds=round(time.monotonic() - start, 3),
                summary=cast("Mapping[str, Json]", json.loads(json.dumps(result.summary))),
            )
            files = {self._relative(receipt.path): _file_record(receipt) for receipt in result.receipts}
            if outside := paths_outside(self.path, files):  # in a folder that the stage did not name before
                raise _linked_elsewhere(self.path, outside[0].rpartition("/")[0])
            self.manifest = Manifest({**self.manifest.files, **files}, {**self.manifest.stages, stage: record})
            self._save()
            _clear_partial(written)  # the journal's, and those of workers that died
            return StageOutcome(record, fresh=True)

    def standing(self, stage: str) -> tuple[Receipt, ...]:
        """Return the receipts of those files of a finished stage that are there with their size."""
        known = ((self.path / path, self.manifest.files[path]) for path in self.manifest.stages[stage].outputs)
        return tuple(_receipt(path, record) for path, record in known if _stands(path, record))

    def reopen(self, stage: str, journal: Journal, jobs: Iterable[tuple[str, Finished]]) -> None:
        """Turn a finished stage into a cut one, of which only these jobs are finished; its files stay."""
        with self._alone():
            self._reopen(stage, journal, jobs)

    def content_digest(self, stage: str) -> str:
        """Return the SHA-256 of all that the manifest says of a finished stage and its files but the time it took."""
        record = self.manifest.stages[stage]
        files = {path: _fields(self.manifest.files[path]) for path in record.outputs}
        content = json.dumps({**_fields(record), "seconds": 0, "outputs": files}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def keep_only(self, stages: Collection[str]) -> None:
        """Forget every other stage, and remove its files."""
        with self._alone():
            for stage in [name for name in self.manifest.stages if name not in stages]:
                self._forget(stage)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the folder's lock, with the manifest as the last run that held it left it.

        A new folder gets its manifest here, by which a cut run is known to be ours, and loses it again where the work
        fails before it has written anything.
        """
        made = not self.path.exists()
        if is_local(self.path):
            with write_errors(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
        with _only_run(self.path):
            new = not (self.path / MANIFEST_NAME).is_file()
            if new:
                self._save()
            else:
                self.manifest = read_manifest(self.path)
            try:
                yield
            except BaseException:
                if new:
                    _remove_if_unused(self.path, with_folder=made)
                raise

    def _refuse_links(self, into: str, folders: Sequence[str]) -> None:
        """Raise `UsageError` where a folder to write into is a link that leads out: files there would be removed."""
        for name in ("/".join(filter(None, (into, folder))) for folder in ("", *folders)):
            if not folder_stays(self.path, name):
                raise _linked_elsewhere(self.path, name)

    def _refuse_foreign_parts(self, stage: str, folders: Sequence[Location]) -> None:
        for other, record in self.manifest.stages.items():
            for path in record.outputs if other != stage else ():
                if (self.path / path).parent in folders and _is_part((self.path / path).name):
                    raise UsageError(
                        f"the folder holds another build: {path} is of stage {other}",
                        where=self.path,
                        remedy=f"name another folder for {stage}",
                    )

    def _forget(self, stage: str) -> None:
        """Take a stage and its files out of the manifest, and only then out of the folder."""
        for path in self._without(stage):
            if is_inside(self.path, path):  # looked at again: it was read when the run began
                (self.path / path).unlink(missing_ok=True)

    def _reopen(self, stage: str, journal: Journal, jobs: Iterable[tuple[str, Finished]]) -> None:
        # The journal first: whatever ends this in between, each file is known to one of the two.
        for job, finished in jobs:
            journal.record(job, finished)
        self._without(stage)

    def _without(self, stage: str) -> set[str]:
        """Take a stage and its files out of the manifest, and return the files."""
        outputs = set(self.manifest.stages[stage].outputs)
        self.manifest = Manifest(
            {path: record for path, record in self.manifest.files.items() if path not in outputs},
            {name: record for name, record in self.manifest.stages.items() if name != stage},
        )
        self._save()
        return outputs

    def _relative(self, path: Location) -> str:
        return relative(path.absolute(), self.path)

    def _save(self) -> None:
        write_bytes(self.path / MANIFEST_NAME, self.manifest.to_json())


def _linked_elsewhere(folder: Location, name: str) -> UsageError:
    return UsageError(
        f"{name} is a link to a folder elsewhere",
        where=folder,
        remedy="put a folder in its place, or name another folder",
    )


@contextlib.contextmanager
def _only_run(folder: Location) -> Iterator[None]:
    """Hold a folder's lock while its manifest and files are changed; folders not of this machine have none.

    Raises:
        UsageError: another run holds it.
    """
    if fcntl is None or not is_local(folder):
        yield
        return
    descriptor = os.open(str(folder), os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise UsageError("another run is writing here", where=folder, remedy="wait until it has ended") from error
    try:
        yield
    finally:
        os.close(descriptor)


def verify_folder(folder: Location) -> list[str]:
    """Return a sentence for each difference between a folder and its manifest, none where all is well.

    Raises:
        UsageError, DataError: as `read_manifest`.
    """
    manifest = read_manifest(folder)
    problems = [problem for path, record in manifest.files.items() for problem in _check_file(folder, path, record)]
    if not manifest.stages:
        return [*problems, UNFINISHED]
    cut = {path.parent for path in folder.rglob(f"{PARTIAL_PREFIX}*")}
    strangers = [path for path in sorted(_files_of(folder)) if path not in manifest.files]
    others = [path for path in strangers if (folder / path).parent not in cut]
    problems += [f"{path}: is not in the manifest; remove it, or build the folder again" for path in others]
    return [*problems, UNFINISHED] if len(others) < len(strangers) else problems


def _check_file(folder: Location, path: str, record: FileRecord) -> Iterator[str]:
    file = folder / path
    if not file.is_file():
        yield f"{path}: is missing; run the build again to restore it"
        return
    what = []
    if file_digest(file) != record.sha256:
        size = file.stat().st_size
        same = size == record.bytes
        what.append("its bytes changed" if same else f"{size:,} bytes where the manifest has {record.bytes:,}")
    if record.rows >= 0:
        try:
            with parquet_source(file) as source:
                rows = pq.read_metadata(source).num_rows
            if rows != record.rows:
                much = f"{abs(rows - record.rows):,} {'row' if abs(rows - record.rows) == 1 else 'rows'}"
                direction = "more" if rows > record.rows else "fewer"
                what.insert(0, f"{much} {direction} than the manifest: it has {rows:,}, not {record.rows:,}")
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a damaged file is the finding itself
            what.append(f"not a readable Parquet file ({reason(error)})")
    what += _other_versions([record.schema])
    if what:
        yield f"{path}: {', '.join(what)}; remove it and run the build again"


def _files_of(folder: Location) -> Iterator[str]:
    """Yield the files below a folder but for unfinished ones, caches, and those of builds in folders below it."""
    inner = [relative(path.parent, folder) + "/" for path in folder.rglob(MANIFEST_NAME) if path.parent != folder]
    for path in folder.rglob("*"):
        name = relative(path, folder)
        known = name == MANIFEST_NAME or name.startswith(tuple(inner)) or _is_partial(path, folder)
        if path.is_file() and not known and not path.name.startswith(CACHE_PREFIX):
            yield name


def _is_partial(path: Location, folder: Location) -> bool:
    """Return whether a file below a folder, or a folder between, has the name of something unfinished."""
    return any(name.startswith(PARTIAL_PREFIX) for name in relative(path, folder).split("/"))


def _differences(record: StageRecord, parameters: Mapping[str, Json], inputs: Mapping[str, str]) -> Iterator[str]:
    if record.version != __version__:
        yield f"it was built with version {record.version} and this is {__version__}"
    for name in sorted(set(record.parameters) | set(parameters)):
        before, now = record.parameters.get(name), parameters.get(name)
        if before != now:
            yield f"{name} was {json.dumps(before)} and is now {json.dumps(now)}"
    for name in sorted(set(record.inputs) | set(inputs)):
        if name not in inputs:
            yield f"input {name} is no longer given"
        elif name not in record.inputs:
            yield f"input {name} is new"
        elif record.inputs[name] != inputs[name]:
            yield f"input {name} changed"


def _other_versions(labels: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each schema of which this package writes and reads another version."""
    for label in sorted(set(labels)):
        current = schemas.ALL.get(label.partition("/")[0])
        if current is not None and current.label != label:
            yield f"a table is {label} and this version's are {current.label}"


def _is_part(name: str) -> bool:
    return fnmatch.fnmatchcase(name, "part-*.parquet")


def _clear_parts(folders: Iterable[Location], *, keep: set[Location]) -> None:
    """Remove the parts that a cut run left in a stage's folders."""
    for path in [path for folder in folders for path in folder.glob("part-*.parquet")]:
        if path not in keep and path.is_file():
            path.unlink()


def _clear_partial(folders: Iterable[Location], *, keep: AbstractSet[Location] = frozenset()) -> None:
    """Remove the unfinished files that a cut run, or a worker that died, left in a stage's folders."""
    for path in [path for folder in folders for path in folder.glob(f"{PARTIAL_PREFIX}*")]:
        if is_local(path) and path.is_dir():
            remove_folder(path)
        elif path not in keep and path.is_file():
            path.unlink(missing_ok=True)


def _remove_if_unused(folder: Location, *, with_folder: bool) -> None:
    """Remove a manifest beside which there is no file, the empty folders there, and if asked the folder itself."""
    manifest = folder / MANIFEST_NAME
    below: list[Location] = list(folder.rglob("*"))
    if any(path.is_file() and path != manifest for path in below):
        return
    manifest.unlink(missing_ok=True)
    folders = [path for path in sorted(below, reverse=True) if path.is_dir()] if is_local(folder) else []
    if with_folder:
        folders.append(folder)
    for path in folders:
        with contextlib.suppress(OSError):
            path.rmdir()


def _refuse_another_cut_run(folder: Location, fingerprint: str) -> None:
    """Raise `UsageError` where a folder holds finished jobs of a run that was cut, and that has another fingerprint.

    The fingerprint is empty for a stage that keeps no journal.
    """
    others = sum(1 for found in _fingerprints(folder) if found != fingerprint)
    if others:
        raise UsageError(
            f"the folder holds {others:,} finished parts of another run, which was cut: of another command, version, "
            "or with other parameters or inputs, or these in another order",
            where=folder,
            remedy="give its command again to go on with it, name another folder, or pass --overwrite to replace it",
        )


def _fingerprints(folder: Location) -> Iterator[str]:
    """Yield the fingerprint of each whole entry of a journal in a folder."""
    for entry in folder.glob(f"{_ENTRY}*"):
        try:
            yield str(json.loads(entry.read_bytes())["fingerprint"])
        except (OSError, ValueError, KeyError, TypeError):  # whatever is no entry of ours is not done
            continue


def _stands(path: Location, record: FileRecord) -> bool:
    return path.is_file() and path.stat().st_size == record.bytes


def _file_record(receipt: Receipt) -> FileRecord:
    return FileRecord(receipt.rows, receipt.bytes, receipt.sha256, receipt.schema)


def _receipt(path: Location, record: FileRecord) -> Receipt:
    return Receipt(path, record.rows, record.bytes, record.sha256, record.schema)


def _fields(record: FileRecord | StageRecord) -> dict[str, Json]:
    return {name: getattr(record, name) for name in record.__slots__}
