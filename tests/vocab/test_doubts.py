"""The least certain matches are told with lines that settle them, whatever names and ids hold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.locations import location
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.stage import run
from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.vocab.doubts import SHOWN, SURE, doubts
from mlimages_dataset.vocab.merging import ClassList, merged_vocabulary
from mlimages_dataset.vocab.reviewed import Reviewed, parse_reviewed
from mlimages_dataset.vocab.stage import VocabularyFiles, vocabulary_stage
from tests import mini

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.vocab.doubts import Doubts
    from mlimages_dataset.vocab.vocabulary import Vocabulary
    from mlimages_dataset.vocab.wordnet import WordNet

WORDNET = mini.mini_wordnet()
AMBIGUOUS = ("crane", "bass", "seal", "bolt", "organ", "ring", "plane", "horn")

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(str.strip)


def built(one: ClassList, network: WordNet, reviewed: Reviewed | None = None) -> Vocabulary:
    return merged_vocabulary(
        [one], network, reviewed or Reviewed(), image_counts={}, imagenet_all=frozenset(), box_parents={}
    )


def told(one: ClassList, network: WordNet) -> tuple[Doubts, ...]:
    return doubts(built(one, network), [one], network)


def list_of(*names: str, **options: Any) -> ClassList:
    classes = tuple(SourceClass(f"id of {name}", name) for name in names)
    return ClassList(source="mine", classes=classes, own=True, **options)


def test_the_least_certain_come_first_and_all_are_counted(wordnet: WordNet) -> None:
    names = list_of(*AMBIGUOUS, "giraffe")
    (found,) = told(names, wordnet)
    sure = sorted(row.probability for row in built(names, wordnet).mapping)
    assert [one.probability for one in found.least] == sure[:SHOWN]
    assert found.doubtful == sum(one < SURE for one in sure)
    assert found.matches == len(names.classes)


@pytest.mark.parametrize("options", [{}, {"attach": True}, {"attach": True, "narrower": True}])
def test_its_lines_settle_a_match_as_it_is(options: dict[str, bool], wordnet: WordNet) -> None:
    names = list_of(*AMBIGUOUS, "xyzzy horn", **options)
    (found,) = told(names, wordnet)
    reviewed = parse_reviewed("\n".join(one.settles for one in found.least), "here")
    before, after = built(names, wordnet), built(names, wordnet, reviewed)
    settled = {row.source_id for row in reviewed.matches}
    assert len(settled) == SHOWN
    meant = {row.source_id: row.wnid for row in before.mapping}
    assert {row.source_id: row.wnid for row in after.mapping if row.source_id in settled} == {
        source_id: meant[source_id] for source_id in settled
    }
    assert {row.probability for row in after.mapping if row.source_id in settled} == {1.0}
    assert settled.isdisjoint(one.source_id for group in doubts(after, [names], wordnet) for one in group.least)


def test_the_lines_of_the_second_choice_replace_those_of_the_first(wordnet: WordNet) -> None:
    (found,) = told(list_of(*AMBIGUOUS), wordnet)
    for one in found.least:
        lines = one.settles.splitlines()
        at = next(k for k, line in enumerate(lines) if line.startswith("# "))
        edited = [*lines[: at - 2], *(line.removeprefix("# ") for line in lines[at:])]
        (match,) = parse_reviewed("\n".join(edited), "here").matches
        assert (match.source, match.source_id) == (one.source, one.source_id)
        assert (match.wnid, match.reason) == (one.second, one.second_meaning)
        assert f'"{one.meaning}"' not in "".join(edited)


@given(source=texts, source_id=texts, name=texts)
def test_the_lines_are_toml_whatever_the_texts_hold(source: str, source_id: str, name: str) -> None:
    names = ClassList(source=source, classes=(SourceClass(source_id, f"{name} dog"),), own=True, attach=True)
    vocabulary = built(names, WORDNET)
    unsure = replace(vocabulary, mapping=tuple(replace(row, probability=0.1) for row in vocabulary.mapping))
    for group in doubts(unsure, [names], WORDNET):
        (match,) = parse_reviewed(group.least[0].settles, "here").matches
        assert (match.source, match.source_id) == (source, source_id)


def test_what_a_list_says_itself_and_packaged_lists_are_not_told(wordnet: WordNet) -> None:
    contradicting = SourceClass("z", "zebra", wnid="n01631663")
    assert not told(ClassList(source="mine", classes=(contradicting,), own=True), wordnet)
    assert not told(replace(list_of(*AMBIGUOUS), own=False), wordnet)


def test_the_stage_tells_them_and_keeps_them_for_later_runs(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("id,name\n1,crane\n2,bass\n", "utf-8")
    stage = vocabulary_stage(VocabularyFiles(classes=(("mine", location(str(tmp_path / "mine.csv"))),)))
    first, again = (run(stage, OutputFolder(location(str(tmp_path / "out")))) for _ in range(2))
    assert not again.fresh
    lines = first.summary.lines()
    assert lines == again.summary.lines()
    assert any("'bass' is taken for n" in line and "the second choice is n" in line for line in lines)
    assert "[[match]]" in lines
