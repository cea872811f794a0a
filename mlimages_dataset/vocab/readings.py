"""What class names of well-known collections mean in WordNet 3.0, as a language model read them.

``data/senses.csv`` has the names with several senses or none, read twice without knowledge of the other reading, and a
third time where the two differ. Names with one concrete sense need no reading. A row is a fact: `exact` means the
synset, `narrower` a kind of it for which WordNet has no synset, `drop` neither. `readings` has the answers in their
order, `<` before a broader synset, `-` for none.
"""

from __future__ import annotations

import csv
import functools
from collections import Counter
from dataclasses import dataclass, field
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

from mlimages_dataset.vocab.normalisation import ParsedName, parse_name
from mlimages_dataset.vocab.reviewed import ReviewedMatch
from mlimages_dataset.vocab.vocabulary import OPEN_IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mlimages_dataset.sources.classes import SourceClass

_FILE = "senses.csv"
_BROADER, _NONE = "<", "-"


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
        counts = Counter(self.readings)
        _, most = counts.most_common(1)[0]
        return f"{self.reason} ({most} of {len(self.readings)} readings agree)"


@dataclass(frozen=True, slots=True)
class Readings:
    """The readings of names, by the id of a class or by its name.

    Attributes:
        by_id: by source and id.
        by_name: by source and name, whatever its case and spaces.
    """

    by_id: Mapping[tuple[str, str], Reading] = field(default_factory=lambda: MappingProxyType({}))
    by_name: Mapping[tuple[str, ParsedName], Reading] = field(default_factory=lambda: MappingProxyType({}))

    def matches(self, source: str, classes: Iterable[SourceClass]) -> dict[str, ReviewedMatch]:
        """Return the decisions on a source's classes by id; on none of which the list itself says what it means."""
        found = {}
        for one in classes:
            if one.wnid or one.parent or one.synset:
                continue
            reading = self.by_id.get((source, one.source_id)) or self.by_name.get((source, _key(one.name)))
            if reading is not None:
                found[one.source_id] = ReviewedMatch(
                    source=source,
                    source_id=one.source_id,
                    wnid=reading.wnid,
                    reason=reading.evidence,
                    where=f"{_FILE}, {reading.source} {reading.source_id}",
                    broader=reading.relation == "narrower",
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
    named = {(row.source, _key(row.name)): row for row in rows if row.source != OPEN_IMAGES}
    return Readings(by_id, named)


def agreement(readings: Iterable[Reading]) -> dict[str, int]:
    """Return how many names were read, and how often the first two readings agree and the third joins one of them."""
    rows = list(readings)
    differ = [row.readings for row in rows if row.readings[0] != row.readings[1]]
    return {
        "read": len(rows),
        "agree": len(rows) - len(differ),
        "decided by a third": len(differ),
        "of these with one of the first two": sum(answers[2] in answers[:2] for answers in differ),
    }


def _key(name: str) -> ParsedName:
    return parse_name(name)
