"""Whole builds: every stage of a recipe in order, in one output folder with one manifest."""

from __future__ import annotations

import contextlib
import itertools
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mlimages_dataset.augment.annotate import ANNOTATIONS_FOLDER, AnnotatedFiles, annotations_stage
from mlimages_dataset.augment.cooccurrence_stage import COOCCURRENCE, IMPLICATIONS_FILE, cooccurrence_stage
from mlimages_dataset.augment.labels_stage import LABELS_STAGE, LabelsSummary, labels_stage, split_statistics
from mlimages_dataset.augment.regions_stage import REGIONS_FOLDER, refuse_no_boxes, regions_stage
from mlimages_dataset.augment.rules_stage import RULES_FILE, RULES_STAGE, rules_stage
from mlimages_dataset.augment.simulation_stage import (
    PREDICTIONS_FOLDER,
    SIMULATION,
    simulated_files,
    simulation_stage,
)
from mlimages_dataset.core.errors import DataError, MLImagesError
from mlimages_dataset.core.listed import first_of
from mlimages_dataset.core.locations import relative
from mlimages_dataset.images.own_members import LABELS_FILE
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.records import UNFINISHED, StageResult, read_manifest, summary_of
from mlimages_dataset.pipeline.stage import Engine, NoSummary, Stage, run
from mlimages_dataset.pipeline.verify import verify_folder
from mlimages_dataset.recipes.class_names import CLASSES, class_list_of, classes_stage
from mlimages_dataset.recipes.first_calls import compiled_meanwhile
from mlimages_dataset.recipes.pictures import (
    IMAGES_FOLDER,
    PICTURES,
    Known,
    images_stage,
    pictures_stage,
    states_labels,
)
from mlimages_dataset.recipes.recipe import Rule
from mlimages_dataset.report.page import report_stage, told_of
from mlimages_dataset.report.reading import REPORT
from mlimages_dataset.sources.annotation_files import FileSource
from mlimages_dataset.sources.class_files import annotations_in
from mlimages_dataset.sources.inputs import files_of
from mlimages_dataset.sources.registry import refuse_unheeded, source_named
from mlimages_dataset.tables.files import write_bytes
from mlimages_dataset.tables.parquet import table_parts
from mlimages_dataset.tables.parts import MANIFEST_NAME
from mlimages_dataset.vocab.folder import CATEGORIES_FILE, MAPPING_FILE, VOCABULARY, read_vocabulary
from mlimages_dataset.vocab.stage import vocabulary_stage
from mlimages_dataset.vocab.validation import validate
from mlimages_dataset.vocab.wordnet import load_wordnet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.records import Manifest, StageOutcome
    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.recipes.recipe import Recipe

RECIPE = "recipe"
"""The stage that keeps a recipe in its build's folder."""
RECIPE_FILE = "recipe.toml"
_SHOWN_CLASSES = 5


def build_recipe(
    recipe: Recipe,
    folder: Location,
    *,
    text: str = "",
    overwrite: bool = False,
    engine: Engine = Engine(),  # noqa: B008 - frozen
    began: Callable[[str], None] = lambda stage: None,  # noqa: ARG005 - as it is called
    ended: Callable[[str, StageOutcome[Any]], None],
) -> None:
    """Build a recipe into a folder.

    Args:
        recipe: what to build.
        folder: a new or empty folder, or one that holds this build, finished or interrupted.
        text: the recipe as TOML, which the folder is to hold; empty for none.
        overwrite: replace stages that were built with other parameters or inputs.
        engine: runs the parts of a stage.
        began: is called with each stage's name before its work.
        ended: is called with each stage's name and outcome.

    Raises:
        MLImagesError: an input, the recipe or the folder cannot be used; finished stages stay.
    """
    output = OutputFolder(folder, overwrite=overwrite)
    _refuse_tables_alone(output)
    _look_at_inputs(recipe)
    finished = REPORT in output.manifest.stages
    names = []
    counted = recipe.cooccurrence is not None and recipe.cooccurrence.rule is Rule.PAIRS
    loops = [ANNOTATIONS_FOLDER, *([COOCCURRENCE] if counted else []), LABELS_STAGE]
    with _half_replaced_told(output, finished=finished), output.held(), compiled_meanwhile(loops) as await_loops:
        if recipe.images is not None:
            copied = images_stage(recipe.images, folder)
            began(IMAGES_FOLDER)
            ended(IMAGES_FOLDER, run(copied, OutputFolder(folder / IMAGES_FOLDER, overwrite=overwrite), engine))
        # The recipe comes last: one that cannot be built is none of the folder.
        for stage in itertools.chain(stages(recipe, folder), [recipe_stage(text)] if text else []):
            began(stage.name)
            await_loops(stage.name)
            ended(stage.name, run(stage, output, engine))
            names.append(stage.name)
        output.keep_only([*names, REPORT])
        began(REPORT)
        ended(REPORT, run(report_stage(output), output, engine))


