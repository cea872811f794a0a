"""A build's recipe: one TOML file, one frozen configuration. Unknown keys are errors that name the nearest known key.

Paths in a recipe are relative to its folder; ``packaged:NAME`` names a class list or file that comes with the package.
"""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass, fields
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from mlimages_dataset import samples
from mlimages_dataset.augment.annotate import AnnotatedFiles  # noqa: TC001 - the decoder reads it
from mlimages_dataset.augment.cooccurrence import PROBABILITY, STRENGTH
from mlimages_dataset.augment.cooccurrence_stage import Thresholds
from mlimages_dataset.augment.hidden_labels import HIDDEN_SHARE
from mlimages_dataset.augment.labels_stage import LabelOptions
from mlimages_dataset.augment.rules_stage import PRECISION, RuleOptions, idle_option
from mlimages_dataset.augment.simulation import Simulation  # noqa: TC001 - as above
from mlimages_dataset.augment.simulation_stage import SIMULATED_SOURCES
from mlimages_dataset.core.config import check_folder_name, read_config
from mlimages_dataset.core.errors import ConfigError, UsageError
from mlimages_dataset.core.locations import Location  # noqa: TC001 - as above
from mlimages_dataset.vocab.packaged import PACKAGED_CLASS_LISTS, packaged_class_list
from mlimages_dataset.vocab.stage import VocabularyFiles  # noqa: TC001 - as above
from mlimages_dataset.vocab.vocabulary import IMAGENET, OPEN_IMAGES, refuse_names

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


_SAMPLES = {"photographs.csv": samples.labels_csv, "coco.csv.gz": samples.coco_csv}
"""The packaged annotations by name."""


