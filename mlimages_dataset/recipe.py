"""A build's recipe: one TOML file, one frozen configuration. Unknown keys are errors that name the nearest known key.

Paths in a recipe are relative to its folder; ``packaged:NAME`` names a class list or file that comes with the package.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from mlimages_dataset import samples
from mlimages_dataset.augment.ancestors import Absences
from mlimages_dataset.augment.cooccurrence import PROBABILITY, STRENGTH
from mlimages_dataset.augment.observations import Format  # noqa: TC001 - get_type_hints reads it
from mlimages_dataset.augment.simulation import Simulation  # noqa: TC001 - as above
from mlimages_dataset.augment.stage import Split
from mlimages_dataset.errors import ConfigError
from mlimages_dataset.locations import Location, location
from mlimages_dataset.vocab.stage import PACKAGED_CLASS_LISTS, VocabularyFiles, packaged_class_list

PACKAGED = "packaged:"
MOST_PER_CATEGORY = 1000
"""Validation images of a category that may be asked for: so many draws are held in memory for each."""
_PHOTOGRAPHS = "photographs.csv"
SIMULATED_SOURCES = ("imagenet-simulated", "open-images-simulated")
"""Names of the annotated collections that a simulation adds."""
_Config = TypeVar("_Config")


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
        _check_share("min_confidence", self.min_confidence)


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
        _check_share("probability", self.probability)
        _check_share("strength", self.strength)


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
    with as_file(files("mlimages_dataset") / "default.toml") as path:
        return read_recipe(path)


def read_recipe(path: Location) -> Recipe:
    """Return the recipe in a TOML file.

    Raises:
        ConfigError: there is no such file, it is not TOML, or a key or value is not one of a recipe.
    """
    try:
        content = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=path, remedy="check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"is not valid TOML ({error})", where=path, remedy="correct it there") from error
    reader = _Reader(path)
    recipe = reader.table(Recipe, content, "")
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


class _Reader:
    """Reads typed configurations out of a TOML document."""

    def __init__(self, path: Location) -> None:
        self._path = path

    def table(self, kind: type[_Config], content: object, key: str) -> _Config:
        """Return a configuration of dataclass `kind`, which the document holds under `key`."""
        if not isinstance(content, Mapping):
            raise self._error(f"{key} is not a table", f"write [{key}]")
        hints = get_type_hints(kind)
        fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]  # checked by callers
        for name in content:
            if name not in fields:
                nearest = difflib.get_close_matches(name, fields, 1)
                remedy = f"did you mean {nearest[0]}?" if nearest else f"use one of {', '.join(fields)}"
                raise self._error(f"unknown key {_dotted(key, name)}", remedy)
        for name, field in fields.items():
            if name not in content and field.default is dataclasses.MISSING:
                raise self._error(f"no {_dotted(key, name)}", "every recipe needs it")
        values = {name: self._value(hints[name], value, _dotted(key, name)) for name, value in content.items()}
        try:
            return kind(**values)
        except ValueError as error:
            raise self._error(_dotted(key, str(error)), "correct it") from error

    def _value(self, kind: Any, value: object, key: str) -> object:  # noqa: PLR0911 - one return a kind of value
        arguments = [a for a in getattr(kind, "__args__", ()) if a not in {type(None), Ellipsis}]
        origin = getattr(kind, "__origin__", None)
        if set(arguments) == set(get_args(Location)):
            return self._place(self._plain(str, value, key))
        if origin is None and arguments:  # X | None
            return self._value(arguments[0], value, key)
        if origin is tuple:
            return self._sequence(arguments, value, key)
        if dataclasses.is_dataclass(kind):
            return self.table(kind, value, key)  # type: ignore[arg-type]  # a class, not an instance
        if kind is Path:
            return self._file(self._plain(str, value, key), key)
        if isinstance(kind, type) and issubclass(kind, Enum):
            text = self._plain(str, value, key)
            choices = [member.value for member in kind]
            if text not in choices:
                raise self._error(f"{key} is {text!r}", f"use one of {', '.join(choices)}")
            return kind(text)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        return self._plain(kind, value, key)

    def _sequence(self, arguments: list[Any], value: object, key: str) -> tuple[object, ...]:
        inner = arguments[0]
        if getattr(inner, "__origin__", None) is tuple:  # pairs: a TOML table of name = value
            if not isinstance(value, Mapping):
                raise self._error(f"{key} is not a table", f"write {key} = {{ name = value }}")
            return tuple((name, self._value(inner.__args__[1], v, _dotted(key, name))) for name, v in value.items())
        if not isinstance(value, list):
            raise self._error(f"{key} is not a list", "write [...], or [[...]] for tables")
        return tuple(self._value(inner, v, f"{key}[{i}]") for i, v in enumerate(value))

    def _plain(self, kind: Any, value: object, key: str) -> Any:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self._error(f"{key} is {value!r}", f"give a {kind.__name__}")
        return value

    def _place(self, text: str) -> Location:
        if text.startswith(PACKAGED):
            return packaged_file(text.removeprefix(PACKAGED), where=self._path)
        return location(text) if "://" in text else self._path.parent / text

    def _file(self, text: str, key: str) -> Path:
        place = self._place(text)
        if not isinstance(place, Path):
            raise self._error(f"{key} is {text!r}, which is remote", "name a path of this machine")
        return place

    def _error(self, what: str, remedy: str) -> ConfigError:
        return ConfigError(what, where=self._path, remedy=remedy)


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


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}, which is not in 0..1")


def _dotted(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