@contextlib.contextmanager
def _half_replaced_told(output: OutputFolder, *, finished: bool) -> Iterator[None]:
    """Tell with an error that a finished build was replaced in part, or one was begun, and how to go on."""
    before = output.manifest.stages
    try:
        yield
    except MLImagesError as error:
        told = ""
        if finished and output.manifest.stages != before:
            told = (
                f"the earlier build in {output.path} is replaced in part: run again with --overwrite when this is "
                "corrected, or with what was given before to have the earlier build again"
            )
        elif isinstance(error, DataError) and not finished and output.manifest.stages:
            told = f"a build is begun in {output.path}: run again with --overwrite when this is corrected"
        if told:
            for one in (error, error.in_command_words):
                if one is not None and (finished or "--overwrite" not in one.remedy):
                    one.remedy = "; ".join(filter(None, (one.remedy, told)))
        raise


def _look_at_inputs(recipe: Recipe) -> None:
    """Refuse files of collections, and tables of predictions, before the stages ahead of theirs take their time.

    Raises:
        UsageError, DataError: one is missing, or its format does not have or heed what is stated of it.
    """
    for given in recipe.annotations:
        refuse_unheeded(given.format, given.layout)
        if given.regions:
            refuse_no_boxes(given)
        files_of(given.format, given.files)
    if recipe.cooccurrence is not None and recipe.cooccurrence.predictions is not None:
        table_parts(recipe.cooccurrence.predictions)


def _refuse_tables_alone(output: OutputFolder) -> None:
    """Raise `UsageError` for the folder of a command that writes one table: a build would remove it."""
    of_builds = {RECIPE, REPORT, PICTURES}
    for name, record in output.manifest.stages.items():
        folder, _, _ = name.partition("/")
        if all(path.startswith(f"{folder}/") for path in record.outputs):
            of_builds.add(name)
    output.refuse_others(of_builds, "name a new or an empty folder for the build")


def stages(recipe: Recipe, folder: Location) -> Iterator[Stage[Any]]:
    """Yield the stages of a recipe except the report; each reads the output of those before it from the folder.

    The pictures of a recipe are in shards there already.

    Raises:
        MLImagesError: an input cannot be used.
    """
    vocabulary = folder / VOCABULARY
    collections = [*_stated_by_pictures(recipe, folder), *recipe.annotations]
    named = [given for given in collections if given.classes]
    for given in named:
        yield classes_stage(given, into=CLASSES)
    own = ((given.name, class_list_of(folder, given.name)) for given in named)
    yield vocabulary_stage(replace(recipe.vocabulary, classes=(*recipe.vocabulary.classes, *own)), into=VOCABULARY)
    _held = read_vocabulary(vocabulary)  # while it is held, the stages below do not read it again
    if recipe.simulation is not None:
        yield simulation_stage(vocabulary, recipe.simulation)
        collections += simulated_files(folder / SIMULATION)
    for given in collections:
        yield annotations_stage(vocabulary, given, into=f"{ANNOTATIONS_FOLDER}/{given.name}")
        if given.regions:
            yield regions_stage(vocabulary, given, into=f"{REGIONS_FOLDER}/{given.name}")
    annotations = {given.name: folder / ANNOTATIONS_FOLDER / given.name for given in collections}
    if recipe.images is not None:
        said = {path for given in recipe.annotations for path in given.files}
        lists = [(name, path) for name, path in recipe.vocabulary.classes if path not in said]
        yield pictures_stage(folder, collections, _beside_pictures(recipe), recipe.images.sources, lists)
    implications = teacher = None
    if recipe.cooccurrence is not None:
        pairs = recipe.cooccurrence
        annotated = annotations[pairs.annotations]
        simulated = folder / SIMULATION / PREDICTIONS_FOLDER
        predictions = pairs.predictions or (annotated if recipe.learns_from_complete_labels else simulated)
        if pairs.rule is not Rule.PAIRS:
            yield rules_stage(vocabulary, annotated, predictions, pairs.rule_options, into=RULES_STAGE)
            implications = folder / RULES_STAGE / RULES_FILE
            teacher = predictions if pairs.rule is Rule.IMAGE else None
        else:
            yield cooccurrence_stage(vocabulary, annotated, predictions, pairs.thresholds, into=COOCCURRENCE)
            implications = folder / COOCCURRENCE / IMPLICATIONS_FILE
    every = list(annotations.values())
    yield labels_stage(vocabulary, every, implications, recipe.labels, predictions=teacher, into=LABELS_STAGE)


