"""What the constants of `vocab.certainty` are counted from: readings and matches beside independent answers.

`one_sense.csv` holds 199 Open Images names, drawn at random among those that nobody had read and that have one sense,
below a root. A language model read each once, with the synset's lemmas and its parent, and judged whether a picture's
tag of that name means it.
"""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.vocab.certainty import READ_ALIKE, READ_ALONE, READ_JOINED, READ_PARENT
from mlimages_dataset.vocab.hierarchy import ROOTS
from mlimages_dataset.vocab.matching import named_senses
from mlimages_dataset.vocab.packaged import packaged_class_list
from mlimages_dataset.vocab.readings import packaged_readings
from mlimages_dataset.vocab.reviewed import packaged_reviewed, parse_reviewed
from mlimages_dataset.vocab.sense_features import ancestors
from mlimages_dataset.vocab.vocabulary import OPEN_IMAGES
from tests.vocab import matching_truth as truth

if TYPE_CHECKING:
    from mlimages_dataset.vocab.readings import Reading
    from mlimages_dataset.vocab.wordnet import WordNet

ONE_SENSE = Path(__file__).parent / "data" / "one_sense.csv"
BOXABLE = Path(__file__).parents[1] / "golden" / "boxable_classes.csv"
_KINDS = {READ_ALIKE: "two alike", READ_PARENT: "parent", READ_JOINED: "joined by a third", READ_ALONE: "three differ"}
_BY_HAND = (truth.BY_HAND_NEW, truth.BY_HAND_SEVERAL, truth.BY_HAND_ABSTRACT, truth.CONSENSUS)

Share = dict[str, Counter[bool]]
"""How many of each kind are right and wrong."""


def rule_of_succession(counts: Counter[bool]) -> float:
    """Return the estimated probability of right after some answers (Laplace)."""
    return (counts[True] + 1) / (counts.total() + 2)


def readings_beside_other_answers(shared_data: Path, wordnet: WordNet) -> Share:
    """Return how many readings agree with decisions by hand, with names matched by hand and with public mappings.

    An exact reading is right if it is the other answer; a parent is right if it is that or above it.
    """
    read = packaged_readings().by_id
    answers = {
        (OPEN_IMAGES, source.classes[one.position].source_id): one.wnids
        for source in truth.known_sources(shared_data, wordnet)
        for one in source.known
        if one.truth in _BY_HAND
    }
    decided = parse_reviewed(packaged_reviewed(), "reviewed.toml").matches
    answers |= {(row.source, row.source_id): frozenset([row.wnid]) for row in decided if row.wnid}
    share: Share = {kind: Counter() for kind in _KINDS.values()}
    for key, wnids in answers.items():
        if key in read:
            share[_KINDS[read[key].probability]][_is_right(read[key], wnids, wordnet)] += 1
    return share


def _is_right(reading: Reading, wnids: frozenset[str], wordnet: WordNet) -> bool:
    if reading.relation == "exact":
        return reading.wnid in wnids
    above = {wordnet.wnids[a] for wnid in wnids for a in ancestors(wordnet, wordnet.index_of_wnid[wnid])}
    return reading.wnid in above


def box_classes_by_hand(shared_data: Path) -> Counter[bool]:
    """Return how many box classes are, after review, the synset that two public mappings agree on."""
    golden = {row["source_id"]: row["wnid"] for row in _rows(BOXABLE)}
    lines = (shared_data / "open_images" / "wn30_consensus_part.tsv").read_text("utf-8").splitlines()
    agreed = [line.split("\t")[:2] for line in lines]
    return Counter(golden[mid] == wnid for mid, wnid in agreed if mid in golden)


def names_with_one_sense(wordnet: WordNet) -> Counter[bool]:
    """Return how many names with one sense, below a root, mean it: of the box classes, and of the sample."""
    golden = _rows(BOXABLE)
    senses = named_senses([SourceClass(row["source_id"], row["name"]) for row in golden], wordnet)
    roots = {wordnet.index_of_wnid[root] for root in ROOTS}
    counts = Counter(row["right"] == "yes" for row in _rows(ONE_SENSE))
    for row, named in zip(golden, senses, strict=True):
        if len(named.candidates) == 1 and roots & ancestors(wordnet, named.candidates[0].synset):
            counts[wordnet.wnids[named.candidates[0].synset] == row["wnid"]] += 1
    return counts


def listed_wnids_beside_readings(wordnet: WordNet) -> Counter[bool]:
    """Return how many synsets of COCO's and VOC's packaged lists are read so, or as one above or below.

    A name that was read again to agree with the list was read differently without it.
    """
    counts: Counter[bool] = Counter()
    named = {(row.source, row.name): row for row in packaged_readings().by_id.values()}
    for source in ("coco", "voc"):
        for row in _rows(packaged_class_list(f"{source}.csv")):
            reading = named.get((source, row["name"]))
            meant = wordnet.index_of_wnid.get(row["wnid"] or row["parent"])
            if reading is not None and meant is not None:
                read = wordnet.index_of_wnid[reading.wnid]
                agree = read in ancestors(wordnet, meant) or meant in ancestors(wordnet, read)
                counts[agree and "as the packaged list" not in reading.reason] += 1
    return counts


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))
