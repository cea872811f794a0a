"""Each check fails on exactly its own tiny fixture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mlimages_dataset.vocab import validation
from mlimages_dataset.vocab.validation import Violation, validate
from mlimages_dataset.vocab.vocabulary import Category, MappingRow, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlimages_dataset.vocab.wordnet import WordNet

OBJECT, THING, ANIMAL, DOG, CANINE = "n00002684", "n00002452", "n00015388", "n02084071", "n02083346"


def category(wnid: str, *parents: int, depth: int) -> Category:
    """Return a category below the root 0, with the first parent as the primary one."""
    return Category(
        wnid=wnid,
        name=wnid,
        root=0,
        parent=parents[0] if parents else -1,
        parents=parents,
        depth=depth,
        sources=(),
        mids=(),
        images=0,
    )


def row(class_index: int, wnid: str) -> MappingRow:
    return MappingRow("list", wnid, "a name", class_index, wnid, "a rule", "evidence")


SOUND = Vocabulary(
    categories=(
        category(OBJECT, depth=0),
        category(ANIMAL, 0, depth=1),
        category(CANINE, 1, depth=2),
        category(DOG, 2, depth=3),
    ),
    mapping=(row(1, ANIMAL), row(3, DOG), row(-1, "n12345678")),
)


def with_category(i: int, changed: Category) -> Vocabulary:
    return replace(SOUND, categories=(*SOUND.categories[:i], changed, *SOUND.categories[i + 1 :]))


def with_row(changed: MappingRow) -> Vocabulary:
    return replace(SOUND, mapping=(changed, *SOUND.mapping[1:]))


ANIMAL_OF_ROOT, DOG_OF_CANINE = SOUND.categories[1], SOUND.categories[3]
ANIMAL_ROW = SOUND.mapping[0]
UNSOUND = {
    "V101": replace(SOUND, categories=(*SOUND.categories, category(DOG, 2, depth=3))),
    "V102": with_category(2, replace(SOUND.categories[2], wnid="n99999999")),
    "V103": with_category(1, replace(ANIMAL_OF_ROOT, name=" ")),
    "V104": replace(SOUND, mapping=(*SOUND.mapping, ANIMAL_ROW)),
    "V105": with_row(replace(ANIMAL_ROW, class_index=4)),
    "V106": with_row(replace(ANIMAL_ROW, class_index=3)),
    "V107": with_row(replace(ANIMAL_ROW, evidence="")),
    "V108": with_category(1, replace(ANIMAL_OF_ROOT, images=-1)),
    "H201": with_category(3, replace(DOG_OF_CANINE, parents=(2, 9))),
    "H202": with_category(1, replace(ANIMAL_OF_ROOT, parent=3, parents=(3,))),
    "H203": with_category(1, replace(ANIMAL_OF_ROOT, parent=-1, parents=(), root=1, depth=0)),
    "H204": with_category(3, replace(DOG_OF_CANINE, parent=1)),
    "H205": with_category(3, replace(DOG_OF_CANINE, depth=7)),
    "H206": with_category(3, replace(DOG_OF_CANINE, parents=(1, 2))),
}


def codes(findings: Iterable[Violation]) -> set[str]:
    return {finding.code for finding in findings}


def test_a_sound_vocabulary_passes(mini_wordnet: WordNet) -> None:
    assert validate(SOUND, mini_wordnet) == []


def test_the_mini_vocabulary_passes(mini_vocabulary: Vocabulary, mini_wordnet: WordNet) -> None:
    assert validate(mini_vocabulary, mini_wordnet) == []


def test_every_check_has_its_fixture() -> None:
    checks = {name.upper() for name in vars(validation) if name[:1] in "vh" and name[1:].isdecimal()}
    assert checks == set(UNSOUND)


@pytest.mark.parametrize("code", UNSOUND)
def test_each_check_fails_on_its_own_fixture_alone(code: str, mini_wordnet: WordNet) -> None:
    findings = validate(UNSOUND[code], mini_wordnet)
    also = {"H203": {"H205"}}.get(code, set())  # a root more changes the root of what lies below it
    assert codes(findings) - also == {code}


@pytest.mark.parametrize(
    ("code", "changed"),
    [
        ("H201", replace(DOG_OF_CANINE, parent=9)),
        ("H201", replace(DOG_OF_CANINE, parent=-2)),
        ("H204", replace(SOUND.categories[0], parent=3)),
        ("H204", replace(DOG_OF_CANINE, parent=3)),
        ("V107", replace(ANIMAL_ROW, rule="")),
        ("V105", replace(ANIMAL_ROW, class_index=-2)),
    ],
)
def test_other_ways_to_fail_a_check(code: str, changed: Category | MappingRow, mini_wordnet: WordNet) -> None:
    if isinstance(changed, MappingRow):
        vocabulary = with_row(changed)
    else:
        vocabulary = with_category(0 if changed.wnid == OBJECT else 3, changed)
    assert code in codes(validate(vocabulary, mini_wordnet))


def test_a_finding_says_its_code_its_message_and_its_subject(mini_wordnet: WordNet) -> None:
    (finding,) = validate(UNSOUND["V101"], mini_wordnet)
    assert str(finding) == f"V101 Two categories share a wnid: {DOG}"
