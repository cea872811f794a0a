"""Whole builds: every stage of a recipe in order, in one output folder with one manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlimages_dataset.augment.annotate import ANNOTATIONS_FOLDER, annotations_stage
from mlimages_dataset.augment.cooccurrence_stage import COOCCURRENCE, IMPLICATIONS_FILE, cooccurrence_stage
from mlimages_dataset.augment.labels_stage import LABELS_STAGE, LabelsSummary, labels_stage, split_statistics
from mlimages_dataset.augment.regions_stage import REGIONS_FOLDER, regions_stage
from mlimages_dataset.augment.simulation_stage import (
    PREDICTIONS_FOLDER,
    SIMULATION,
    simulated_files,
    simulation_stage,
)
from mlimages_dataset.core.errors import DataError, MLImagesError
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.records import UNFINISHED, read_manifest, summary_of
from mlimages_dataset.pipeline.stage import Engine, run
from mlimages_dataset.pipeline.verify import verify_folder
from mlimages_dataset.report.page import report_stage, told_of
from mlimages_dataset.report.reading import REPORT
from mlimages_dataset.tables.parquet import table_parts
from mlimages_dataset.vocab.stage import CATEGORIES_FILE, MAPPING_FILE, VOCABULARY, read_vocabulary, vocabulary_stage
from mlimages_dataset.vocab.validation import validate
from mlimages_dataset.vocab.wordnet import load_wordnet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.records import Manifest, StageOutcome
    from mlimages_dataset.pipeline.stage import Stage
    from mlimages_dataset.recipes.recipe import Recipe

_SHOWN_CLASSES = 5


def build_recipe(
    recipe: Recipe,
    folder: Location,
    *,
    overwrite: bool = False,
    engine: Engine = Engine(),  # noqa: B008 - frozen
    began: Callable[[str], None] = lambda stage: None,  # noqa: ARG005 - as it is called
    ended: Callable[[str, StageOutcome[Any]], None],
) -> None:
    """Build a recipe into a folder.

    Args:
        recipe: what to build.
        folder: a new or empty folder, or one that holds this build, finished or interrupted.
        overwrite: replace stages that were built with other parameters or inputs.
        engine: runs the parts of a stage.
        began: is called with each stage's name before its work.
        ended: is called with each stage's name and outcome.

    Raises:
        MLImagesError: an input, the recipe or the folder cannot be used; finished stages stay.
    """
    output = OutputFolder(folder, overwrite=overwrite)
    names = []
    for stage in stages(recipe, folder):
        began(stage.name)
        ended(stage.name, run(stage, output, engine))
        names.append(stage.name)
    output.keep_only([*names, REPORT])
    began(REPORT)
    ended(REPORT, run(report_stage(output), output, engine))


def stages(recipe: Recipe, folder: Location) -> Iterator[Stage[Any]]:
    """Yield the stages of a recipe except the report; each reads the output of those before it from the folder.

    Raises:
        MLImagesError: an input cannot be used.
    """
    vocabulary = folder / VOCABULARY
    yield vocabulary_stage(recipe.vocabulary, into=VOCABULARY)
    _held = read_vocabulary(vocabulary)  # while it is held, the stages below do not read it again
    collections = list(recipe.annotations)
    if recipe.simulation is not None:
        yield simulation_stage(vocabulary, recipe.simulation)
        collections += simulated_files(folder / SIMULATION)
    for given in collections:
        yield annotations_stage(vocabulary, given, into=f"{ANNOTATIONS_FOLDER}/{given.name}")
        if given.regions:
            yield regions_stage(vocabulary, given, into=f"{REGIONS_FOLDER}/{given.name}")
    annotations = {given.name: folder / ANNOTATIONS_FOLDER / given.name for given in collections}
    implications = None
    if recipe.cooccurrence is not None:
        pairs = recipe.cooccurrence
        annotated = annotations[pairs.annotations]
        simulated = folder / SIMULATION / PREDICTIONS_FOLDER
        predictions = pairs.predictions or (annotated if recipe.learns_from_complete_labels else simulated)
        yield cooccurrence_stage(vocabulary, annotated, predictions, pairs.thresholds, into=COOCCURRENCE)
        implications = folder / COOCCURRENCE / IMPLICATIONS_FILE
    yield labels_stage(vocabulary, list(annotations.values()), implications, recipe.labels, into=LABELS_STAGE)


def verify(folder: Location) -> list[str]:
    """Return a sentence for each difference between a folder and its manifest, and for each failed vocabulary check.

    If label tables differ, the categories with other numbers of images are listed too. A folder of `build_recipe` is
    unfinished if its report was not made from exactly its stages.

    Raises:
        UsageError, DataError: the folder has no manifest, or none that can be read.
    """
    problems = verify_folder(folder)
    manifest = read_manifest(folder)
    if problems:
        return [*problems, *_label_differences(folder, manifest, problems)]
    if f"{VOCABULARY}/{CATEGORIES_FILE}" in manifest.files:
        report = manifest.stages.get(REPORT)
        if report is None or dict(report.inputs) != told_of(OutputFolder(folder)):
            problems.append(UNFINISHED)
    for path in manifest.files:
        # Categories without a mapping are part of an export, not a vocabulary to build on.
        if path.endswith(CATEGORIES_FILE) and path.removesuffix(CATEGORIES_FILE) + MAPPING_FILE in manifest.files:
            vocabulary = read_vocabulary((folder / path).parent)
            problems += [f"{path}: {finding}" for finding in validate(vocabulary, load_wordnet())]
    return problems


def _label_differences(folder: Location, manifest: Manifest, problems: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each split of the labels that has a problem and other numbers of images per category."""
    if LABELS_STAGE not in manifest.stages:
        return
    record = manifest.stages[LABELS_STAGE]
    folders = {path.rpartition("/")[0] for path in record.outputs}
    damaged = {path for path in folders if any(problem.startswith(f"{path}/") for problem in problems)}
    if not damaged:
        return
    try:
        summary = summary_of(LABELS_STAGE, record, LabelsSummary)
    except DataError as error:
        yield f"{error}, to tell which categories have other numbers of images"
        return
    for path in sorted(damaged):
        recorded = (summary.val if path.endswith("val") else summary.train).images_of_class
        try:
            found = split_statistics(table_parts(folder / path), len(recorded)).images_of_class
        except MLImagesError:
            continue  # unreadable files are already reported
        different = np.flatnonzero(found != recorded)
        if len(different):
            first = ", ".join(f"{c} has {found[c]:,}, not {recorded[c]:,}" for c in different[:_SHOWN_CLASSES])
            more = ", ..." if len(different) > _SHOWN_CLASSES else ""
            yield f"{path}: {len(different):,} categories have other numbers of images: class_index {first}{more}"
