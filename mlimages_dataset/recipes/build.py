"""Whole builds: every stage of a recipe in order, in one output folder with one manifest.

A stage whose parameters and inputs are on record, and whose files are there, is not run again. The commands that run
one stage call the same functions with a folder of their own.
"""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlimages_dataset.augment.cooccurrence import PROBABILITY, STRENGTH, strong_pairs
from mlimages_dataset.augment.ingest import annotate
from mlimages_dataset.augment.simulation import simulate
from mlimages_dataset.augment.stage import (
    IMPLICATIONS_FILE,
    PAIR_COUNTS_FILE,
    SPLITS,
    cooccurrence,
    label,
    split_statistics,
)
from mlimages_dataset.core.errors import DataError, MLImagesError, UsageError
from mlimages_dataset.pipeline.engine import unreported
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.journal import Journal
from mlimages_dataset.pipeline.records import UNFINISHED, StageOutcome, StageResult, Summary, read_manifest
from mlimages_dataset.pipeline.verify import verify_folder
from mlimages_dataset.recipes.recipe import SIMULATED_SOURCES, AnnotationSource
from mlimages_dataset.report.report import FIGURES_FOLDER, write_report
from mlimages_dataset.sources.observations import Format
from mlimages_dataset.tables.files import digests, prefixed, write_bytes
from mlimages_dataset.tables.label_columns import array_of
from mlimages_dataset.tables.parquet import read_table, table_digests, table_parts, write_table
from mlimages_dataset.tables.schemas import ANNOTATIONS as ANNOTATIONS_TABLE
from mlimages_dataset.tables.schemas import IMPLICATIONS, PAIR_COUNTS, PREDICTIONS, TableSchema
from mlimages_dataset.vocab.stage import (
    CATEGORIES_FILE,
    MAPPING_FILE,
    VOCABULARY,
    read_vocabulary,
    refuse_other_vocabulary,
    vocabulary_digests,
    write_tencent_vocabulary,
    write_vocabulary,
)
from mlimages_dataset.vocab.validation import validate
from mlimages_dataset.vocab.wordnet import load_wordnet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mlimages_dataset.augment.cooccurrence import StrongPair
    from mlimages_dataset.augment.simulation import Simulation
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.pipeline.records import Json, Manifest
    from mlimages_dataset.recipes.recipe import LabelOptions, Recipe
    from mlimages_dataset.vocab.stage import VocabularyFiles

SIMULATION, COOCCURRENCE, LABELS, REPORT = "simulation", "cooccurrence", "labels", "report"
ANNOTATIONS = "annotations"
PREDICTIONS_FOLDER = "predictions"
_SHOWN_CLASSES = 5
_OPEN_IMAGES_HEADER = ("ImageID", "Source", "LabelName", "Confidence")


def run(
    recipe: Recipe,
    folder: Location,
    *,
    overwrite: bool = False,
    mapper: Mapper = map,
    ended: Callable[[str, StageOutcome], None],
) -> None:
    """Build a recipe into a folder.

    Args:
        recipe: what to build.
        folder: a new or empty folder, or one that holds this build, whole or cut.
        overwrite: replace stages that were built with other parameters or inputs.
        mapper: runs the parts of a stage.
        ended: is called with each stage's name and outcome.

    Raises:
        MLImagesError: an input, the recipe or the folder cannot be used; what is finished stays.
    """
    output = OutputFolder(folder, overwrite=overwrite)
    vocabulary = folder / VOCABULARY
    ended(VOCABULARY, build_vocabulary(output, recipe.vocabulary, into=VOCABULARY))
    sources = list(recipe.annotations)
    if recipe.simulation is not None:
        ended(SIMULATION, build_simulation(output, vocabulary, recipe.simulation))
        sources += simulated_sources(folder / SIMULATION)
    for source in sources:
        stage = f"{ANNOTATIONS}/{source.name}"
        ended(stage, build_annotations(output, vocabulary, source, mapper=mapper, into=stage))
    annotations = {source.name: folder / ANNOTATIONS / source.name for source in sources}
    implications = None
    if recipe.cooccurrence is not None:
        pairs = recipe.cooccurrence
        predictions = pairs.predictions or folder / SIMULATION / PREDICTIONS_FOLDER
        outcome = build_cooccurrence(
            output,
            vocabulary,
            annotations[pairs.annotations],
            predictions,
            probability=pairs.probability,
            strength=pairs.strength,
            mapper=mapper,
            into=COOCCURRENCE,
        )
        ended(COOCCURRENCE, outcome)
        implications = folder / COOCCURRENCE / IMPLICATIONS_FILE
    outcome = build_labels(
        output,
        vocabulary,
        list(annotations.values()),
        implications=implications,
        options=recipe.labels,
        mapper=mapper,
        into=LABELS,
    )
    ended(LABELS, outcome)
    stages = [VOCABULARY, *(f"{ANNOTATIONS}/{name}" for name in annotations), LABELS, REPORT]
    stages += [SIMULATION] * (recipe.simulation is not None) + [COOCCURRENCE] * (recipe.cooccurrence is not None)
    output.keep_only(stages)
    ended(REPORT, build_report(output))


