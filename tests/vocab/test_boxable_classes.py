"""The 601 packaged box classes of Open Images: each was read by hand, and its synset is held fast here."""

from __future__ import annotations

import csv
import functools
from typing import TYPE_CHECKING

import pytest

from mlimages_dataset.sources.class_lists import parse_box_hierarchy
from mlimages_dataset.vocab.readings import packaged_readings
from mlimages_dataset.vocab.reviewed import Reviewed, packaged_reviewed, parse_reviewed
from mlimages_dataset.vocab.validation import validate
from mlimages_dataset.vocab.vocabulary import IMAGENET, OPEN_IMAGES, MappingRow
from tests.golden.boxable_classes import BOXABLE, boxable_table, default_vocabulary, packaged_vocabulary

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.vocab.wordnet import WordNet

N_BOXABLE = 601
N_IMAGENET_KEPT = 10_957
"""ImageNet-11k's categories in the vocabulary: no decision on Open Images adds or drops one."""


def boxable() -> dict[str, MappingRow]:
    """Return the mapping of the box classes by name."""
    return {row.source_name: row for row in default_vocabulary().mapping if row.source == OPEN_IMAGES}


@functools.cache
def reviewed() -> Reviewed:
    return parse_reviewed(packaged_reviewed(), "reviewed.toml")


def ancestors_of(wnid: str) -> set[str]:
    """Return the wnids above a category of the default vocabulary, itself included."""
    vocabulary = default_vocabulary()
    closure, at = vocabulary.closure, vocabulary.index_of_wnid[wnid]
    return {vocabulary.categories[i].wnid for i in closure.indices[closure.indptr[at] : closure.indptr[at + 1]]}


def test_each_class_is_what_was_read_by_hand() -> None:
    table = boxable_table(default_vocabulary())
    assert len(list(csv.DictReader(table.splitlines()))) == N_BOXABLE
    assert table.splitlines() == BOXABLE.read_text("utf-8").splitlines()


@pytest.mark.parametrize(
    ("name", "wnid", "lemma"),
    [
        ("Man", "n10287213", "man"),
        ("Girl", "n10084295", "female child"),
        ("Kite", "n03621473", "kite"),
        ("Balloon", "n02782329", "balloon"),
        ("Ruler", "n04118776", "rule"),
        ("Poster", "n06793426", "poster"),
        ("Seahorse", "n01456756", "seahorse"),
        ("Saucer", "n04139291", "saucer"),
        ("Glasses", "n04272054", "spectacles"),
        ("Plate", "n03959485", "plate"),
        ("Scale", "n04141975", "scale"),
        ("Cream", "n03128519", "cream"),
        ("Tank", "n04389033", "tank"),
        ("Tap", "n04559451", "water faucet"),
        ("Toilet", "n04446521", "toilet"),
        ("Television", "n04405907", "television receiver"),
        ("Common fig", "n07753113", "fig"),
        ("Honeycomb", "n09218315", "honeycomb"),
        ("Pastry", "n07622708", "pastry"),
        ("Dairy", "n07843775", "dairy product"),
        ("Horn", "n03394916", "French horn"),
        ("Coin", "n13388245", "coin"),
    ],
)
def test_what_was_wrong_or_dropped_is_right(wordnet: WordNet, name: str, wnid: str, lemma: str) -> None:
    row = boxable()[name]
    assert (row.wnid, row.class_index >= 0) == (wnid, True)
    assert wordnet.lemmas[wordnet.index_of_wnid[wnid]][0] == lemma


def test_what_wordnet_has_no_noun_for_is_a_category_below_its_nearest_parent() -> None:
    vocabulary = default_vocabulary()
    assert [one.wnid for one in vocabulary.parents("Stop sign")] == ["n06794110"]  # street sign
    assert [one.wnid for one in vocabulary.parents("Human hand")] == ["n05564590"]  # hand
    assert not [row for row in boxable().values() if row.is_broader]


