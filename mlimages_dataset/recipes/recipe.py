"""A build's recipe: one TOML file, one frozen configuration. Unknown keys are errors that name the nearest known key.

Paths in a recipe are relative to its folder; ``packaged:NAME`` names a class list or file that comes with the package.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from mlimages_dataset import samples
from mlimages_dataset.augment.ancestors import Absences
from mlimages_dataset.augment.cooccurrence import PROBABILITY, STRENGTH
from mlimages_dataset.augment.simulation import Simulation  # noqa: TC001 - as above
from mlimages_dataset.augment.stage import Split
from mlimages_dataset.core.config import ConfigReader, check_share, read_toml
from mlimages_dataset.core.errors import ConfigError
from mlimages_dataset.core.locations import Location  # noqa: TC001 - get_type_hints reads it
from mlimages_dataset.sources.observations import Format  # noqa: TC001 - get_type_hints reads it
from mlimages_dataset.vocab.stage import PACKAGED_CLASS_LISTS, VocabularyFiles, packaged_class_list

if TYPE_CHECKING:
    from pathlib import Path

MOST_PER_CATEGORY = 1000
"""Validation images of a category that may be asked for: so many draws are held in memory for each."""
_PHOTOGRAPHS = "photographs.csv"
SIMULATED_SOURCES = ("imagenet-simulated", "open-images-simulated")
"""Names of the annotated collections that a simulation adds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationSource:
    """One annotated collection.

    Attributes:
        name: the table's folder and source column.
        format: the files' format.
        files: the files, or folders of images by wnid.
        ids_of: the mapping's source whose ids the files use; None for the format's own.
        min_confidence: machines' confidences below this are left out.
    """

    name: str
    format: Format
    files: tuple[Location, ...]
    ids_of: str | None = None
    min_confidence: float = 0.0

    def __post_init__(self) -> None:
        if not self.name or self.name in {".", ".."} or "/" in self.name or "\\" in self.name:
            raise ValueError(f"name is {self.name!r}, which names no folder")
        if not self.files:
            raise ValueError("files is empty")
        check_share("min_confidence", self.min_confidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class CooccurrenceSource:
    """Where strong pairs come from.

    Attributes:
        annotations: name of the annotated collection.
        predictions: folder of its `predictions` tables; None for the simulated ones.
        probability: what a prediction's probability must exceed.
        strength: what the conditional probability of a pair must exceed.
    """

    annotations: str
    predictions: Location | None = None
    probability: float = PROBABILITY
    strength: float = STRENGTH

    def __post_init__(self) -> None:
        check_share("probability", self.probability)
        check_share("strength", self.strength)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelOptions:
    """How labels are augmented and split."""

    validation_images: int = 0
    validation_images_per_category: int = 5
    salt: str = "mlimages"
    absences: Absences = Absences.EXPAND

    def __post_init__(self) -> None:
        if self.validation_images < 0:
            raise ValueError(f"validation_images is {self.validation_images}, which is less than 0")
        if not 1 <= self.validation_images_per_category <= MOST_PER_CATEGORY:
            raise ValueError(
                f"validation_images_per_category is {self.validation_images_per_category}, "
                f"which is not in 1..{MOST_PER_CATEGORY}"
            )

    @property
    def split(self) -> Split:
        """Return the validation split."""
        return Split(images=self.validation_images, per_category=self.validation_images_per_category, salt=self.salt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A whole build."""

    vocabulary: VocabularyFiles
    annotations: tuple[AnnotationSource, ...]
    cooccurrence: CooccurrenceSource | None = None
    labels: LabelOptions = LabelOptions()
    simulation: Simulation | None = None


def default_recipe() -> Recipe:
    """Return the packaged recipe, made of packaged facts, photographs and a simulated sample."""
    with as_file(files("mlimages_dataset.recipes") / "default.toml") as path:
        return read_recipe(path)


def read_recipe(path: Location) -> Recipe:
    """Return the recipe in a TOML file.

    Raises:
        ConfigError: there is no such file, it is not TOML, or a key or value is not one of a recipe.
    """
    reader = ConfigReader(path, document="recipe", packaged=functools.partial(packaged_file, where=path))
    recipe = reader.table(Recipe, read_toml(path))
    lists = recipe.vocabulary
    if not (lists.imagenet or lists.open_images or lists.classes):
        raise ConfigError("no class list in [vocabulary]", where=path, remedy="add imagenet, open_images or classes")
    names = [source.name for source in recipe.annotations] + list(SIMULATED_SOURCES if recipe.simulation else ())
    known = set(names)
    if len(known) < len(names):
        raise ConfigError("two annotation sources share a name", where=path, remedy="name each differently")
    if not known:
        raise ConfigError("no annotations", where=path, remedy="add a table [[annotations]]")
    if recipe.cooccurrence is not None and recipe.cooccurrence.annotations not in known:
        raise ConfigError(
            f"cooccurrence.annotations is {recipe.cooccurrence.annotations!r}, which is no annotation source",
            where=path,
            remedy=f"use one of {', '.join(sorted(known))}",
        )
    if recipe.cooccurrence is not None and recipe.cooccurrence.predictions is None and recipe.simulation is None:
        raise ConfigError("no cooccurrence.predictions", where=path, remedy="name a folder of predictions tables")
    return recipe


def packaged_file(name: str, *, where: Location | None = None) -> Path:
    """Return the path of a packaged file that recipes may name.

    Args:
        name: its name.
        where: the recipe, for messages.

    Raises:
        ConfigError: there is none of that name.
        UsageError: the package is imported from a zip archive.
    """
    if name == _PHOTOGRAPHS:
        return samples.labels_csv()
    if name not in PACKAGED_CLASS_LISTS:
        remedy = f"use one of {', '.join((*PACKAGED_CLASS_LISTS, _PHOTOGRAPHS))}"
        raise ConfigError(f"there is no packaged file {name!r}", where=where, remedy=remedy)
    return packaged_class_list(name)