def build_vocabulary(output: OutputFolder, given: VocabularyFiles, *, into: str = "") -> StageOutcome:
    """Build a vocabulary from class lists; errors as `write_vocabulary`."""
    inputs = given.digests()
    return output.run(
        VOCABULARY,
        parameters={"minimum_images": dict(given.minimum_images)},
        inputs=inputs,
        work=lambda out: write_vocabulary(given, out, inputs),
        into=into,
    )


def build_published_vocabulary(output: OutputFolder, dictionary: Location) -> StageOutcome:
    """Build the published vocabulary from its dictionary; errors as `write_tencent_vocabulary`."""
    inputs = digests([dictionary])
    return output.run(
        VOCABULARY,
        parameters={"published": True},
        inputs=inputs,
        work=lambda out: write_tencent_vocabulary(dictionary, out, inputs),
    )


def build_simulation(output: OutputFolder, vocabulary: Location, how: Simulation) -> StageOutcome:
    """Write a simulated sample as raw files and a `predictions` table; errors as `simulate`."""
    inputs = vocabulary_digests(vocabulary)

    def work(out: Location) -> StageResult:
        sample = simulate(read_vocabulary(vocabulary), how)
        n_images = len(sample.predicted_ids)
        rows = pa.table(
            {
                "image_id": sample.predicted_ids,
                "source": ["simulated"] * n_images,
                "location": [""] * n_images,
                "labels": array_of(sample.predictions),
            },
            schema=PREDICTIONS.arrow,
        ).sort_by("image_id")
        return StageResult(
            (
                write_bytes(out / "imagenet.txt", _lines(sample.imagenet_lines)),
                write_bytes(out / "open-images.csv", _csv(_OPEN_IMAGES_HEADER, sample.open_images_rows)),
                write_table(out / PREDICTIONS_FOLDER / "part-00000.parquet", rows, PREDICTIONS, inputs),
            )
        )

    return output.run(
        SIMULATION, parameters=asdict(how), inputs=inputs, work=work, into=SIMULATION, folders=("", PREDICTIONS_FOLDER)
    )


def simulated_sources(folder: Location) -> list[AnnotationSource]:
    """Return the annotated collections that a simulation wrote."""
    imagenet, open_images = SIMULATED_SOURCES
    return [
        AnnotationSource(name=imagenet, format=Format.IMAGENET, files=(folder / "imagenet.txt",)),
        AnnotationSource(name=open_images, format=Format.OPEN_IMAGES, files=(folder / "open-images.csv",)),
    ]


def build_annotations(
    output: OutputFolder,
    vocabulary: Location,
    source: AnnotationSource,
    *,
    schema: TableSchema = ANNOTATIONS_TABLE,
    mapper: Mapper = map,
    progress: Callable[[int], None] = unreported,
    into: str = "",
) -> StageOutcome:
    """Map an annotated collection, or a model's predictions, onto a vocabulary; errors as `annotate`."""
    missing = [path for path in source.files if not path.exists()]
    if missing:
        raise UsageError("there is no such file", where=missing[0], remedy="check the path")
    inputs = {**vocabulary_digests(vocabulary), **prefixed("files", digests(source.files))}
    stage = f"{schema.name}/{source.name}"
    parameters: dict[str, Json] = {
        "format": source.format.value,
        "ids_of": source.ids_of,
        "min_confidence": source.min_confidence,
    }
    # The name is in every row, and one folder may be tried with several.
    journal = Journal.of(output.path / into, {**parameters, "stage": stage}, inputs)
    return output.run(
        stage,
        parameters=parameters,
        inputs=inputs,
        journal=journal,
        work=lambda out: annotate(
            read_vocabulary(vocabulary),
            source.format,
            source.files,
            out,
            source=source.name,
            ids_of=source.ids_of,
            min_confidence=source.min_confidence,
            schema=schema,
            inputs=inputs,
            journal=journal,
            mapper=mapper,
            progress=progress,
        ),
        into=into,
    )


def build_cooccurrence(
    output: OutputFolder,
    vocabulary: Location,
    annotations: Location,
    predictions: Location,
    *,
    probability: float = PROBABILITY,
    strength: float = STRENGTH,
    mapper: Mapper = map,
    progress: Callable[[int], None] = unreported,
    into: str = "",
) -> StageOutcome:
    """Find the strong pairs of annotated and predicted categories; errors as `cooccurrence`."""
    inputs = {
        **vocabulary_digests(vocabulary),
        **table_digests(ANNOTATIONS, annotations),
        **table_digests(PREDICTIONS_FOLDER, predictions),
    }
    refuse_other_vocabulary(inputs, [annotations, predictions])
    return output.run(
        COOCCURRENCE,
        parameters={"probability": probability, "strength": strength},
        inputs=inputs,
        work=lambda out: cooccurrence(
            read_vocabulary(vocabulary),
            annotations,
            predictions,
            out,
            probability=probability,
            strength=strength,
            inputs=inputs,
            mapper=mapper,
            progress=progress,
        ),
        into=into,
    )