def test_no_class_is_dropped_without_a_reviewed_reason() -> None:
    assert not [row for row in boxable().values() if row.class_index < 0 and row.rule != "dropped: reviewed"]


def test_every_reviewed_match_is_in_effect() -> None:
    by_id = {row.source_id: row for row in boxable().values()}
    matches = [match for match in reviewed().matches if match.source == OPEN_IMAGES and match.source_id in by_id]
    assert len(matches) > 100
    for match in matches:
        row = by_id[match.source_id]
        meant = default_vocabulary().parents(row.wnid)[0].wnid if match.broader else row.wnid
        assert (meant, row.evidence) == (match.wnid, match.reason), match.where
        assert (row.wnid == f"open-images:{row.source_id}") == match.broader
    decided = {match.source_id for match in matches}
    read = {source_id for source, source_id in packaged_readings().by_id if source == OPEN_IMAGES}
    assert decided <= {row.source_id for row in by_id.values() if row.rule.startswith("reviewed")} <= decided | read


def test_no_two_classes_share_a_category() -> None:
    exact: dict[str, str] = {}
    for name, row in boxable().items():
        assert row.wnid not in exact, f"{name} and {exact[row.wnid]}"
        exact[row.wnid] = name


@pytest.mark.parametrize(
    ("name", "parent", "true"),
    [
        ("Coin", "n00021939", True),  # artifact
        ("Seat belt", "n03051540", False),  # clothing
        ("Punching bag", "n02778669", False),  # ball
        ("Punching bag", "n04285146", True),  # sports equipment
        ("Ladder", "n04298171", False),  # stairs
        ("Bicycle", "n03094503", False),  # container
        ("Bicycle", "n04524313", True),  # vehicle
        ("Van", "n04490091", False),  # truck
        ("Van", "n03791235", True),  # motor vehicle
        ("Jug", "n02876657", False),  # bottle
        ("Jug", "n03094503", True),  # container
        ("Tree house", "n03964744", False),  # plaything
        ("Poster", "n02374451", False),  # horse
        ("Girl", "n10787470", False),  # woman
    ],
)
def test_parents_are_true_of_every_member(name: str, parent: str, true: bool) -> None:  # noqa: FBT001 - an expectation
    assert (parent in ancestors_of(boxable()[name].wnid)) == true


def test_imagenet_is_not_disturbed(wordnet: WordNet) -> None:
    kept = [row for row in default_vocabulary().mapping if row.source == IMAGENET and row.class_index >= 0]
    assert len(kept) == N_IMAGENET_KEPT
    assert all(row.wnid == row.source_id for row in kept)
    assert not validate(default_vocabulary(), wordnet)


@pytest.mark.shared_data
def test_the_box_hierarchy_changes_no_class(shared_data: Path) -> None:
    hierarchy = (shared_data / "open_images" / "bbox_labels_600_hierarchy.json").read_text("utf-8")
    beside_it = packaged_vocabulary(parse_box_hierarchy(hierarchy, "hierarchy"))
    found = {row.source_name: row.wnid for row in beside_it.mapping if row.source == OPEN_IMAGES}
    assert found == {name: row.wnid for name, row in boxable().items()}


@pytest.mark.shared_data
def test_two_public_mappings_that_agree_are_agreed_with(shared_data: Path) -> None:
    lines = (shared_data / "open_images" / "wn30_consensus_part.tsv").read_text("utf-8").splitlines()
    agreed = {mid: wnid for mid, wnid, _ in (line.split("\t") for line in lines)}
    own = {one.wnid: one.parent for one in default_vocabulary().categories if ":" in one.wnid}
    ours = {
        row.source_id: default_vocabulary().categories[own[row.wnid]].wnid if row.wnid in own else row.wnid
        for row in boxable().values()
    }
    both = agreed.keys() & ours.keys()
    assert len(both) > 100
    assert not {mid for mid in both if agreed[mid] != ours[mid]}
