"""Class lists that win over others: what their owner says of an id counts, not what annotations call it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import ConfigError
from mlimages_dataset.vocab.normalisation import parse_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.sources.classes import SourceClass
    from mlimages_dataset.vocab.merging import ClassList


@dataclass(frozen=True, slots=True)
class Renamed:
    """A class that another list replaces under another name: perhaps another thing.

    Attributes:
        source_id: the id that both lists have.
        source: the list whose class does not count.
        name: what that list calls it.
        by: the list whose class counts.
        name_by: what that list calls it.
    """

    source_id: str
    source: str
    name: str
    by: str
    name_by: str

    @property
    def sentence(self) -> str:
        """Return which of the two counts."""
        return f"{self.source_id!r} is {self.name!r} in {self.source} and {self.name_by!r} in {self.by}, which counts"


def corrected(lists: Sequence[ClassList], corrections: Sequence[str]) -> tuple[list[ClassList], list[Renamed]]:
    """Return class lists without the classes that a list of corrections replaces, and those of other names.

    A class of a list of corrections replaces those with its id in all lists that are none, and in earlier lists of
    corrections. A list of which no class is left is left out.

    Args:
        lists: the class lists.
        corrections: names of such lists, the last of which wins.

    Raises:
        ConfigError: no list has such a name.
    """
    known = [one.source for one in lists]
    if unknown := [name for name in corrections if name not in known]:
        raise ConfigError(
            f"vocabulary.corrections names {unknown[0]!r}, which is no class list",
            remedy=f"use one of {', '.join(known)}",
        )
    winner = {
        each.source_id: (one.source, each)
        for name in corrections
        for one in lists
        if one.source == name
        for each in one.classes
    }
    kept: list[ClassList] = []
    renamed: list[Renamed] = []
    for one in lists:
        left = []
        for each in one.classes:
            by, other = winner.get(each.source_id, (one.source, each))
            if by == one.source or _is_same(each, other):
                left.append(each)
            elif each.name and other.name and parse_name(each.name) != parse_name(other.name):
                renamed.append(Renamed(each.source_id, one.source, each.name, by, other.name))
        kept += [replace(one, classes=tuple(left))] if left else []
    return kept, renamed


def _is_same(one: SourceClass, other: SourceClass) -> bool:
    return (one.name, one.stated) == (other.name, other.stated)
