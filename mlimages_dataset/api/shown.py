"""What is shown of an image or a category, as values, and as lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping  # noqa: TC003 - the encoder reads it
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_SHOWN_NAMES = 12
_SHOWN_PAIRS = 10
_SHOWN_ABSENCES = 10


@dataclass(frozen=True, slots=True)
class ShownLabel:
    """A label of an image: its category, confidence, origin (original, ancestor, ...), and why it is there."""

    class_index: int
    wnid: str
    name: str
    confidence: float
    origin: str
    why: str

    @property
    def first(self) -> str:
        """The first name of its category."""
        return self.name.partition(",")[0]

    def line(self, *, with_wnid: bool = False) -> str:
        """Return the label as a line; with the wnid, to tell its category from another of the same name."""
        name = f"{self.first} ({self.wnid})" if with_wnid else self.first
        if self.confidence == 0:
            return f"not {name}: {self.why}"
        return f"{name}{'' if self.confidence == 1 else f' {self.confidence:.2f}'}, {self.why}"


@dataclass(frozen=True, slots=True)
class ShownImage:
    """The labels that one source's annotations gave an image.

    Attributes:
        image_id: its id.
        split: train or val; empty if the table is of no split.
        source: the annotated collection.
        location: its URL or path, empty if no file states it.
        file: the shard or file with its picture, empty if there is none here.
        offset: where in the shard the picture begins, in bytes; -1 for a whole file, or if there is no picture.
        labels: its labels: annotated ones first, those absent last.
    """

    image_id: str
    split: str
    source: str
    location: str
    file: str
    offset: int
    labels: tuple[ShownLabel, ...]

    def lines(self) -> Iterator[str]:
        """Yield the image as lines."""
        yield f"image {self.image_id} ({', '.join(filter(None, (self.split, f'source {self.source}')))})"
        if self.location:
            yield f"  location: {self.location}"
        if self.file:
            yield f"  picture: {self.file}" + (f", from byte {self.offset:,}" if self.offset >= 0 else "")
        present = [one for one in self.labels if one.confidence > 0]
        absent = [one for one in self.labels if one.confidence == 0]
        n_of_name = Counter(one.first for one in self.labels)
        shown = (*present, *absent[:_SHOWN_ABSENCES])
        yield from (f"  {one.line(with_wnid=n_of_name[one.first] > 1)}" for one in shown)
        if len(absent) > _SHOWN_ABSENCES:
            yield f"  and {len(absent) - _SHOWN_ABSENCES:,} more absent categories"


@dataclass(frozen=True, slots=True)
class ShownName:
    """A category by index, wnid and name."""

    class_index: int
    wnid: str
    name: str

    @property
    def first(self) -> str:
        """The first name, with the wnid."""
        return f"{self.name.partition(',')[0]} ({self.wnid})"


@dataclass(frozen=True, slots=True)
class ShownPair:
    """A category that comes with another one.

    Attributes:
        other: the category.
        probability: the share of the images, in 0..1.
        support: images with both.
        images: images annotated with the antecedent; -1 if not known.
    """

    other: ShownName
    probability: float
    support: int
    images: int

    def line(self) -> str:
        """Return the pair's other category and counts as a line."""
        counts = (
            f"{self.support:,} of {self.images:,}" if self.images >= 0 else f"{100 * self.probability:.0f} % of the"
        )
        return f"{self.other.first}: {counts} images"


@dataclass(frozen=True, slots=True)
class ShownCategory:
    """A category.

    Attributes:
        name: its index, wnid and names.
        kind: what it is a kind of, in words, and its other names.
        parents: its nearest ancestors.
        children: the categories right below it.
        classes: the classes of sources that became it, as `source: name`.
        images: images in which it is present, by split.
        brings: categories that each of its annotated images gets.
        comes_with: categories whose annotated images get it.
        rule: when a rule adds it, in words; empty without one.
        examples: ids of images with it.
    """

    name: ShownName
    kind: str
    parents: tuple[ShownName, ...]
    children: tuple[ShownName, ...]
    classes: tuple[str, ...]
    images: Mapping[str, int]
    brings: tuple[ShownPair, ...]
    comes_with: tuple[ShownPair, ...]
    rule: str
    examples: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """Yield the category as lines."""
        yield f"category {self.name.name} ({self.name.wnid}, class {self.name.class_index})"
        yield f"  {self.kind}"
        counts = ", ".join(f"{n:,} in {split}" if split else f"{n:,}" for split, n in self.images.items())
        yield f"  images: {counts or 'none'}"
        yield from _listed("parents", [one.first for one in self.parents])
        yield from _listed("children", [one.first for one in self.children])
        yield from _listed("classes", self.classes)
        for title, pairs in (("images with it also show", self.brings), ("shown by images with", self.comes_with)):
            if pairs:
                yield f"  {title}:"
                yield from (f"    {one.line()}" for one in pairs[:_SHOWN_PAIRS])
            if len(pairs) > _SHOWN_PAIRS:
                yield f"    and {len(pairs) - _SHOWN_PAIRS:,} more"
        if self.rule:
            yield f"  added by a rule: {self.rule}"
        yield from _listed("for example", self.examples)


def _listed(title: str, names: Sequence[str]) -> Iterable[str]:
    if not names:
        return []
    more = f" and {len(names) - _SHOWN_NAMES:,} more" if len(names) > _SHOWN_NAMES else ""
    return [f"  {title}: {', '.join(names[:_SHOWN_NAMES])}{more}"]


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything that a text may mean: images, one for each source that annotates it, and categories."""

    images: tuple[ShownImage, ...]
    categories: tuple[ShownCategory, ...]

    def lines(self) -> list[str]:
        """Return what is shown as lines."""
        shown: tuple[ShownImage | ShownCategory, ...] = (*self.images, *self.categories)
        return [line for one in shown for line in one.lines()]

    def __str__(self) -> str:
        return "\n".join(self.lines())