def build_labels(
    output: OutputFolder,
    vocabulary: Location,
    annotations: Sequence[Location],
    *,
    implications: Location | None = None,
    options: LabelOptions,
    mapper: Mapper = map,
    progress: Callable[[int], None] = unreported,
    into: str = "",
) -> StageOutcome:
    """Augment annotations and split them; errors as `label`."""
    inputs = vocabulary_digests(vocabulary)
    for number, folder in enumerate(annotations, 1):
        inputs |= table_digests(f"{ANNOTATIONS} {number}", folder)
    if implications is not None:
        inputs |= digests([implications])
    refuse_other_vocabulary(inputs, [*annotations, *([] if implications is None else [implications])])
    if len(set(annotations)) < len(annotations):
        raise UsageError("a folder of annotations is given twice", where=annotations[-1], remedy="name each once")
    parameters: dict[str, Json] = {**asdict(options), "absences": options.absences.value}
    journal = Journal.of(output.path / into, parameters, inputs)
    return output.run(
        LABELS,
        parameters=parameters,
        inputs=inputs,
        folders=("", *SPLITS),
        journal=journal,
        work=lambda out: label(
            read_vocabulary(vocabulary),
            annotations,
            out,
            implications=implications,
            split=options.split,
            absences=options.absences,
            inputs=inputs,
            journal=journal,
            mapper=mapper,
            progress=progress,
        ),
        into=into,
    )


def build_report(output: OutputFolder) -> StageOutcome:
    """Write the report of a folder whose other stages are done, unless it tells of exactly these.

    Raises:
        UsageError: the folder lacks a stage that the report is about.
    """
    folder, stages = output.path, output.manifest.stages
    for needed in (VOCABULARY, LABELS):
        if needed not in stages:
            raise UsageError(f"has no stage {needed}", where=folder, remedy="finish mlimages-build run first")

    def work(out: Location) -> StageResult:
        pairs = _strong_pairs_of(folder / COOCCURRENCE) if COOCCURRENCE in stages else []
        return write_report(read_vocabulary(folder / VOCABULARY), pairs, output.manifest, out)

    inputs = _told_of(output)
    return output.run(REPORT, parameters={}, inputs=inputs, work=work, folders=("", FIGURES_FOLDER))


def _told_of(output: OutputFolder) -> dict[str, str]:
    """Return the digest of each stage that a report tells of: all but the report itself."""
    return {f"stage {stage}": output.content_digest(stage) for stage in output.manifest.stages if stage != REPORT}


def _strong_pairs_of(folder: Location) -> list[StrongPair]:
    implications = read_table(folder / IMPLICATIONS_FILE, IMPLICATIONS)
    return strong_pairs(implications, read_table(folder / PAIR_COUNTS_FILE, PAIR_COUNTS), where=folder)


def verify(folder: Location) -> list[str]:
    """Return a sentence for each difference between a folder and its manifest, and each check its vocabulary fails.

    Where tables of labels differ, the categories with other numbers of images are told too. A folder of `run` whose
    report does not tell of exactly its stages has not ended.

    Raises:
        UsageError, DataError: the folder has no manifest, or none that can be read.
    """
    problems = verify_folder(folder)
    manifest = read_manifest(folder)
    if problems:
        return [*problems, *_label_differences(folder, manifest, problems)]
    if f"{VOCABULARY}/{CATEGORIES_FILE}" in manifest.files:
        report = manifest.stages.get(REPORT)
        if report is None or dict(report.inputs) != _told_of(OutputFolder(folder)):
            problems.append(UNFINISHED)
    for path in manifest.files:
        # Categories without a mapping are what an export took along: no vocabulary to build on.
        if path.endswith(CATEGORIES_FILE) and path.removesuffix(CATEGORIES_FILE) + MAPPING_FILE in manifest.files:
            vocabulary = read_vocabulary((folder / path).parent)
            problems += [f"{path}: {finding}" for finding in validate(vocabulary, load_wordnet())]
    return problems


def _label_differences(folder: Location, manifest: Manifest, problems: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each split of the labels with a problem in which categories have other image counts."""
    stage = manifest.stages.get(LABELS)
    for split in SPLITS if stage is not None else ():
        assert stage is not None
        inside = {path.rpartition("/")[0] for path in stage.outputs if path.rpartition("/")[0].endswith(split)}
        for path in inside:
            if not any(problem.startswith(f"{path}/") for problem in problems):
                continue
            try:
                recorded = Summary(LABELS, stage.summary).part(split).integers("images_of_class")
            except DataError as error:
                yield f"{error}, to tell which categories have other numbers of images"
                continue
            try:
                found = split_statistics(table_parts(folder / path), len(recorded)).images_of_class
            except MLImagesError:
                continue  # what cannot be read is told already
            different = np.flatnonzero(found != recorded)
            if len(different):
                first = ", ".join(f"{c} has {found[c]:,}, not {recorded[c]:,}" for c in different[:_SHOWN_CLASSES])
                more = ", ..." if len(different) > _SHOWN_CLASSES else ""
                yield f"{path}: {len(different):,} categories have other numbers of images: class_index {first}{more}"


def _lines(lines: Sequence[str]) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


def _csv(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()
