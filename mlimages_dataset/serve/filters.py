"""Which images are asked for: a value that a page's address states, and that goes back into addresses.

A label matches if its category, origin and confidence do; an image matches if one of its labels does, and its source
and split do. Confidences are compared as float32, as tables hold them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np

from mlimages_dataset.core.decimals import nearest_float
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.tables.schemas import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlimages_dataset.vocab.vocabulary import Vocabulary

CATEGORY, BELOW, ORIGIN, LEAST, MOST, SOURCE, SPLIT, PICTURES, BEFORE, AFTER = (
    "category",
    "below",
    "origin",
    "from",
    "to",
    "source",
    "split",
    "pictures",
    "before",
    "after",
)
"""The names of a filter's parts in an address."""
_FILTER_NAMES = (CATEGORY, BELOW, ORIGIN, LEAST, MOST, SOURCE, SPLIT, PICTURES)
_YES = "yes"
_MOST_ROW = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which images are asked for; None and False stand for any.

    Attributes:
        category: class index of a label.
        below: a label of any category below it will do too.
        origin: of the label.
        least: the lowest confidence of the label; None for any above 0, as a label of confidence 0 is an absence.
        most: the highest confidence; None for 1.
        source: of the image's row.
        split: of the image's row.
        pictures: only images whose picture is at hand.
    """

    category: int | None = None
    below: bool = False
    origin: Origin | None = None
    least: float | None = None
    most: float | None = None
    source: str | None = None
    split: str | None = None
    pictures: bool = False

    @property
    def asks_for_labels(self) -> bool:
        """Whether an image must have a matching label; else those without any match too."""
        return any(one is not None for one in (self.category, self.origin, self.least, self.most))

    @property
    def is_any(self) -> bool:
        """Whether all images match."""
        return self == Filter()


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins: behind the row `after`, or it ends: in front of the row `before`. At most one is set."""

    after: int | None = None
    before: int | None = None


def read_filter(given: Mapping[str, str], vocabulary: Vocabulary) -> Filter:
    """Return the filter that an address states; empty values are none.

    Raises:
        UsageError: a value is none that the part may have, or no category has the name.
    """
    stated = {name: text.strip() for name, text in given.items() if text.strip()}
    if unknown := sorted(stated.keys() - {*_FILTER_NAMES, BEFORE, AFTER}):
        raise UsageError(f"there is no filter {unknown[0]!r}", remedy=f"use {', '.join(_FILTER_NAMES)}")
    least, most = (_confidence(name, stated.get(name)) for name in (LEAST, MOST))
    if least is not None and least > (1 if most is None else most):
        raise UsageError("the lowest confidence is above the highest", remedy="exchange them")
    return Filter(
        category=vocabulary.index(stated[CATEGORY]) if CATEGORY in stated else None,
        below=_flag(BELOW, stated) and CATEGORY in stated,
        origin=_origin(stated.get(ORIGIN)),
        least=least,
        most=most,
        source=stated.get(SOURCE),
        split=stated.get(SPLIT),
        pictures=_flag(PICTURES, stated),
    )


def read_cursor(given: Mapping[str, str]) -> Cursor:
    """Return where the page that an address states begins.

    Raises:
        UsageError: it is no row.
    """
    rows = {name: given[name] for name in (AFTER, BEFORE) if given.get(name)}
    if len(rows) > 1 or not all(text.isascii() and text.isdigit() and int(text) <= _MOST_ROW for text in rows.values()):
        raise UsageError("that is no page of these images", remedy="begin at the first page")
    return Cursor(**{name: int(text) for name, text in rows.items()})


def address(path: str, chosen: Filter, vocabulary: Vocabulary, **more: object) -> str:
    """Return the address of a page of images, such as `/?category=n02084071&after=48`."""
    wnid = None if chosen.category is None else vocabulary.categories[chosen.category].wnid
    stated = {
        CATEGORY: wnid,
        BELOW: _YES if chosen.below else None,
        ORIGIN: None if chosen.origin is None else chosen.origin.name.lower(),
        LEAST: number(chosen.least),
        MOST: number(chosen.most),
        SOURCE: chosen.source,
        SPLIT: chosen.split,
        PICTURES: _YES if chosen.pictures else None,
        **more,
    }
    text = urlencode({name: value for name, value in stated.items() if value is not None})
    return f"{path}?{text}" if text else path


def sentence(chosen: Filter, vocabulary: Vocabulary) -> str:
    """Return a filter in words, such as "dog or below, original annotation, confidence from 0.8"."""
    said = []
    if chosen.category is not None:
        said.append(first_name(vocabulary, chosen.category) + (" or below" if chosen.below else ""))
    if chosen.origin is not None:
        said.append(chosen.origin.words)
    if chosen.least is not None or chosen.most is not None:
        least = "above 0" if chosen.least is None else f"from {number(chosen.least)}"
        said.append(f"confidence {least}" + ("" if chosen.most is None else f" to {number(chosen.most)}"))
    said += [f"{name} {value}" for name, value in (("source", chosen.source), ("split", chosen.split)) if value]
    return ", ".join([*said, *(["with a picture"] if chosen.pictures else [])]) or "all images"


def without(chosen: Filter, *names: str) -> Filter:
    """Return a filter without some of its parts, given by the names of its attributes."""
    default = {field.name: field.default for field in fields(Filter)}
    changes: dict[str, Any] = {name: default[name] for name in names}
    return replace(chosen, **changes)


def first_name(vocabulary: Vocabulary, index: int) -> str:
    """Return the first of a category's names."""
    return vocabulary.categories[index].first_name


def _confidence(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    value = nearest_float(text.replace(",", "."))
    if not 0 <= value <= 1:
        raise UsageError(f"the confidence {name!r} is {text!r}", remedy="give a number from 0 to 1")
    return float(np.float32(value))


def number(value: float | None) -> str | None:
    """Return a confidence as short as float32 allows: 0.8 and not 0.800000011920929."""
    return None if value is None else str(np.float32(value)).removesuffix(".0")


def _origin(text: str | None) -> Origin | None:
    names = {origin.name.lower(): origin for origin in Origin}
    if text is not None and text not in names:
        raise UsageError(f"there is no origin {text!r}", remedy=f"use one of {', '.join(names)}")
    return None if text is None else names[text]


def _flag(name: str, stated: Mapping[str, str]) -> bool:
    if stated.get(name, _YES) != _YES:
        raise UsageError(f"{name} is {stated[name]!r}", remedy=f"use {_YES}, or leave it out")
    return name in stated
