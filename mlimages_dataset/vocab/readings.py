"""What class names of well-known collections mean in WordNet 3.0, as a language model read them.

``data/senses.csv`` has the names with several senses or none, read twice without knowledge of the other reading, and a
third time where the two differ; a few were read again with all of a list at hand. A name with one concrete sense has a
row only where it means something else; all names of COCO and VOC have one. A row is a fact: `exact` means the synset,
`narrower` a kind of it for which WordNet has no synset, `drop` neither. `readings` has the answers in their order, `<`
before a broader synset, `-` for none. The last of three or more counts. Where one of two implies the other, the broader
synset does.
"""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass, field, replace
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

from mlimages_dataset.vocab.certainty import BY_HAND, READ_ALIKE, READ_ALONE, READ_JOINED, READ_PARENT
from mlimages_dataset.vocab.elsewhere import EVERYDAY, ReadElsewhere
from mlimages_dataset.vocab.normalisation import parse_name, without_shelf
from mlimages_dataset.vocab.reviewed import Reviewed, ReviewedMatch, packaged_reviewed, parse_reviewed
from mlimages_dataset.vocab.vocabulary import OPEN_IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mlimages_dataset.sources.classes import SourceClass
    from mlimages_dataset.vocab.normalisation import ParsedName

_FILE = "senses.csv"


@dataclass(frozen=True, slots=True)
class Reading:
    """The meaning of one name.

    Attributes:
        source: the collection.
        source_id: its own id of the class, or the name where it has none.
        name: as the collection spells it.
        relation: `exact`, `narrower` or `drop`.
        wnid: the synset; empty for `drop`.
        readings: the answers, first to last.
        reason: of the answer that counts.
    """

    source: str
    source_id: str
    name: str
    relation: str
    wnid: str
    readings: tuple[str, ...]
    reason: str

    @property
    def evidence(self) -> str:
        """The reason, and how far the readings agree."""
        first, second, *later = self.readings
        if first != second and not later:
            return f"{self.reason} (the broader of two readings)"
        agree = self.readings.count(self.readings[-1])
        return f"{self.reason} ({agree} of {len(self.readings)} readings agree)"

    @property
    def probability(self) -> float:
        """That the name means what it was read as, by how far the readings agree."""
        *earlier, last = self.readings
        if len(earlier) > 1:
            return READ_JOINED if last in earlier else READ_ALONE
        return READ_ALIKE if self.relation == "exact" else READ_PARENT


@dataclass(frozen=True)
class Readings:
    """The readings of names, by the id of a class or by its name.

    Attributes:
        by_id: by source and id.
        by_name: by source and the letters and digits of its names (`letters_of`).
    """

    by_id: Mapping[tuple[str, str], Reading] = field(default_factory=lambda: MappingProxyType({}))
    by_name: Mapping[tuple[str, str], Reading] = field(default_factory=lambda: MappingProxyType({}))

    @functools.cached_property
    def elsewhere(self) -> Mapping[ParsedName, ReadElsewhere]:
        """The reading of each name that more collections give than any other; none where the most give several.

        Where they do, that of `EVERYDAY` counts. Collections for which a name was dropped do not count.
        """
        sources: dict[ParsedName, dict[tuple[str, bool], set[str]]] = {}
        for reading in self.by_id.values():
            if reading.wnid:
                meanings = sources.setdefault(parse_name(reading.name), {})
                meanings.setdefault((reading.wnid, reading.relation == "narrower"), set()).add(reading.source)
        found = {}
        for name, meanings in sources.items():
            most = max(map(len, meanings.values()))
            chosen = [(meaning, where) for meaning, where in meanings.items() if len(where) == most]
            chosen = [one for one in chosen if EVERYDAY in one[1]] or chosen
            if len(chosen) == 1:
                (wnid, broader), where = chosen[0]
                found[name] = ReadElsewhere(wnid, broader, tuple(sorted(where)))
        return found

    def matches(self, source: str, classes: Iterable[SourceClass]) -> dict[str, ReviewedMatch]:
        """Return the decisions on a source's classes by id; on none of which the list itself says what it means."""
        found = {}
        collection = source.lower()
        for one in classes:
            if any(one.stated):
                continue
            by_id = self.by_id.get((collection, one.source_id))
            reading = by_id or self.by_name.get((collection, letters_of(one.name)))
            if reading is not None:
                found[one.source_id] = ReviewedMatch(
                    source=source,
                    source_id=one.source_id,
                    wnid=reading.wnid,
                    reason=reading.evidence,
                    where=f"{_FILE}, {reading.source} {reading.source_id}",
                    broader=reading.relation == "narrower",
                    probability=reading.probability,
                )
        return found


@functools.cache
def packaged_readings() -> Readings:
    """Return the packaged readings."""
    text = (files("mlimages_dataset.vocab") / "data" / _FILE).read_text("utf-8")
    rows = [
        Reading(**{**row, "readings": tuple(row["readings"].split("|"))})  # type: ignore[arg-type]  # the columns are the fields
        for row in csv.DictReader(text.splitlines())
    ]
    by_id = {(row.source, row.source_id): row for row in rows}
    # Open Images' ids never change, and some of its names belong to several.
    named = {
        (row.source, letters_of(name)): row
        for row in rows
        if row.source != OPEN_IMAGES
        for name in (row.source_id, row.name)
    }
    return Readings(by_id, named)


def letters_of(name: str) -> str:
    """Return what all files of a collection write alike: the letters and digits of a name, in lower case.

    >>> letters_of("/c/church/indoor"), letters_of("church (indoor)"), letters_of("Church-indoor")
    ('churchindoor', 'churchindoor', 'churchindoor')
    """
    return "".join(filter(str.isalnum, without_shelf(name).lower()))


def packaged_decisions() -> Reviewed:
    """Return the packaged decisions by hand, and the readings that count where there is none."""
    by_hand = parse_reviewed(packaged_reviewed(), "reviewed.toml")
    matches = tuple(replace(match, probability=BY_HAND) for match in by_hand.matches)
    return replace(by_hand, matches=matches, readings=packaged_readings())


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the readings of some names agree.

    Attributes:
        names: number of names.
        agree: both readings are the same.
        broader: one names a synset above the other's, and counts.
        third: decided by a third reading, or a later one.
        joined: of these, the last is one of those before.
    """

    names: int
    agree: int
    broader: int
    third: int
    joined: int

    @classmethod
    def of(cls, readings: Iterable[Reading]) -> Agreement:
        """Return the agreement of some readings."""
        answers = [row.readings for row in readings]
        pairs = [row for row in answers if len(row) == 2]  # noqa: PLR2004 - no third
        third = [row for row in answers if len(row) > 2]  # noqa: PLR2004 - a third
        agree = sum(first == second for first, second in pairs)
        return cls(
            len(answers), agree, len(pairs) - agree, len(third), sum(last in earlier for *earlier, last in third)
        )
