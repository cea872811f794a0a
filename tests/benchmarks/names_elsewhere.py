"""Print how much the readings of a name in other collections, and a list's own topic, help to match it.

    python -m tests.benchmarks.names_elsewhere [SHARED_DATA]

Each collection is matched without its own readings: first by names alone, then with what the other collections read;
counted are names with several senses that another collection has, too. Then how often a name that is no noun of WordNet
means what was read elsewhere. Last, small made lists: of things of one kind (such as birds), and of any things, drawn
from all names that were read, without readings.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlimages_dataset.vocab.matching import MatchRule, match_classes
from mlimages_dataset.vocab.normalisation import parse_name
from mlimages_dataset.vocab.readings import packaged_readings
from mlimages_dataset.vocab.sense_features import ancestors
from mlimages_dataset.vocab.vocabulary import OPEN_IMAGES
from mlimages_dataset.vocab.wordnet import load_wordnet
from tests.vocab.read_lists import SMALL_TITLE, Listed, list_of, read_but_by, read_lists

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlimages_dataset.vocab.elsewhere import ReadElsewhere
    from mlimages_dataset.vocab.matching import MatchContext
    from mlimages_dataset.vocab.normalisation import ParsedName
    from mlimages_dataset.vocab.readings import Reading

KINDS = {
    "birds": "n01503061",
    "fish": "n02512053",
    "mammals": "n01861778",
    "insects": "n02159955",
    "instruments": "n03800933",
    "furniture": "n03405725",
    "vehicles": "n04524313",
    "tools": "n04451818",
    "food": "n00021265",
    "clothing": "n03051540",
    "plants": "n00017222",
    "electronic devices": "n03278248",
    "buildings": "n02913152",
    "containers": "n03094503",
    "sports equipment": "n04285146",
    "parts of the body": "n05220461",
    "people": "n00007846",
}
LISTS_OF_A_KIND, MIXED_LISTS = 3, 25
SIZES = (10, 15, 25)
LEAST_NAMES = 10


@dataclass(frozen=True, slots=True)
class Share:
    """Right answers among some."""

    right: int
    of: int

    def __str__(self) -> str:
        return f"{self.right / self.of:6.1%} ({self.right} of {self.of})" if self.of else "none"


def of_several_senses(one: Listed, read: Mapping[ParsedName, ReadElsewhere], *, used: bool) -> Share:
    """Return how many names with several senses that were read elsewhere come out as they were read here."""
    context = replace(one.context, read=read) if used else one.context
    answers = [
        match.wnid == truth.wnid
        for match in match_classes(one.classes, context)
        if (truth := one.truth.get(match.source_class.source_id)) is not None
        and truth.relation == "exact"
        and parse_name(truth.name) in read
        and match.alternatives
    ]
    return Share(sum(answers), len(answers))


def of_no_noun(one: Listed, read: Mapping[ParsedName, ReadElsewhere]) -> Iterator[tuple[str, bool]]:
    """Yield the names that are no noun, and whether they mean what was read elsewhere, or something below it."""
    wordnet = one.context.wordnet
    for match in match_classes(one.classes, replace(one.context, read=read)):
        truth = one.truth.get(match.source_class.source_id)
        there = None if truth is None else read.get(parse_name(truth.name))
        if truth is None or there is None or truth.relation == "drop":
            continue
        if match.rule is MatchRule.READ_ELSEWHERE:
            yield truth.name.lower(), match.wnid == truth.wnid
        elif there.broader and match.wnid is None:
            above = ancestors(wordnet, wordnet.index_of_wnid[truth.wnid])
            yield truth.name.lower(), wordnet.index_of_wnid[there.wnid] in above


def small_lists(context: MatchContext) -> Iterator[tuple[str, Listed]]:
    """Yield made lists: of things of one kind, and of any."""
    rows: dict[tuple[str, str], Reading] = {}
    for row in packaged_readings().by_id.values():
        if row.relation == "exact" and "(" not in row.name:
            rows.setdefault((parse_name(row.name).base, row.wnid), row)
    every, number = list(rows.values()), context.wordnet.index_of_wnid
    chance = random.Random(3)  # noqa: S311 - a sample
    for wnid in KINDS.values():
        kind = [row for row in every if number[wnid] in ancestors(context.wordnet, number[row.wnid])]
        for _ in range(LISTS_OF_A_KIND if len(kind) >= LEAST_NAMES else 0):
            drawn = chance.sample(kind, min(len(kind), chance.choice(SIZES)))
            yield "of one kind", list_of("made", numbered(drawn), context)
    for _ in range(MIXED_LISTS):
        yield "of any things", list_of("made", numbered(chance.sample(every, 30)), context)


def numbered(rows: list[Reading]) -> list[Reading]:
    """Return readings with ids of a list of their own."""
    return [replace(row, source_id=str(at)) for at, row in enumerate(rows)]


def main(shared_data: Path) -> None:
    """Print the shares."""
    wordnet = load_wordnet()
    lists = [one for one in read_lists(shared_data, wordnet) if one.name != SMALL_TITLE]
    no_nouns: dict[str, bool] = {}
    print(f"{'names with several senses':28}{'by names alone':>22}{'with readings elsewhere':>26}")
    for one in lists:
        read = read_but_by(OPEN_IMAGES if one.name.startswith("Open Images") else one.name)
        alone, both = (of_several_senses(one, read, used=used) for used in (False, True))
        print(f"{one.name:28}{alone!s:>22}{both!s:>26}", flush=True)
        for name, right in of_no_noun(one, read):
            no_nouns.setdefault(name, right)
    print(f"names that are no noun: {Share(sum(no_nouns.values()), len(no_nouns))} mean what was read elsewhere")
    made: dict[str, list[bool]] = {}
    for kind, one in small_lists(lists[0].context):
        matches = match_classes(one.classes, one.context)
        made.setdefault(kind, []).extend(
            match.wnid == one.truth[match.source_class.source_id].wnid for match in matches if match.grounds
        )
    for kind, answers in made.items():
        print(f"small lists {kind}: {Share(sum(answers), len(answers))}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[3] / "shared" / "data"))
