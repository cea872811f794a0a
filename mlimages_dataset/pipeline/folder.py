"""An output folder: it runs stages and keeps its manifest correct.

A stage is not run again if its parameters and inputs equal those in the manifest and its files exist. The manifest is
written atomically after a stage's last file, so an interrupted stage never looks finished.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from typing import TYPE_CHECKING, Any, cast

from mlimages_dataset.core.decoding import Json, encode
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.listed import first_of
from mlimages_dataset.core.locations import (
    folder_stays,
    is_inside,
    is_local,
    paths_outside,
    relative,
    remove_folder,
)
from mlimages_dataset.pipeline.journal import Finished, Journal, refuse_interrupted_run
from mlimages_dataset.pipeline.records import (
    Manifest,
    StageOutcome,
    StageRecord,
    StageResult,
    file_record,
    other_versions,
    read_manifest,
    receipt_of,
    stands,
)
from mlimages_dataset.tables.files import PARTIAL_PREFIX, Receipt, remove_unfinished, write_bytes, write_errors
from mlimages_dataset.tables.parts import BEGUN_PREFIX, MANIFEST_NAME, begun_mark, is_part, refuse_inside_table
from mlimages_dataset.version import __version__

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None  # type: ignore[assignment]
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from mlimages_dataset.core.locations import Location


_COMMAND = "command"
_SHOWN_DIFFERENCES = 3
"""Stands for a stage in the name of the mark of a command with several stages."""


class OutputFolder:
    """An output folder opened for building: it runs stages and keeps the manifest correct.

    Args:
        folder: a new or empty folder, or one with a manifest.
        overwrite: let a stage with other parameters or inputs replace the recorded one.

    Raises:
        UsageError: the folder holds files but no manifest, so it belongs to something else.
    """

    def __init__(self, folder: Location, *, overwrite: bool = False) -> None:
        # Absolute: the workers of an engine may have other working folders.
        self.path = folder.absolute()
        self._overwrite = overwrite
        self._is_held = False
        if (folder / MANIFEST_NAME).is_file():
            self.manifest = read_manifest(folder)
            return
        if folder.exists() and not folder.is_dir():
            raise UsageError(
                "is a file where a folder should be", where=folder, remedy="remove or rename it, or name another place"
            )
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
        work: Callable[[Location], StageResult[Any]],
        into: str = "",
        beside: bool = False,
        folders: Sequence[str] = ("",),
        journal: Journal | None = None,
        jobs_of: Callable[[Sequence[Receipt]], Iterable[tuple[str, Finished]]] | None = None,
    ) -> StageOutcome[Mapping[str, Json]]:
        """Return a stage's outcome; do its work first unless it is already finished with these inputs and parameters.

        Args:
            stage: the stage's name in the manifest.
            parameters: everything except the inputs and the package's version that decides the output.
            inputs: SHA-256 by name.
            work: is called with the folder to write into.
            into: that folder, relative to the output folder.
            beside: the folder may have other stages, although the work writes into the folder itself.
            folders: those below `into` into which the work writes; parts of an interrupted run are removed there.
            journal: the journal in `into`, for work that keeps one.
            jobs_of: returns the jobs whose complete output is among some files of the finished stage. With it, a stage
                that has lost files repeats only the jobs of these files.

        Raises:
            UsageError: the folder holds another build of this stage, finished or interrupted, and `overwrite` is not
                set; or it holds what another stage wrote, where this one writes; or a folder into which it writes is a
                link to elsewhere; or another run is writing here.
        """
        with self._alone():
            wanted = cast("Mapping[str, Json]", json.loads(json.dumps(parameters)))
            target = self.path / into
            written = [target / name if name else target for name in folders]
            self._refuse_to_write(stage, into, folders, alone=not into and not beside)
            standing = self.manifest.stages.get(stage)
            if standing is not None:
                written_as = [self.manifest.files[path].schema for path in standing.outputs]
                differences = [*_differences(standing, wanted, inputs), *other_versions(written_as)]
                intact = self.standing(stage)
                if not differences and len(intact) == len(standing.outputs):
                    if self._mark(stage).exists():  # of a run that was killed just before its end
                        self._end(stage, written)
                    return StageOutcome(standing, False, standing.summary)
                if differences and not self._overwrite:
                    raise UsageError(
                        f"the folder holds another build: in stage {stage}, {_told(differences)}",
                        where=self.path,
                        remedy="name another folder, or pass --overwrite to replace it",
                    )
                self._begin(stage, written)
                if differences or journal is None or jobs_of is None:
                    self._forget(stage)
                else:
                    self._reopen(stage, journal, jobs_of(intact))
            if not self._overwrite:
                refuse_interrupted_run(target, "" if journal is None else journal.fingerprint)
            resumed = set() if journal is None else journal.standing()
            self._begin(stage, written)
            _clear_partial(written, keep=resumed)
            _clear_parts(written, keep=resumed | {self.path / path for path in self.manifest.files})
            start = time.monotonic()
            with self._refusals(stage, standing):
                result = work(target)
            record = StageRecord(
                parameters=wanted,
                inputs=dict(inputs),
                outputs=tuple(self._relative(receipt.path) for receipt in result.receipts),
                seconds=round(time.monotonic() - start, 3),
                summary=cast("Mapping[str, Json]", json.loads(json.dumps(result.summary))),
            )
            files = {self._relative(receipt.path): file_record(receipt) for receipt in result.receipts}
            if outside := paths_outside(self.path, files):  # in a folder into which the stage did not write before
                raise _linked_elsewhere(self.path, outside[0].rpartition("/")[0])
            self.manifest = Manifest({**self.manifest.files, **files}, {**self.manifest.stages, stage: record})
            self._save()
            self._end(stage, written)
            return StageOutcome(record, True, record.summary)

    def standing(self, stage: str) -> tuple[Receipt, ...]:
        """Return the receipts of the files of a finished stage that exist with the recorded size."""
        known = ((self.path / path, self.manifest.files[path]) for path in self.manifest.stages[stage].outputs)
        return tuple(receipt_of(path, record) for path, record in known if stands(path, record))

    def reopen(self, stage: str, journal: Journal, jobs: Iterable[tuple[str, Finished]]) -> None:
        """Turn a finished stage into an interrupted one, of which only these jobs are finished; its files stay."""
        with self._alone():
            self._reopen(stage, journal, jobs)

    def content_digest(self, stage: str) -> str:
        """Return the SHA-256 of the manifest's record of a finished stage and its files, without the time it took."""
        record = self.manifest.stages[stage]
        files = {path: encode(self.manifest.files[path]) for path in record.outputs}
        content = json.dumps(
            {**cast("Mapping[str, Json]", encode(record)), "seconds": 0, "outputs": files}, sort_keys=True
        )
        return hashlib.sha256(content.encode()).hexdigest()

    def keep_only(self, stages: Collection[str]) -> None:
        """Forget every other stage, and remove its files."""
        with self._alone():
            for stage in [name for name in self.manifest.stages if name not in stages]:
                self._forget(stage)
            wanted = {self._mark(stage) for stage in (_COMMAND, *stages)}
            for mark in [path for path in self.path.glob(f"{BEGUN_PREFIX}*") if path not in wanted]:
                mark.unlink(missing_ok=True)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for all stages of a command, here and in other output folders in it.

        It is an output folder from then on. Until the command has ended, `verify` says that it has not.

        Raises:
            UsageError: another run is writing here.
        """
        mark, before = self._mark(_COMMAND), self.manifest
        was_begun = mark.exists()
        with self._alone():
            self._is_held = True
            try:
                yield
            except UsageError as error:
                if not was_begun and error.__cause__ is None and self.manifest == before:
                    mark.unlink(missing_ok=True)
                raise
            else:
                mark.unlink(missing_ok=True)
            finally:
                self._is_held = False

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the folder's lock, and read the manifest that the last run left.

        A new folder gets its manifest here, which marks the folder as an output folder even if the run is interrupted.
        If the work fails before it has written anything, the manifest is removed again.
        """
        if self._is_held:
            yield
            return
        made = not self.path.exists()
        if is_local(self.path):
            with write_errors(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
        with _only_run(self.path):
            for name in (MANIFEST_NAME, BEGUN_PREFIX):
                remove_unfinished(self.path, f"*-{name}*")
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

    def _refuse_to_write(self, stage: str, into: str, folders: Sequence[str], *, alone: bool) -> None:
        """Raise `UsageError` if a stage may not write here; `alone` is whether no other may be in the folder."""
        self._refuse_links(into, folders)
        if alone:
            self.refuse_others({stage}, f"name another folder for {stage}")
        refuse_inside_table(self.path)
        target = self.path / into
        self._refuse_foreign_parts(stage, [target / name if name else target for name in folders])

    def _refuse_links(self, into: str, folders: Sequence[str]) -> None:
        """Raise `UsageError` if a folder to write into is a link that leads out: files there would be removed."""
        for name in ("/".join(filter(None, (into, folder))) for folder in ("", *folders)):
            if not folder_stays(self.path, name):
                raise _linked_elsewhere(self.path, name)

    def refuse_others(self, known: Collection[str], remedy: str) -> None:
        """Raise `UsageError` if the folder holds what a stage that is not known wrote."""
        if others := [name for name in self.manifest.stages if name not in known]:
            raise UsageError(
                f"the folder holds another build: {others[0]}"
                + (f" and {len(others) - 1} more" if len(others) > 1 else ""),
                where=self.path,
                remedy=remedy,
            )

    def _refuse_foreign_parts(self, stage: str, folders: Sequence[Location]) -> None:
        for other, record in self.manifest.stages.items():
            for path in record.outputs if other != stage else ():
                if (self.path / path).parent in folders and is_part((self.path / path).name):
                    raise UsageError(
                        f"the folder holds another build: {path} belongs to stage {other}",
                        where=self.path,
                        remedy=f"name another folder for {stage}",
                    )

    def _begin(self, stage: str, folders: Iterable[Location]) -> None:
        """Leave the mark of a stage, which names its folders, and that of the command, which may finish some tables."""
        if self._is_held:
            write_bytes(self._mark(_COMMAND), b"")
        write_bytes(self._mark(stage), begun_mark(self._relative(folder) for folder in folders))

    def _end(self, stage: str, folders: Iterable[Location]) -> None:
        """Remove what a stage that is on record has left: its journal, what workers that died wrote, and its mark."""
        _clear_partial(folders)
        self._mark(stage).unlink(missing_ok=True)

    def _mark(self, stage: str) -> Location:
        """Return the file that says that a stage has begun and not ended, for `verify` and readers of its tables."""
        return self.path / f"{BEGUN_PREFIX}{stage.replace('/', '-')}"

    @contextlib.contextmanager
    def _refusals(self, stage: str, standing: StageRecord | None) -> Iterator[None]:
        """Take back that a new stage has begun if its work refuses the request; a full disk is no refusal."""
        try:
            yield
        except UsageError as error:
            if standing is None and error.__cause__ is None:
                self._mark(stage).unlink(missing_ok=True)
            raise

    def _forget(self, stage: str) -> None:
        """Remove a stage and its files from the manifest first, then from the folder."""
        for path in self._without(stage):
            if is_inside(self.path, path):  # checked again: the manifest was read when the run began
                with write_errors(self.path / path):
                    (self.path / path).unlink(missing_ok=True)

    def _reopen(self, stage: str, journal: Journal, jobs: Iterable[tuple[str, Finished]]) -> None:
        # The journal first: if this is interrupted, each file is still in the journal or in the manifest.
        for job, finished in jobs:
            journal.record(job, finished)
        self._without(stage)

    def _without(self, stage: str) -> set[str]:
        """Remove a stage and its files from the manifest, and return the files."""
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
    """Hold a folder's lock while its manifest and files are changed; remote folders have no lock.

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


def _told(differences: Sequence[str]) -> str:
    return first_of(differences, _SHOWN_DIFFERENCES, sign="; ")


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


def _clear_parts(folders: Iterable[Location], *, keep: set[Location]) -> None:
    """Remove the parts that an interrupted run left in a stage's folders."""
    for path in [path for folder in folders for path in folder.glob("part-*.parquet")]:
        if path not in keep and path.is_file():
            path.unlink()


def _clear_partial(folders: Iterable[Location], *, keep: AbstractSet[Location] = frozenset()) -> None:
    """Remove the unfinished files that an interrupted run, or a worker that died, left in a stage's folders."""
    for path in [path for folder in folders for path in folder.glob(f"{PARTIAL_PREFIX}*")]:
        if is_local(path) and path.is_dir():
            remove_folder(path)
        elif path not in keep and path.is_file():
            path.unlink(missing_ok=True)


def _remove_if_unused(folder: Location, *, with_folder: bool) -> None:
    """Remove a manifest without other files beside it, empty folders, and on request the folder itself."""
    manifest = folder / MANIFEST_NAME
    marks: set[Location] = set(folder.glob(f"{BEGUN_PREFIX}*"))
    below: list[Location] = [path for path in folder.rglob("*") if path not in marks]
    if any(path.is_file() and path != manifest for path in below):
        return
    for mark in marks:
        mark.unlink(missing_ok=True)
    manifest.unlink(missing_ok=True)
    folders = [path for path in sorted(below, reverse=True) if path.is_dir()] if is_local(folder) else []
    if with_folder:
        folders.append(folder)
    for path in folders:
        with contextlib.suppress(OSError):
            path.rmdir()
