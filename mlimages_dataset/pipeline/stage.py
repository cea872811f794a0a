"""A stage as a value: everything that decides its output, and the work. `run` is the only way to run it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from mlimages_dataset.core.decoding import encode
from mlimages_dataset.core.locations import as_text
from mlimages_dataset.pipeline.engine import unreported
from mlimages_dataset.pipeline.journal import Journal
from mlimages_dataset.pipeline.records import StageOutcome, StageResult, summary_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mlimages_dataset.core.decoding import Json
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.pipeline.folder import OutputFolder
    from mlimages_dataset.pipeline.journal import Finished
    from mlimages_dataset.tables.files import Inputs, Receipt

_SummaryT = TypeVar("_SummaryT")
_SummaryT_co = TypeVar("_SummaryT_co", covariant=True)


@dataclass(frozen=True, slots=True)
class NoSummary:
    """The summary of a stage that counts nothing."""

    def line(self) -> str:
        """Return nothing."""
        return ""

    def findings(self) -> list[str]:
        """Return no sentence."""
        return []

    def lines(self) -> list[str]:
        """Return no line."""
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """How a stage is run.

    Attributes:
        mapper: runs parts of the work, as `map` does.
        progress: is called with the number of images done.
    """

    mapper: Mapper = map
    progress: Callable[[int], None] = unreported


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where a stage's work is done.

    Attributes:
        out: the folder to write into; absolute, because the workers of an engine may have other working folders.
        inputs: SHA-256 of the inputs by name, for the metadata of tables.
        journal: holds the finished jobs of an interrupted run; stores nothing for a stage without jobs.
        engine: runs the parts.
    """

    out: Location
    inputs: Inputs = field(default_factory=dict)
    journal: Journal = field(default_factory=Journal.storing_nothing)
    engine: Engine = field(default_factory=Engine)

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", self.out.absolute())


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage(Generic[_SummaryT_co]):
    """One step from inputs to files of an output folder.

    Attributes:
        name: its name in the manifest.
        parameters: everything except the inputs and the package's version that decides the output: a dataclass, or
            values by name.
        inputs: SHA-256 by name.
        work: writes the files and returns their receipts and a summary.
        summary: the summary's dataclass.
        into: the folder to write into, relative to the output folder.
        beside: it writes beside the folders of a build's other stages, as its report does. Any other stage that writes
            into the output folder itself is the only one there.
        folders: folders below `into` into which the work writes; parts that an interrupted run left there are removed.
        resumes: the work consists of jobs (`Journal.once`), and after an interruption continues with the unfinished
            ones.
        jobs_of: returns the jobs whose complete output is among some files of the finished stage. With it, a stage that
            has lost files repeats only the jobs of these files.
    """

    name: str
    parameters: object
    inputs: Inputs
    work: Callable[[Workplace], StageResult[_SummaryT_co]]
    summary: type[_SummaryT_co]
    into: str = ""
    beside: bool = False
    folders: tuple[str, ...] = ("",)
    resumes: bool = False
    jobs_of: Callable[[Sequence[Receipt]], Iterable[tuple[str, Finished]]] | None = None

    def __post_init__(self) -> None:
        # Names of inputs are those of files, which may hold any bytes; a manifest is UTF-8.
        object.__setattr__(self, "inputs", {as_text(name): digest for name, digest in self.inputs.items()})


def run(stage: Stage[_SummaryT], folder: OutputFolder, engine: Engine = Engine()) -> StageOutcome[_SummaryT]:
    """Return a stage's outcome; do its work first unless it is already finished with these inputs and parameters.

    Raises:
        UsageError: the folder holds another build of this stage, finished or interrupted, and may not be overwritten;
            or it holds what another stage wrote, where this one writes; or a folder into which it writes is a link to
            elsewhere; or another run is writing here.
        DataError: the manifest's summary of a finished stage does not have the form that this version writes.
        MLImagesError: whatever the work raises.
    """
    journal = journal_of(stage, folder)

    def work(out: Location) -> StageResult[Json]:
        result = stage.work(Workplace(out, stage.inputs, journal, engine))
        return StageResult(result.receipts, encode(result.summary))

    outcome = folder.run(
        stage.name,
        parameters=_parameters(stage),
        inputs=stage.inputs,
        work=work,
        into=stage.into,
        beside=stage.beside,
        folders=stage.folders,
        journal=journal if stage.resumes else None,
        jobs_of=stage.jobs_of,
    )
    return StageOutcome(outcome.record, outcome.fresh, summary_of(stage.name, outcome.record, stage.summary))


def journal_of(stage: Stage[Any], folder: OutputFolder) -> Journal:
    """Return the journal of a stage in an output folder; it stores nothing for a stage without jobs."""
    if not stage.resumes:
        return Journal.storing_nothing()
    return Journal.of(folder.path / stage.into, {**_parameters(stage), "stage": stage.name}, stage.inputs)


def _parameters(stage: Stage[Any]) -> Mapping[str, Json]:
    return cast("Mapping[str, Json]", encode(stage.parameters))
