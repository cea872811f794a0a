"""What class names of well-known collections mean in WordNet 3.0, as a language model read them.

``data/senses.csv`` has the names with several senses or none, read twice without knowledge of the other reading, and a
third time where the two differ. A name with one concrete sense has a row only where it means something else; all names
of COCO and VOC have one. A row is a fact: `exact` means the synset, `narrower` a kind of it for which WordNet has no
synset, `drop` neither. `readings` has the answers in their order, `<` before a broader synset, `-` for none. Where one
of two readings implies the other, the broader synset counts.
"""

from __future__ import annotations

import csv
import functools
from collections import Counter
from dataclasses import dataclass, field, replace
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

from mlimages_dataset.vocab.certainty import BY_HAND, READ_ALIKE, READ_ALONE, READ_JOINED, READ_PARENT
from mlimages_dataset.vocab.elsewhere import EVERYDAY, ReadElsewhere
from mlimages_dataset.vocab.normalisation import ParsedName, parse_name
from mlimages_dataset.vocab.reviewed import Reviewed, ReviewedMatch, packaged_reviewed, parse_reviewed
from mlimages_dataset.vocab.vocabulary import OPEN_IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mlimages_dataset.sources.classes import SourceClass

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
        readings: the answers, first to third.
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
        first, second, *third = self.readings
        if first != second and not third:
            return f"{self.reason} (the broader of two readings)"
        _, most = Counter(self.readings).most_common(1)[0]
        return f"{self.reason} ({most} of {len(self.readings)} readings agree)"

    @property
    def probability(self) -> float:
        """That the name means what it was read as, by how far the readings agree."""
        first, second, *third = self.readings
        if third and first != second:
            return READ_JOINED if third[0] in (first, second) else READ_ALONE
        return READ_ALIKE if self.relation == "exact" else READ_PARENT


@dataclass(frozen=True)
class Readings:
    """The readings of names, by the id of a class or by its name.

    Attributes:
        by_id: by source and id.
        by_name: by source and name, whatever its case and spaces.
    """

    by_id: Mapping[tuple[str, str], Reading] = field(default_factory=lambda: MappingProxyType({}))
    by_name: Mapping[tuple[str, ParsedName], Reading] = field(default_factory=lambda: MappingProxyType({}))

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
        for one in classes:
            if any(one.stated):
                continue
            reading = self.by_id.get((source, one.source_id)) or self.by_name.get((source, parse_name(one.name)))
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
    named = {(row.source, parse_name(row.name)): row for row in rows if row.source != OPEN_IMAGES}
    return Readings(by_id, named)


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
        third: decided by a third reading.
        joined: of these, the third is one of the first two.
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
        differ = [row for row in answers if row[0] != row[1]]
        third = [row for row in differ if len(row) > 2]  # noqa: PLR2004 - a third
        return cls(
            len(answers),
            len(answers) - len(differ),
            len(differ) - len(third),
            len(third),
            sum(row[2] in row[:2] for row in third),
        )
