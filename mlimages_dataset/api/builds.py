"""Builds of a whole recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlimages_dataset.api.annotations import Annotations
from mlimages_dataset.api.arguments import ARGUMENTS
from mlimages_dataset.api.frames import place
from mlimages_dataset.api.labels import Labels
from mlimages_dataset.api.messages import told_as
from mlimages_dataset.api.pairs import Pairs, implications_table
from mlimages_dataset.api.rules import Rules
from mlimages_dataset.augment.annotate import ANNOTATIONS_FOLDER
from mlimages_dataset.augment.cooccurrence_stage import COOCCURRENCE
from mlimages_dataset.augment.labels_stage import LABELS_STAGE
from mlimages_dataset.augment.rules_stage import RULES_STAGE
from mlimages_dataset.core.arguments import check
from mlimages_dataset.pipeline.engine import unreported
from mlimages_dataset.pipeline.stage import Engine
from mlimages_dataset.recipes.build import RECIPE_FILE, build_recipe
from mlimages_dataset.recipes.decisions import decisions
from mlimages_dataset.recipes.pictures import IMAGES_FOLDER
from mlimages_dataset.recipes.recipe import default_recipe, read_recipe
from mlimages_dataset.report.page import REPORT_FILE
from mlimages_dataset.vocab.folder import VOCABULARY, read_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlimages_dataset.api.frames import PathLike
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.pipeline.records import StageOutcome
    from mlimages_dataset.recipes.decisions import Decision
    from mlimages_dataset.recipes.recipe import Recipe
    from mlimages_dataset.vocab.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Build:
    """The result of `run`.

    Attributes:
        folder: the output folder.
        vocabulary: the vocabulary.
        annotations: each annotated collection by name.
        pairs: the strong pairs, None if the recipe has no co-occurrence.
        labels: the augmented labels.
        report: the path of the report page.
        images: the folder of the pictures in shards, None if the recipe has no pictures.
        decisions: what needs a decision, by name.
        rules: the rules, None unless the recipe's co-occurrence has the rule `regression`.
    """

    folder: Location
    vocabulary: Vocabulary
    annotations: Mapping[str, Annotations]
    pairs: Pairs | None
    labels: Labels
    report: Location
    images: Location | None
    decisions: tuple[Decision, ...]
    rules: Rules | None = None


def run(
    recipe: PathLike | None = None,
    out: PathLike = "build",
    *,
    overwrite: bool = False,
    mapper: Mapper = map,
    progress: Callable[[int], None] = unreported,
    began: Callable[[str], None] = lambda stage: None,  # noqa: ARG005 - as it is called
    ended: Callable[[str, StageOutcome[Any]], None] = lambda stage, outcome: None,  # noqa: ARG005 - as it is called
) -> Build:
    """Build a recipe: vocabulary, annotations, pairs, labels and report. Finished stages are not run again.

    Args:
        recipe: a TOML file; None for the packaged recipe with packaged class lists and photographs.
        out: the output folder: new, empty, or of this build, finished or interrupted.
        overwrite: replace what was built with other parameters or inputs.
        mapper: runs parts; see `pipeline.engine.local`.
        progress: is called with numbers of images that were read or written, several times an image.
        began: is called with each stage's name before its work.
        ended: is called with each stage's name and outcome.

    Raises:
        MLImagesError: an input, the recipe or the folder cannot be used; finished stages stay.
    """
    check(ARGUMENTS, locals())
    folder = place(out, what="out").absolute()
    given = None if recipe is None else place(recipe, what="recipe").absolute()
    read = default_recipe() if given is None else read_recipe(given)
    # A folder's own recipe is a file of its build.
    text = given.read_bytes().decode("utf-8-sig") if given is not None and given == folder / RECIPE_FILE else ""
    engine = Engine(mapper=mapper, progress=progress)
    return built(read, folder, text=text, overwrite=overwrite, engine=engine, began=began, ended=ended)


def built(
    recipe: Recipe,
    folder: Location,
    *,
    text: str,
    overwrite: bool,
    engine: Engine,
    began: Callable[[str], None],
    ended: Callable[[str, StageOutcome[Any]], None],
) -> Build:
    """Build a recipe, whose `text` the folder keeps unless it is empty; for the rest see `run`."""
    outcomes: dict[str, StageOutcome[Any]] = {}

    def note(stage: str, outcome: StageOutcome[Any]) -> None:
        outcomes[stage] = outcome
        ended(stage, outcome)

    with told_as({}):
        build_recipe(recipe, folder, text=text, overwrite=overwrite, engine=engine, began=began, ended=note)
    vocabulary = read_vocabulary(folder / VOCABULARY)
    prefix = f"{ANNOTATIONS_FOLDER}/"
    annotations = {
        stage.removeprefix(prefix): Annotations(folder / stage, vocabulary, outcome)
        for stage, outcome in outcomes.items()
        if stage.startswith(prefix)
    }
    pairs: Pairs | None = None
    rules: Rules | None = None
    if COOCCURRENCE in outcomes:
        pairs = Pairs(folder / COOCCURRENCE, vocabulary, outcomes[COOCCURRENCE])
    if RULES_STAGE in outcomes:
        rules = Rules(folder / RULES_STAGE, vocabulary, outcomes[RULES_STAGE])
    applied = implications_table(rules if pairs is None else pairs, vocabulary)
    labels = Labels(folder / LABELS_STAGE, vocabulary, outcomes[LABELS_STAGE], pairs=applied)
    images = folder / IMAGES_FOLDER if IMAGES_FOLDER in outcomes else None
    return Build(
        folder, vocabulary, annotations, pairs, labels, folder / REPORT_FILE, images, tuple(decisions(outcomes)), rules
    )
