"""The probability of a match: laws, the counts behind the constants, and its reliability beside independent answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.vocab import certainty
from mlimages_dataset.vocab.matching import match_classes
from mlimages_dataset.vocab.merging import ClassList, merged_vocabulary
from mlimages_dataset.vocab.readings import packaged_decisions, packaged_readings
from mlimages_dataset.vocab.reviewed import Reviewed, parse_reviewed
from mlimages_dataset.vocab.sense_features import FEATURES
from mlimages_dataset.vocab.vocabulary import OPEN_IMAGES
from tests import mini
from tests.vocab import certainty_truth
from tests.vocab import matching_truth as truth

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.vocab.vocabulary import MappingRow
    from mlimages_dataset.vocab.wordnet import WordNet

WORDNET = mini.mini_wordnet()
DOG, TENNIS = "n02084071", "n00482298"
EFT_NAMED_ZEBRA = SourceClass("z", "zebra", wnid="n01631663")

features = st.lists(st.floats(0, 5), min_size=len(FEATURES), max_size=len(FEATURES)).map(np.array)


def rows_of(
    wordnet: WordNet, *classes: SourceClass, reviewed: Reviewed | None = None, **options: Any
) -> list[MappingRow]:
    vocabulary = merged_vocabulary(
        [ClassList(source="mine", classes=classes, own=True, **options)],
        wordnet,
        reviewed or Reviewed(),
        image_counts={},
        imagenet_all=frozenset(),
        box_parents={},
    )
    return list(vocabulary.mapping)


@given(st.integers(2, 30), st.floats(0, 20), features)
def test_a_larger_lead_is_surer_and_more_senses_are_less_sure(n_senses: int, lead: float, of_best: np.ndarray) -> None:
    def probability(senses: int, ahead: float) -> float:
        return certainty.match_probability(certainty.grounds_of(senses, ahead, of_best))

    assert 0 <= probability(n_senses, lead) <= probability(n_senses, lead + 1) <= 1
    assert probability(n_senses + 1, lead) <= probability(n_senses, lead)


@given(
    classes=st.lists(
        st.sampled_from(
            [
                *(SourceClass(wnid, "") for wnid in (*WORDNET.wnids, "n12345678")),
                *(SourceClass(f"id of {lemma}", lemma) for lemma in WORDNET.senses),
                SourceClass("no name", ""),
                SourceClass("no noun", "xyzzy"),
                SourceClass("no id", "dog", wnid="n12345678"),
                SourceClass("a kind", "my dog", parent=DOG),
                SourceClass("a kind of a kind", "my puppy", parent="a kind"),
                SourceClass("a kind of nothing", "my dream", parent="nothing"),
            ]
        )
    ),
    attach=st.booleans(),
)
def test_only_a_class_without_a_synset_of_wordnet_has_no_probability(
    classes: list[SourceClass], *, attach: bool
) -> None:
    for row in rows_of(WORDNET, *classes, attach=attach):
        assert 0 <= row.probability <= 1
        assert (row.probability == 0) is (row.wnid not in WORDNET.index_of_wnid), row
        assert row.probability == certainty.single(row.probability)


def test_ids_and_own_decisions_are_certain_and_listed_wnids_as_often_right_as_counted(wordnet: WordNet) -> None:
    decided = parse_reviewed(f'match = [{{source="mine", source_id="d", wnid="{DOG}", reason="mine"}}]', "here")
    by_id, by_list, by_me, parent = rows_of(
        wordnet,
        SourceClass(DOG, "hound"),
        SourceClass("l", "dog", wnid=DOG),
        SourceClass("d", "hot dog"),
        SourceClass("p", "Rex", parent="l"),
        reviewed=decided,
    )
    assert by_id.probability == by_me.probability == 1
    assert by_list.probability == parent.probability == certainty.LISTED


def test_a_name_that_contradicts_its_wnid_leaves_both_open(wordnet: WordNet) -> None:
    (listed,) = rows_of(wordnet, EFT_NAMED_ZEBRA)
    (by_id,) = rows_of(wordnet, replace(EFT_NAMED_ZEBRA, source_id=EFT_NAMED_ZEBRA.wnid, wnid=""))
    assert listed.probability == by_id.probability == certainty.CONTRADICTED


def test_a_head_is_less_sure_than_its_word(wordnet: WordNet) -> None:
    word, compound = rows_of(wordnet, SourceClass("w", "mug"), SourceClass("c", "xyzzy mug"), attach=True)
    assert compound.wnid == word.wnid
    assert 0 < compound.probability < word.probability


def test_packaged_decisions_are_not_taken_for_certain() -> None:
    decisions = packaged_decisions()
    assert {row.probability for row in decisions.matches} == {certainty.BY_HAND}
    assert decisions.readings is not None
    kinds = {row.probability for row in decisions.readings.by_id.values()}
    assert kinds == {certainty.READ_ALIKE, certainty.READ_PARENT, certainty.READ_JOINED, certainty.READ_ALONE}


def test_constants_are_counted(shared_data: Path, wordnet: WordNet) -> None:
    counted = {
        kind: certainty_truth.rule_of_succession(counts)
        for kind, counts in certainty_truth.readings_beside_other_answers(shared_data, wordnet).items()
    }
    assert counted == pytest.approx(
        {
            "two alike": certainty.READ_ALIKE,
            "parent": certainty.READ_PARENT,
            "joined by a third": certainty.READ_JOINED,
            "three differ": certainty.READ_ALONE,
        },
        abs=0.001,
    )
    for counts, constant in (
        (certainty_truth.box_classes_by_hand(shared_data), certainty.BY_HAND),
        (certainty_truth.names_with_one_sense(wordnet), certainty.ONLY_SENSE),
        (certainty_truth.listed_wnids_beside_readings(wordnet), certainty.LISTED),
    ):
        assert certainty_truth.rule_of_succession(counts) == pytest.approx(constant, abs=0.001)


def test_surer_matches_are_right_more_often_by_hand_and_as_often_as_estimated_by_the_readings(
    shared_data: Path, wordnet: WordNet
) -> None:
    (source,) = [one for one in truth.known_sources(shared_data, wordnet) if one.name == "Open Images V1"]
    matches = match_classes(source.classes, source.context)
    by_hand = {
        one.position: one.wnids for one in source.known if one.truth in (truth.BY_HAND_NEW, truth.BY_HAND_SEVERAL)
    }
    readings = packaged_readings().by_id
    read = {
        at: frozenset([readings[OPEN_IMAGES, one.source_id].wnid])
        for at, one in enumerate(source.classes)
        if (OPEN_IMAGES, one.source_id) in readings and matches[at].grounds
    }
    for answers in (by_hand, read):
        sure = np.array([matches[at].probability for at in answers])
        right = np.array([matches[at].wnid in wnids for at, wnids in answers.items()])
        assert len(sure) > 300
        thirds = np.array_split(np.argsort(sure), 3)
        assert right[thirds[0]].mean() < right[thirds[1]].mean() < right[thirds[2]].mean()
        if answers is read:
            for third in thirds:
                assert sure[third].mean() == pytest.approx(right[third].mean(), abs=0.05)
