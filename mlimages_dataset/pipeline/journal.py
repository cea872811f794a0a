"""The journal of an unfinished stage: its finished jobs, which the next run need not do again."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, cast

from mlimages_dataset.core.decoding import RECORDS, UndecodableError, encode
from mlimages_dataset.core.documents import parse_json, written_json
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.locations import (
    paths_outside,
    refuse_special,
    relative,
)
from mlimages_dataset.pipeline.records import FileRecord, file_record, receipt_of, stands
from mlimages_dataset.tables.files import PARTIAL_PREFIX, Receipt, write_bytes
from mlimages_dataset.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mlimages_dataset.core.decoding import Json
    from mlimages_dataset.core.locations import Location


class JobResult(Protocol):
    """A dataclass with the receipts of the files that a job wrote."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """The receipts of the files that the job wrote."""


_ResultT = TypeVar("_ResultT", bound=JobResult)

_ENTRY = f"{PARTIAL_PREFIX}done-"


@dataclass(frozen=True, slots=True)
class Finished:
    """The files that a finished job of a stage wrote, and its other results."""

    receipts: tuple[Receipt, ...]
    content: Mapping[str, Json]

    @classmethod
    def of(cls, result: JobResult) -> Finished:
        """Return the journal's form of a job's result."""
        return cls(result.receipts, cast("Mapping[str, Json]", encode(replace(result, receipts=()))))


@dataclass(frozen=True, slots=True)
class Journal:
    """The finished jobs of an unfinished stage, which the next run after an interruption need not do again.

    An entry is a file, written atomically after the files of its job; it is removed when the stage is in the manifest.

    Attributes:
        folder: the stage's folder.
        fingerprint: a digest of everything that decides the stage's output; entries with another one are ignored.
    """

    folder: Location
    fingerprint: str

    @classmethod
    def of(cls, folder: Location, parameters: Mapping[str, Json], inputs: Mapping[str, str]) -> Journal:
        """Return the journal of a stage with these parameters and inputs; the order of the inputs numbers its jobs."""
        decisive = json.dumps([__version__, parameters, list(inputs.items())], sort_keys=True)
        return cls(folder, hashlib.sha256(decisive.encode()).hexdigest())

    @classmethod
    def storing_nothing(cls) -> Journal:
        """Return a journal for work that is never resumed."""
        return cls(Path(), "")

    @property
    def keeps(self) -> bool:
        """Whether entries are stored."""
        return bool(self.fingerprint)

    def once(self, job: str, work: Callable[[], _ResultT], kind: type[_ResultT]) -> _ResultT:
        """Return the result of a job: that of an earlier run if it finished the job, else that of `work`.

        Args:
            job: the job's name.
            work: writes the job's files; its result is a dataclass of this kind.
            kind: a dataclass whose field `receipts` has the receipts of those files.
        """
        done = self.done(job, kind)
        if done is not None:
            return done
        result = work()
        self.record(job, Finished.of(result))
        return result

    def done(self, job: str, kind: type[_ResultT]) -> _ResultT | None:
        """Return the recorded result of a job, None unless the job is finished and its files exist with their sizes."""
        finished = self.finished(job)
        if finished is not None:
            with contextlib.suppress(UndecodableError):  # a file that is no entry counts as unfinished
                return replace(RECORDS.decode(kind, finished.content), receipts=finished.receipts)
        return None

    def record(self, job: str, finished: Finished) -> None:
        """Write the entry of a job whose files are all written."""
        if not self.keeps:
            return
        files = {relative(r.path, self.folder): encode(file_record(r)) for r in finished.receipts}
        entry: Json = {"fingerprint": self.fingerprint, "files": files, "content": finished.content}
        write_bytes(self._entry(job), written_json(entry))

    def forget(self, job: str) -> None:
        """Remove the entry of a job, if any, so that its files no longer count as finished."""
        self._entry(job).unlink(missing_ok=True)

    def finished(self, job: str) -> Finished | None:
        """Return a job's entry, None unless the job is finished and its files exist with their sizes."""
        return self._read(self._entry(job)) if self.keeps else None

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
        refuse_special(entry)
        try:
            content = parse_json(entry.read_bytes())
            if paths_outside(self.folder, content["files"]):
                return None
            files = {self.folder / path: FileRecord(**record) for path, record in content["files"].items()}
            said, fingerprint = content["content"], content["fingerprint"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # a file that is no entry does not count
            return None
        if fingerprint != self.fingerprint or not all(stands(path, one) for path, one in files.items()):
            return None
        return Finished(tuple(receipt_of(path, one) for path, one in files.items()), said)


def refuse_interrupted_run(folder: Location, fingerprint: str) -> None:
    """Raise `UsageError` if a folder holds finished jobs of an interrupted run with another fingerprint.

    The fingerprint is empty for a stage that keeps no journal.
    """
    others = sum(1 for found in _fingerprints(folder) if found != fingerprint)
    if others:
        raise UsageError(
            f"the folder holds {others:,} finished parts of an interrupted run with another command, version, "
            "parameters, inputs, or order of inputs",
            where=folder,
            remedy="run that command again to continue it, name another folder, or pass --overwrite to replace it",
        )


def _fingerprints(folder: Location) -> Iterator[str]:
    """Yield the fingerprint of each readable entry of a journal in a folder."""
    for entry in folder.glob(f"{_ENTRY}*"):
        refuse_special(entry)
        try:
            yield str(parse_json(entry.read_bytes())["fingerprint"])
        except (OSError, ValueError, KeyError, TypeError):  # a file that is no entry counts as unfinished
            continue
