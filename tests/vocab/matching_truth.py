"""Names whose right sense is known, from published lists and by hand: what the matcher is fitted to and judged by.

`hand_matched.csv` holds Open Images V1 names with several noun senses whose sense the first 9,418 published categories
do not decide. They were drawn at random; which sense an image tag means was judged from WordNet's glosses alone,
before any matcher's answer was seen. Where a tag may mean either of several senses, all of them are accepted.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlimages_dataset.sources.class_lists import parse_box_hierarchy, parse_open_images_classes
from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.vocab.hierarchy import ROOTS
from mlimages_dataset.vocab.matching import MatchContext
from mlimages_dataset.vocab.packaged import packaged_class_list, packaged_imagenet
from mlimages_dataset.vocab.sense_features import ancestors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlimages_dataset.vocab.wordnet import WordNet

HAND_MATCHED = Path(__file__).parent / "data" / "hand_matched.csv"

PUBLISHED_IMAGENET = "published, in ImageNet-11k"
PUBLISHED_OTHER = "published, not in ImageNet-11k"
CONSENSUS = "consensus"
COCO = "COCO"
BY_HAND_NEW = "by hand, no sense published"
BY_HAND_SEVERAL = "by hand, several senses published"
BY_HAND_ABSTRACT = "by hand, right sense below no root"
TRUTHS = (PUBLISHED_IMAGENET, PUBLISHED_OTHER, CONSENSUS, COCO, BY_HAND_NEW, BY_HAND_SEVERAL, BY_HAND_ABSTRACT)
"""The truth sets. The names to be expected of a new collection are most like those of `BY_HAND_NEW`."""


@dataclass(frozen=True, slots=True)
class Known:
    """A class of which the right synset is known.

    Attributes:
        position: its place in the class list.
        wnids: the synsets that are right.
        truth: one of `TRUTHS`.
    """

    position: int
    wnids: frozenset[str]
    truth: str


@dataclass(frozen=True, slots=True)
class KnownSource:
    """A class list with the classes of it that are known.

    Attributes:
        name: the list.
        classes: all its classes, known or not.
        context: what the matcher may look at.
        known: the classes to judge by.
    """

    name: str
    classes: Sequence[SourceClass]
    context: MatchContext
    known: Sequence[Known]


def known_sources(shared_data: Path, wordnet: WordNet) -> list[KnownSource]:
    """Return Open Images V1 and V6 and COCO's classes with what is known of them."""
    open_images, coco = shared_data / "open_images", shared_data / "coco" / "classes_80_wn30.tsv"
    v1 = parse_open_images_classes(_lines(open_images / "dict_v1.csv"), "dict_v1.csv")
    v6 = parse_open_images_classes(_lines(open_images / "class_descriptions_v6.csv"), "class_descriptions_v6.csv")
    hierarchy = open_images / "bbox_labels_600_hierarchy.json"
    boxes = parse_box_hierarchy(hierarchy.read_text("utf-8"), hierarchy.name)
    coco_pairs = [line.split("\t") for line in _lines(coco)]
    agreed = {
        mid: wnid for mid, wnid, _ in (line.split("\t") for line in _lines(open_images / "wn30_consensus_part.tsv"))
    }
    published = _published(shared_data)
    alone, beside_boxes = _context(wordnet, {}), _context(wordnet, boxes)
    in_v1 = {one.name.lower() for one in v1}
    only_v6 = [one for one in v6 if one.name.lower() not in in_v1 and one.source_id not in agreed]
    return [
        KnownSource(
            "Open Images V1",
            v1,
            alone,
            [*_by_publication(v1, v1, published, wordnet), *_by_hand(v1, published, wordnet)],
        ),
        KnownSource(
            "Open Images V6",
            v6,
            beside_boxes,
            [*_by_publication(v6, only_v6, published, wordnet), *_by_agreement(v6, agreed)],
        ),
        KnownSource(
            "COCO",
            [SourceClass(name, name) for name, _ in coco_pairs],
            alone,
            [Known(i, frozenset([wnid]), COCO) for i, (_, wnid) in enumerate(coco_pairs)],
        ),
    ]


def noun_senses(name: str, wordnet: WordNet) -> tuple[int, ...]:
    """Return the noun senses of a name that WordNet's morphology finds, with no help from the matcher."""
    return tuple(dict.fromkeys(sense for lemma in wordnet.base_forms(name) for sense in wordnet.senses[lemma]))


def _published(shared_data: Path) -> frozenset[str]:
    dictionary = shared_data / "tencent" / "dictionary_first_9418.txt"
    return frozenset(line.split("\t")[1] for line in _lines(dictionary)[1:])


def _by_publication(
    classes: Sequence[SourceClass], among: Sequence[SourceClass], published: frozenset[str], wordnet: WordNet
) -> Iterator[Known]:
    """Yield the names with several senses of which exactly one is a published category."""
    judged, imagenet = set(among), packaged_imagenet_11k()
    by_hand = {name for name, _ in _hand_matched()}
    for position, one in enumerate(classes):
        senses = [wordnet.wnids[sense] for sense in noun_senses(one.name, wordnet)]
        known = [wnid for wnid in senses if wnid in published]
        if one in judged and one.name.lower() not in by_hand and len(senses) > 1 and len(known) == 1:
            truth = PUBLISHED_IMAGENET if known[0] in imagenet else PUBLISHED_OTHER
            yield Known(position, frozenset(known), truth)


def _by_agreement(classes: Sequence[SourceClass], agreed: Mapping[str, str]) -> Iterator[Known]:
    for position, one in enumerate(classes):
        if one.source_id in agreed:
            yield Known(position, frozenset([agreed[one.source_id]]), CONSENSUS)


def _by_hand(classes: Sequence[SourceClass], published: frozenset[str], wordnet: WordNet) -> Iterator[Known]:
    position_of_name = {one.name: position for position, one in enumerate(classes)}
    roots = {wordnet.index_of_wnid[root] for root in ROOTS}
    for name, wnids in _hand_matched():
        is_concrete = any(roots & ancestors(wordnet, wordnet.index_of_wnid[wnid]) for wnid in wnids)
        is_new = not any(wordnet.wnids[sense] in published for sense in noun_senses(name, wordnet))
        truth = (BY_HAND_NEW if is_new else BY_HAND_SEVERAL) if is_concrete else BY_HAND_ABSTRACT
        yield Known(position_of_name[name], wnids, truth)


def _hand_matched() -> list[tuple[str, frozenset[str]]]:
    rows = csv.DictReader(_lines(HAND_MATCHED))
    return [(row["name"], frozenset(row["wnids"].split())) for row in rows]


def _context(wordnet: WordNet, box_parents: Mapping[str, tuple[str, ...]]) -> MatchContext:
    return MatchContext(
        wordnet=wordnet,
        imagenet=packaged_imagenet_11k(),
        imagenet_all=packaged_imagenet(),
        roots=ROOTS,
        box_parents=box_parents,
    )


def packaged_imagenet_11k() -> frozenset[str]:
    """Return the wnids of ImageNet-11k."""
    return frozenset(_lines(packaged_class_list("imagenet11k.txt")))


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()
