"""Findings on class lists that are cut say how many more there are, and where all are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.vocab.disagreements import disagreements
from mlimages_dataset.vocab.doubts import Doubt, Doubts
from mlimages_dataset.vocab.findings import Loss
from mlimages_dataset.vocab.merging import ClassList
from mlimages_dataset.vocab.stage import SHOWN_LOSSES, VocabularySummary
from mlimages_dataset.vocab.vocabulary import MappingRow, Rule, Vocabulary

if TYPE_CHECKING:
    from mlimages_dataset.vocab.wordnet import WordNet


@pytest.mark.parametrize("n", [0, 1, SHOWN_LOSSES, SHOWN_LOSSES + 1, 327])
def test_lost_classes_are_named_or_counted(n: int) -> None:
    lost = tuple(Loss(source, str(k), f"x{k}", "", "no noun") for source in ("mine", "yours") for k in range(n))
    summary = VocabularySummary((("vocabulary", "categories", 1),), losses=lost)
    for source in ("mine", "yours"):
        told = [text for text in summary.findings() if text.startswith(f"{source}: ")]
        counted = sum(int(found[1]) for text in told if (found := re.match(r"\w+: (\d+) more classes ", text)))
        assert sum("became no category: " in text for text in told) + counted == n
        assert [one for one, _ in summary.findings_by_source()].count(source) == n
    assert all(text in summary.lines() for text in summary.findings())


def test_repeated_ids_are_named_or_counted() -> None:
    ids = tuple(f"i{k}" for k in range(27))
    lines = VocabularySummary((("v", "c", 1),), {"mine": ids}).lines()
    assert "repeated ids, of which the first row counts: mine: " + ", ".join(ids[:10]) + " and 17 more" in lines


def test_unsure_classes_are_counted_in_the_report_too() -> None:
    least = tuple(Doubt("m", str(k), "x", "n1", False, "a", "", "", 0.1, "") for k in range(5))
    assert Doubts("m", 50, 60, least).sentence.endswith("; and 45 more: the column probability of the mapping has all")
    assert "more" not in Doubts("m", 5, 60, least).sentence


def test_classes_whose_wnids_disagree_are_counted(wordnet: WordNet) -> None:
    """Fourteen of forty name something else than their wnid, which is no other version of WordNet."""
    right, wrong = ("n02121620", "cat"), ("n02121620", "zebra")
    stated = [*[right] * 26, *[wrong] * 14]
    rows = tuple(
        MappingRow("mine", str(k), name, 0, wnid, Rule.LISTED_WNID.value, "x") for k, (wnid, name) in enumerate(stated)
    )
    classes = tuple(SourceClass(str(k), name, wnid=wnid) for k, (wnid, name) in enumerate(stated))
    lists = [ClassList(source="mine", classes=classes, own=True)]
    told = [text for _, text in disagreements(Vocabulary((), rows), lists, wordnet)]
    assert sum(text.startswith("'zebra' has the wnid") for text in told) == 10
    assert "4 more classes have a wnid that names something else" in told