class Rule(enum.Enum):
    """What is learned from labels that occur together."""

    PAIRS = "pairs"
    REGRESSION = "regression"
    IMAGE = "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class CooccurrenceSource:
    """The data and thresholds for strong pairs.

    A number that the rule does not heed is refused, unless it is the default.

    Attributes:
        annotations: name of the annotated collection.
        predictions: folder of its `predictions` tables; None for the labels of a complete collection, which say what
            each image shows, or for the simulated ones.
        probability: of the rules `pairs` and `regression`: a prediction counts if its probability exceeds this.
        strength: of the rule `pairs`: a pair is strong if its conditional probability exceeds this.
        rule: `pairs`, as in the paper; `regression`, which learns what all labels of an image say together; or `image`,
            which also reads the predictions of each image: the collection is complete, and `predictions` are a
            teacher's of it and of all images that are to get labels by them.
        precision: of the rules `regression` and `image`: the share of the added labels that is to be right.
        hidden: of the rules `regression` and `image`: the share of the labels that images lack.
    """

    annotations: str
    predictions: Location | None = None
    probability: float = PROBABILITY
    strength: float = STRENGTH
    rule: Rule = Rule.PAIRS
    precision: float = PRECISION
    hidden: float = HIDDEN_SHARE

    def __post_init__(self) -> None:
        self.thresholds  # noqa: B018 - refuses other values
        self.rule_options  # noqa: B018 - as above
        if idle := idle_option(self.rule.value, self._thresholds_set()):
            raise ValueError(f"{idle} has no meaning with rule = {self.rule.value!r}")

    def _thresholds_set(self) -> list[str]:
        """Return the names of the thresholds that are not at their defaults."""
        numbers = [one for one in fields(self) if isinstance(one.default, float)]
        return [one.name for one in numbers if getattr(self, one.name) != one.default]

    @property
    def thresholds(self) -> Thresholds:
        """What makes a pair strong."""
        return Thresholds(probability=self.probability, strength=self.strength)

    @property
    def rule_options(self) -> RuleOptions:
        """What the rules `regression` and `image` are learned for."""
        return RuleOptions(
            precision=self.precision,
            probability=self.probability,
            hidden=self.hidden,
            pictures=self.rule is Rule.IMAGE,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectedPictures:
    """Pictures that a build copies into shards, and what they say of themselves.

    Attributes:
        sources: folders, archives and shards, as `mlimages-build images ingest` reads them.
        name: of the collection that they are.
        labels: what folders, archives and files beside pictures say of their classes is an annotated collection.
        classes: these classes are names, which are a class list called like the collection.
        class_folders: names of folders that are classes, although they are such as parts of collections have (`pics`).
        pictures_in: the name of folders that are no part of ids, as YOLO calls pictures in `images` and labels in
            `labels` alike; empty for none.
    """

    sources: tuple[Location, ...]
    name: str = "photos"
    labels: bool = True
    classes: bool = False
    class_folders: tuple[str, ...] = ()
    pictures_in: str = ""

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("sources is empty")
        check_folder_name("name", self.name)
        if self.classes and not self.labels:
            raise ValueError("classes needs labels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A whole build."""

    vocabulary: VocabularyFiles
    annotations: tuple[AnnotatedFiles, ...] = ()
    images: CollectedPictures | None = None
    cooccurrence: CooccurrenceSource | None = None
    labels: LabelOptions = LabelOptions()  # noqa: RUF009 - frozen
    simulation: Simulation | None = None

    @property
    def learns_from_complete_labels(self) -> bool:
        """Whether co-occurrence is learned from the labels of a complete collection alone."""
        pairs = self.cooccurrence
        if pairs is None or pairs.predictions is not None or pairs.rule is Rule.IMAGE:
            return False
        return any(one.complete for one in self.annotations if one.name == pairs.annotations)


def default_recipe() -> Recipe:
    """Return the packaged recipe: packaged class lists, photographs, and a sample of COCO's complete labels."""
    with as_file(files("mlimages_dataset.recipes") / "default.toml") as path:
        return read_recipe(path)


def read_recipe(path: Location) -> Recipe:
    """Return the recipe in a TOML file.

    Raises:
        ConfigError: there is no such file, it is not TOML, or a key or value is not one of a recipe.
    """
    packaged = functools.partial(packaged_file, where=path)
    recipe = read_config(Recipe, path, document="recipe", packaged=packaged)
    lists = recipe.vocabulary
    pictures = [recipe.images] if recipe.images is not None and recipe.images.labels else []
    collections: list[AnnotatedFiles | CollectedPictures] = [*pictures, *recipe.annotations]
    named = any(one.classes for one in collections)
    if not (lists.imagenet or lists.open_images or lists.classes or named):
        raise ConfigError("no class list in [vocabulary]", where=path, remedy="add imagenet, open_images or classes")
    _check_lists(lists, [one.name for one in collections if one.classes], recipe.annotations, path)
    names = [one.name for one in collections]
    names += SIMULATED_SOURCES if recipe.simulation else ()
    known = set(names)
    if len(known) < len(names):
        raise ConfigError("two annotated collections have the same name", where=path, remedy="name each differently")
    if not known:
        raise ConfigError("no annotations", where=path, remedy="add a table [[annotations]]")
    if recipe.cooccurrence is not None and recipe.cooccurrence.annotations not in known:
        raise ConfigError(
            f"cooccurrence.annotations is {recipe.cooccurrence.annotations!r}, which is no annotated collection",
            where=path,
            remedy=f"use one of {', '.join(sorted(known))}",
        )
    if recipe.cooccurrence is not None and not recipe.cooccurrence.predictions and not _has_predictions(recipe):
        remedy = "name a folder of predictions tables"
        if recipe.cooccurrence.rule is not Rule.IMAGE:
            remedy += ", or learn from a collection with complete = true"
        raise ConfigError("no cooccurrence.predictions", where=path, remedy=remedy)
    return recipe


def _check_lists(
    lists: VocabularyFiles, of_collections: Sequence[str], annotations: Sequence[AnnotatedFiles], path: Location
) -> None:
    """Refuse class lists of one name, and numbers of images or ids of a list that is none.

    Args:
        lists: those of the vocabulary.
        of_collections: names of those that collections make.
        annotations: the collections whose files may have the ids of a list.
        path: the recipe, for messages.

    Raises:
        ConfigError: there is one.
    """
    both = ((IMAGENET, lists.imagenet), (OPEN_IMAGES, lists.open_images))
    published = [name for name, one in both if one is not None]
    own = [*(name for name, _ in lists.classes), *of_collections]
    try:
        refuse_names(published, own, dict(lists.minimum_images))
    except UsageError as error:
        raise ConfigError(f"[vocabulary]: {error.what}", where=path, remedy=error.remedy) from error
    of_ids = {*published, *own, *([IMAGENET] if lists.finer is not None else [])}
    for number, given in enumerate(annotations):
        if given.ids_of is not None and given.ids_of not in of_ids:
            what = f"annotations[{number}].ids_of is {given.ids_of!r}, which is no class list"
            raise ConfigError(what, where=path, remedy=f"use one of {', '.join(sorted(of_ids))}")
        if given.complete and given.complete_for is None and len(of_ids) > 1 and not lists.corrections:
            what = f"annotations[{number}] ({given.name}) is complete for one class list, and none is named"
            raise ConfigError(what, where=path, remedy=f"add ids_of, one of {', '.join(sorted(of_ids))}")


def _has_predictions(recipe: Recipe) -> bool:
    """Return whether the build itself says what the images of its co-occurrence show."""
    return recipe.simulation is not None or recipe.learns_from_complete_labels


def packaged_file(name: str, *, where: Location | None = None) -> Path:
    """Return the path of a packaged file that recipes may name.

    Args:
        name: its name.
        where: the recipe, for messages.

    Raises:
        ConfigError: no packaged file has that name.
        UsageError: the package is imported from a zip archive.
    """
    if name in _SAMPLES:
        return _SAMPLES[name]()
    if name not in PACKAGED_CLASS_LISTS:
        remedy = f"use one of {', '.join((*PACKAGED_CLASS_LISTS, *_SAMPLES))}"
        raise ConfigError(f"there is no packaged file {name!r}", where=where, remedy=remedy)
    return packaged_class_list(name)
