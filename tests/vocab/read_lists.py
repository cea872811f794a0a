"""Class lists whose names were read: the collections, and small made ones."""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.vocab.normalisation import parse_name
from mlimages_dataset.vocab.readings import Readings, packaged_readings
from mlimages_dataset.vocab.vocabulary import OPEN_IMAGES
from tests.vocab.matching_truth import known_sources

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mlimages_dataset.vocab.elsewhere import ReadElsewhere
    from mlimages_dataset.vocab.matching import MatchContext
    from mlimages_dataset.vocab.normalisation import ParsedName
    from mlimages_dataset.vocab.readings import Reading
    from mlimages_dataset.vocab.wordnet import WordNet

SMALL_LISTS, SMALL = 40, 30
"""Number of small lists, and of names in each."""
SMALL_TITLE = "small lists"


@dataclass(frozen=True, slots=True)
class Listed:
    """A class list of which some classes were read."""

    name: str
    classes: Sequence[SourceClass]
    context: MatchContext
    truth: dict[str, Reading]


def read_lists(shared_data: Path, wordnet: WordNet) -> Iterator[Listed]:
    """Yield the collections that were read, and small lists of their names."""
    every = list(packaged_readings().by_id.values())
    known = {one.name: one for one in known_sources(shared_data, wordnet)}
    context = known["Open Images V1"].context
    for title in ("Open Images V1", "Open Images V6"):
        read = {row.source_id: row for row in every if row.source == OPEN_IMAGES}
        yield Listed(title, known[title].classes, known[title].context, read)
    for source in sorted({row.source for row in every} - {OPEN_IMAGES}):
        yield list_of(source, [row for row in every if row.source == source], context)
    chance, exact = random.Random(0), [row for row in every if row.relation == "exact"]  # noqa: S311 - a sample
    for _ in range(SMALL_LISTS):
        rows = [replace(row, source_id=str(i)) for i, row in enumerate(chance.sample(exact, SMALL))]
        yield list_of(SMALL_TITLE, rows, context)


def list_of(name: str, rows: Sequence[Reading], context: MatchContext) -> Listed:
    """Return a list of the names of readings."""
    classes = [SourceClass(row.source_id, row.name) for row in rows]
    return Listed(name, classes, context, {row.source_id: row for row in rows})


@functools.cache
def read_but_by(source: str) -> Mapping[ParsedName, ReadElsewhere]:
    """Return what the other collections read."""
    rows = packaged_readings().by_id
    return Readings({key: row for key, row in rows.items() if row.source != source}, {}).elsewhere


def with_read(one: Listed) -> Listed:
    """Return a list whose names have what other collections than that of the name read."""
    found = {parse_name(row.name): read_but_by(row.source) for row in one.truth.values()}
    read = {name: elsewhere[name] for name, elsewhere in found.items() if name in elsewhere}
    return replace(one, context=replace(one.context, read=read))