def recipe_stage(text: str) -> Stage[NoSummary]:
    """Return the stage that writes a recipe into its build's folder."""

    def work(at: Workplace) -> StageResult[NoSummary]:
        return StageResult((write_bytes(at.out / RECIPE_FILE, text.encode()),), NoSummary())

    return Stage(name=RECIPE, parameters={"recipe": text}, inputs={}, work=work, summary=NoSummary, beside=True)


def _stated_by_pictures(recipe: Recipe, folder: Location) -> list[AnnotatedFiles]:
    """Return what the pictures of a recipe say of themselves as a collection, if they say anything.

    Raises:
        DataError: neither they nor anything else says what they show.
    """
    if recipe.images is None or not recipe.images.labels:
        return []
    if states_labels(folder):
        labels = folder / IMAGES_FOLDER / LABELS_FILE
        return [AnnotatedFiles(name=recipe.images.name, format="csv", files=(labels,), classes=recipe.images.classes)]
    if recipe.annotations:
        return []
    found = next(filter(None, map(annotations_in, recipe.images.sources)), None)
    raise DataError(
        "no picture says what it shows",
        where=recipe.images.sources[0],
        remedy=f"name {shlex.quote(str(found))} as --classes of start (in a recipe: in [[annotations]]), and add "
        "--overwrite, to read the annotations there"
        if found is not None
        else "put them into folders named after it, or name a CSV of image_id and label, or annotations (COCO, CVAT, "
        "VOC, LabelMe, YOLO), as --classes of start (in a recipe: in [[annotations]])",
    )


def _beside_pictures(recipe: Recipe) -> Known:
    """Return the recipe's own files that lie in its folders of pictures."""
    assert recipe.images is not None
    own = [(path, given.format) for given in recipe.annotations for path in given.files]
    own += [(path, "") for _, path in recipe.vocabulary.classes]
    names, below = set[str](), set[tuple[str, str]]()
    for (path, form), source in itertools.product(own, recipe.images.sources):
        if source in path.parents:
            names.add(relative(path, source))
        if form and (path == source or source in path.parents) and path.is_dir():
            folder = "" if path == source else f"{relative(path, source)}/"
            below |= {(folder, suffix) for suffix in _suffixes_of(form)}
    return Known(tuple(sorted(names)), tuple(sorted(below)))


def _suffixes_of(form: str) -> tuple[str, ...]:
    """Return the suffixes of files of a format, in lower case."""
    source = source_named(form)
    return (source.suffix, *source.suffixes_beside) if isinstance(source, FileSource) else source.suffixes


def verify(folder: Location) -> list[str]:
    """Return a sentence for each difference between a folder and its manifest, and for each failed vocabulary check.

    If label tables differ, the categories with other numbers of images are listed too. A folder of `build_recipe` is
    unfinished if its report was not made from exactly its stages.

    Raises:
        UsageError, DataError: the folder has no manifest, or none that can be read.
    """
    problems = verify_folder(folder)
    if (folder / IMAGES_FOLDER / MANIFEST_NAME).is_file():
        found = verify_folder(folder / IMAGES_FOLDER)
        problems += [f"{IMAGES_FOLDER}{': ' if one == UNFINISHED else '/'}{one}" for one in found]
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
            # Not `table_parts`, which refuses a folder without one of its parts.
            parts: list[Location] = sorted((folder / path).glob("part-*.parquet"))
            found = split_statistics(parts, len(recorded)).images_of_class
        except MLImagesError:
            continue  # unreadable files are already reported
        different = np.flatnonzero(found != recorded)
        if len(different):
            first = first_of((f"{c} has {found[c]:,}, not {recorded[c]:,}" for c in different), _SHOWN_CLASSES)
            yield f"{path}: {len(different):,} categories have other numbers of images: class_index {first}"
