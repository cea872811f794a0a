"""Merging class lists: one tiny case per rule, and the laws that hold for any lists."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.errors import UsageError, VocabularyError
from mlimages_dataset.sources.class_lists import TencentRow
from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.vocab.findings import funnel, repeated_ids
from mlimages_dataset.vocab.hierarchy import ROOTS
from mlimages_dataset.vocab.merging import ClassList, merged_vocabulary, vocabulary_from_tencent
from mlimages_dataset.vocab.reviewed import Edge, Reviewed, ReviewedCategory, ReviewedMatch
from mlimages_dataset.vocab.vocabulary import IMAGENET, OPEN_IMAGES, USUAL_MINIMUM, MappingRow, Vocabulary, refuse_names
from tests import mini

if TYPE_CHECKING:
    from mlimages_dataset.vocab.wordnet import WordNet

DOG, PUPPY, CANINE, DOMESTIC, PET = "n02084071", "n01322604", "n02083346", "n01317541", "n01318894"
FIRE, TENNIS, ANIMAL = "n13480848", "n00482298", "n00015388"
WORDNET = mini.mini_wordnet()

# The classes of both lists and more ids and names, in any number, order and repetition.
any_imagenet = st.lists(
    st.sampled_from([*WORDNET.wnids, "n12345678"]).map(lambda wnid: SourceClass(wnid, "")), max_size=12
)
any_open_images = st.lists(
    st.sampled_from([*mini.OPEN_IMAGES_LIST.classes, SourceClass("/m/0", ""), SourceClass("/m/1", "lakes")]),
    max_size=12,
)


def listed(*wnids: str, finer: bool = False) -> ClassList:
    """Return an ImageNet list of wnids."""
    return ClassList(source=IMAGENET, classes=tuple(SourceClass(wnid, "") for wnid in wnids), finer=finer)


def named(*names: str, minimum_images: int = 0) -> ClassList:
    """Return an Open Images list of names, their ids counting up."""
    classes = tuple(SourceClass(f"/m/{i}", name) for i, name in enumerate(names))
    return ClassList(source=OPEN_IMAGES, classes=classes, minimum_images=minimum_images)


def build(
    *lists: ClassList, reviewed: Reviewed | None = None, image_counts: dict[tuple[str, str], int] | None = None
) -> Vocabulary:
    return merged_vocabulary(
        lists,
        WORDNET,
        reviewed or Reviewed(),
        image_counts=image_counts or {},
        imagenet_all=frozenset(),
        box_parents={},
    )


def only_row(vocabulary: Vocabulary) -> MappingRow:
    (row,) = vocabulary.mapping
    return row


def wnids(vocabulary: Vocabulary) -> set[str]:
    return {category.wnid for category in vocabulary.categories}


def test_the_four_roots_are_always_there() -> None:
    vocabulary = build()
    assert [category.wnid for category in vocabulary.categories] == list(ROOTS)
    assert all(category.sources == ("hierarchy",) and category.parent == -1 for category in vocabulary.categories)


@pytest.mark.parametrize(
    ("wnid", "rule", "evidence"),
    [
        (DOG, "wnid", "the id is a WordNet 3.0 synset"),
        (TENNIS, "dropped: abstract", "in WordNet it is tennis < abstraction < entity"),
        (FIRE, "dropped: reaches no root", "in WordNet it is fire < process < physical entity < entity"),
        ("n12345678", "dropped: unknown wnid", "no noun synset of WordNet 3.0 has this id"),
    ],
)
def test_a_class_with_a_wnid_is_taken_at_its_word(wnid: str, rule: str, evidence: str) -> None:
    row = only_row(build(listed(wnid)))
    assert (row.wnid, row.rule, row.evidence, row.class_index >= 0) == (wnid, rule, evidence, wnid == DOG)


def test_a_class_with_one_parent_under_a_root_is_kept() -> None:
    vocabulary = build(listed("n00007846", "n00007347"))  # person is an organism and a causal agent, which has no root
    assert [row.class_index >= 0 for row in vocabulary.mapping] == [True, False]


def test_synonyms_are_merged_into_one_category() -> None:
    vocabulary = build(listed("n02958343"), named("Car", "automobile", "Motorcar"))
    (car,) = {row.class_index for row in vocabulary.mapping}
    assert vocabulary.categories[car].sources == (IMAGENET, OPEN_IMAGES)
    assert vocabulary.categories[car].mids == ("/m/0", "/m/1", "/m/2")


@pytest.mark.parametrize(
    ("name", "rule"),
    [("Zorbing", "dropped: unmatched name"), ("", "dropped: unmatched name"), ("Tennis", "dropped: abstract")],
)
def test_a_name_that_means_no_category_is_a_row_with_its_reason(name: str, rule: str) -> None:
    row = only_row(build(named(name)))
    assert (row.class_index, row.rule, row.source_name) == (-1, rule, name)
    assert row.evidence


def test_a_dropped_match_still_says_how_it_was_matched() -> None:
    row = only_row(build(named("Tennis")))
    assert row.wnid == TENNIS
    assert "(matched: " in row.evidence


@pytest.mark.parametrize(("images", "kept"), [(649, False), (650, True)])
def test_a_class_with_too_few_images_is_dropped(images: int, kept: bool) -> None:  # noqa: FBT001 - an expectation
    row = only_row(build(named("Dog", minimum_images=650), image_counts={(OPEN_IMAGES, "/m/0"): images}))
    assert (row.class_index >= 0) == kept
    assert kept or (row.rule, row.evidence.partition(" (")[0]) == (
        "dropped: too few images",
        "649 images, fewer than 650",
    )


def test_a_class_without_a_count_has_no_images_where_its_source_is_counted() -> None:
    counts = {(OPEN_IMAGES, "/m/other"): 1000}
    assert only_row(build(named("Dog", minimum_images=650), image_counts=counts)).rule == "dropped: too few images"


def test_a_source_without_counts_is_not_judged_by_them() -> None:
    counts = {(IMAGENET, DOG): 1000}
    assert only_row(build(named("Dog", minimum_images=650), image_counts=counts)).class_index >= 0


def test_a_categorys_images_are_those_of_all_its_classes() -> None:
    counts = {(IMAGENET, DOG): 5, (OPEN_IMAGES, "/m/0"): 7}
    vocabulary = build(listed(DOG), named("Dog"), image_counts=counts)
    assert vocabulary.categories[vocabulary.index_of_wnid[DOG]].images == 12


def test_finer_classes_are_kept_below_a_kept_category_only() -> None:
    vocabulary = build(listed(DOG), listed(PUPPY, "n02330245", finer=True))
    rules = {row.wnid: (row.rule, row.evidence) for row in vocabulary.mapping}
    assert rules[PUPPY] == ("finer-grained", "finer than dog, domestic dog")
    assert rules["n02330245"] == ("dropped: below no kept category", "no kept category but a root is its ancestor")


def test_a_parent_is_the_nearest_category_and_all_of_them_are_kept() -> None:
    vocabulary = build(listed(PUPPY, DOG, DOMESTIC, ANIMAL))
    names = {
        category.wnid: {vocabulary.categories[p].wnid for p in category.parents} for category in vocabulary.categories
    }
    assert names[DOG] == {DOMESTIC}  # canine is no category, and animal lies above domestic animal
    assert names[PUPPY] == {DOG}
    with_canine = build(listed(PUPPY, DOG, DOMESTIC, ANIMAL, CANINE))
    dog = with_canine.categories[with_canine.index_of_wnid[DOG]]
    assert {with_canine.categories[p].wnid for p in dog.parents} == {DOMESTIC, CANINE}


def test_an_instance_lies_below_its_class() -> None:
    vocabulary = build(listed("n09333171", "n09328904"))
    number = vocabulary.index_of_wnid
    assert vocabulary.categories[number["n09333171"]].parents == (number["n09328904"],)


def test_a_reviewed_match_overrides_the_matcher() -> None:
    match = ReviewedMatch(source=OPEN_IMAGES, source_id="/m/0", wnid="n02012849", reason="the bird", where="r")
    row = only_row(build(named("Crane"), reviewed=Reviewed(matches=(match,))))
    assert (row.wnid, row.rule, row.evidence) == ("n02012849", "reviewed", "the bird")


def test_a_class_without_a_synset_becomes_its_nearest_parent() -> None:
    match = ReviewedMatch(source=OPEN_IMAGES, source_id="/m/0", wnid=DOG, reason="a dog", where="r", broader=True)
    vocabulary = build(named("Sled dog puppy", "Dog"), reviewed=Reviewed(matches=(match,)))
    assert [(row.wnid, row.rule, row.is_broader) for row in vocabulary.mapping] == [
        (DOG, "reviewed: nearest parent", True),
        (DOG, "only sense", False),
    ]
    assert vocabulary.categories[vocabulary.index_of_wnid[DOG]].mids == ("/m/0", "/m/1")


def test_a_reviewed_match_is_evidence_for_the_names_that_are_not_reviewed() -> None:
    names = named("Beasts of all kinds", "Crane")
    hierarchy = {"/m/1": ("/m/0",)}
    match = ReviewedMatch(source=OPEN_IMAGES, source_id="/m/0", wnid=ANIMAL, reason="animals", where="r", broader=True)
    vocabulary = merged_vocabulary(
        [listed("n03126707"), names],
        WORDNET,
        Reviewed(matches=(match,)),
        image_counts={},
        imagenet_all=frozenset(),
        box_parents=hierarchy,
    )
    crane = vocabulary.mapping[-1]
    assert (crane.wnid, crane.rule) == ("n02012849", "box hierarchy")


def test_a_reviewed_match_without_a_wnid_drops_the_class() -> None:
    match = ReviewedMatch(source=OPEN_IMAGES, source_id="/m/0", wnid="", reason="a film", where="r")
    row = only_row(build(named("Crane"), reviewed=Reviewed(matches=(match,))))
    assert (row.class_index, row.rule, row.evidence) == (-1, "dropped: reviewed", "a film")


def test_a_reviewed_match_is_of_one_source_only() -> None:
    match = ReviewedMatch(source="mine", source_id="/m/0", wnid="", reason="a film", where="r")
    assert only_row(build(named("Dog"), reviewed=Reviewed(matches=(match,)))).wnid == DOG


def test_a_category_is_dropped_by_review() -> None:
    drop = ReviewedCategory(wnid=DOG, add=False, reason="no dogs", where="r")
    vocabulary = build(listed(DOG, PUPPY), reviewed=Reviewed(categories=(drop,)))
    assert wnids(vocabulary) == {*ROOTS, PUPPY}
    assert [(row.rule, row.evidence) for row in vocabulary.mapping if row.wnid == DOG] == [
        ("dropped: reviewed", "no dogs")
    ]


def test_a_category_is_added_by_review() -> None:
    add = ReviewedCategory(wnid=ANIMAL, add=True, reason="wanted", where="r")
    vocabulary = build(listed(DOG), reviewed=Reviewed(categories=(add,)))
    number = vocabulary.index_of_wnid
    assert vocabulary.categories[number[ANIMAL]].sources == ("reviewed",)
    assert vocabulary.categories[number[DOG]].parents == (number[ANIMAL],)


def test_a_reviewed_edge_brings_a_class_under_a_root_and_adds_ancestors() -> None:
    edges = (
        Edge(child=FIRE, parent="n00002684", add=True, reason="seen", where="r"),
        Edge(child=DOG, parent=PET, add=True, reason="kept for company", where="r"),
    )
    vocabulary = build(listed(FIRE, PUPPY, PET), reviewed=Reviewed(edges=edges))
    number = vocabulary.index_of_wnid
    assert FIRE in number
    assert vocabulary.closure[number[PUPPY], number[PET]]


def test_a_removed_edge_takes_a_class_from_under_its_root() -> None:
    edge = Edge(child="n14845743", parent="n00020827", add=False, reason="no matter", where="r")
    vocabulary = build(listed("n14845743"), reviewed=Reviewed(edges=(edge,)))
    assert only_row(vocabulary).rule == "dropped: reaches no root"


@pytest.mark.parametrize(
    ("reviewed", "what"),
    [
        (ReviewedCategory(wnid="n12345678", add=True, reason="x", where="r, row"), "n12345678 is not a noun synset"),
        (ReviewedCategory(wnid="n12345678", add=False, reason="x", where="r, row"), "n12345678 is not a noun synset"),
        (ReviewedCategory(wnid=TENNIS, add=True, reason="x", where="r, row"), f"{TENNIS} reaches none of the four"),
        (ReviewedCategory(wnid=ROOTS[0], add=False, reason="x", where="r, row"), f"{ROOTS[0]} is one of the four"),
        (
            ReviewedMatch(source="s", source_id="1", wnid="n12345678", reason="x", where="r, row"),
            "n12345678 is not a noun synset",
        ),
    ],
)
def test_a_reviewed_decision_that_cannot_be_is_refused_with_its_row(
    reviewed: ReviewedCategory | ReviewedMatch, what: str
) -> None:
    decisions = (
        Reviewed(matches=(reviewed,)) if isinstance(reviewed, ReviewedMatch) else Reviewed(categories=(reviewed,))
    )
    with pytest.raises(VocabularyError) as caught:
        build(listed(DOG), reviewed=decisions)
    assert caught.value.what.startswith(what)
    assert caught.value.where == "r, row"


def test_repeated_ids_are_one_row_and_are_counted() -> None:
    cat = SourceClass("/m/0", "Domestic cat")
    one = ClassList(source=OPEN_IMAGES, classes=(cat, SourceClass("/m/1", "Dog"), cat))
    vocabulary = build(one)
    assert [row.source_id for row in vocabulary.mapping] == ["/m/0", "/m/1"]
    assert repeated_ids(one) == ["/m/0"]
    assert ("open-images", "dropped: repeated id", 1) in [
        (step.source, step.step, step.classes) for step in funnel(vocabulary, [one])
    ]


def test_of_two_names_of_one_id_the_first_is_taken() -> None:
    one = ClassList(source=OPEN_IMAGES, classes=(SourceClass("/m/0", "Dog"), SourceClass("/m/0", "Puppy")))
    assert only_row(build(one)).source_name == "Dog"


def test_funnel_of_the_mini_lists(mini_vocabulary: Vocabulary) -> None:
    steps = funnel(mini_vocabulary, [mini.IMAGENET_LIST, mini.OPEN_IMAGES_LIST])
    assert [(step.source, step.step, step.classes) for step in steps] == [
        ("imagenet", "entered", 13),
        ("imagenet", "dropped: abstract", 1),
        ("imagenet", "dropped: reaches no root", 1),
        ("imagenet", "dropped: unknown wnid", 1),
        ("imagenet", "kept as a new category", 10),
        ("imagenet", "kept, merged into a category", 0),
        ("open-images", "entered", 9),
        ("open-images", "dropped: abstract", 1),
        ("open-images", "dropped: unmatched name", 1),
        ("open-images", "kept as a new category", 4),
        ("open-images", "kept, merged into a category", 3),
        ("hierarchy", "added: roots, ancestors and reviewed categories", 4),
        ("vocabulary", "categories", 18),
    ]


@given(any_imagenet, any_open_images)
def test_each_class_of_each_list_is_in_exactly_one_row(
    imagenet: list[SourceClass], open_images: list[SourceClass]
) -> None:
    lists = [
        ClassList(source=IMAGENET, classes=tuple(imagenet)),
        ClassList(source=OPEN_IMAGES, classes=tuple(open_images)),
    ]
    vocabulary = build(*lists)
    rows = Counter((row.source, row.source_id) for row in vocabulary.mapping)
    assert rows == Counter({(one.source, c.source_id) for one in lists for c in one.classes})
    assert all(row.rule and row.evidence for row in vocabulary.mapping)
    for row in vocabulary.mapping:
        assert row.class_index == -1 or vocabulary.categories[row.class_index].wnid == row.wnid


@given(any_imagenet, any_open_images)
def test_the_funnel_adds_up(imagenet: list[SourceClass], open_images: list[SourceClass]) -> None:
    lists = [
        ClassList(source=IMAGENET, classes=tuple(imagenet)),
        ClassList(source=OPEN_IMAGES, classes=tuple(open_images)),
    ]
    vocabulary = build(*lists)
    steps = funnel(vocabulary, lists)
    for one in lists:
        entered, *fates = [step.classes for step in steps if step.source == one.source]
        assert entered == len(one.classes) == sum(fates)
    added = [step.classes for step in steps if step.step.startswith(("kept as a new", "added:"))]
    assert sum(added) == len(vocabulary) == steps[-1].classes


@given(any_imagenet, any_open_images)
def test_adding_a_list_again_changes_no_category(imagenet: list[SourceClass], open_images: list[SourceClass]) -> None:
    first = ClassList(source=IMAGENET, classes=tuple(imagenet))
    second = ClassList(source=OPEN_IMAGES, classes=tuple(open_images))
    once = build(first, second)
    twice = build(first, second, replace(second, source="mine"), replace(first, source="ours"))
    assert [replace(c, sources=()) for c in once.categories] == [replace(c, sources=()) for c in twice.categories]


@given(any_imagenet, st.permutations(mini.OPEN_IMAGES_LIST.classes))
def test_the_order_of_a_list_does_not_change_the_categories(
    imagenet: list[SourceClass], shuffled: list[SourceClass]
) -> None:
    first = ClassList(source=IMAGENET, classes=tuple(imagenet))
    in_order, out_of_order = (
        build(first, mini.OPEN_IMAGES_LIST),
        build(first, replace(mini.OPEN_IMAGES_LIST, classes=tuple(shuffled))),
    )
    assert [replace(c, mids=tuple(sorted(c.mids))) for c in in_order.categories] == [
        replace(c, mids=tuple(sorted(c.mids))) for c in out_of_order.categories
    ]
    assert set(in_order.mapping) == set(out_of_order.mapping)


@given(any_imagenet)
def test_parents_come_before_children(imagenet: list[SourceClass]) -> None:
    vocabulary = build(ClassList(source=IMAGENET, classes=tuple(imagenet)))
    assert all(parent < i for i, category in enumerate(vocabulary.categories) for parent in category.parents)
    assert [vocabulary.index_of_wnid[category.wnid] for category in vocabulary.categories] == list(
        range(len(vocabulary))
    )


def test_the_published_dictionary_keeps_its_indices_and_its_tree() -> None:
    rows = [
        TencentRow(0, "n09328904", 2, "lake"),
        TencentRow(1, "n09333171", 0, "Lake Superior"),
        TencentRow(2, "n00002452", -1, "thing"),
    ]
    vocabulary = vocabulary_from_tencent(rows, "d.txt")
    assert [(c.wnid, c.parent, c.parents, c.root, c.depth, c.name) for c in vocabulary.categories] == [
        ("n09328904", 2, (2,), 2, 1, "lake"),
        ("n09333171", 0, (0,), 2, 2, "Lake Superior"),
        ("n00002452", -1, (), 2, 0, "thing"),
    ]
    assert {(row.source, row.source_id): row.class_index for row in vocabulary.mapping} == {
        ("tencent", "0"): 0,
        ("tencent", "1"): 1,
        ("tencent", "2"): 2,
        ("imagenet", "n09328904"): 0,
        ("imagenet", "n09333171"): 1,
        ("imagenet", "n00002452"): 2,
    }


def test_a_cycle_in_a_dictionary_is_refused_with_its_file() -> None:
    rows = [TencentRow(0, "n09328904", 1, "lake"), TencentRow(1, "n09333171", 0, "Lake Superior")]
    with pytest.raises(VocabularyError, match=r"^d\.txt: the parents form a cycle: n09328904 > n09333171 > n09328904;"):
        vocabulary_from_tencent(rows, "d.txt")


def test_ancestors_of_the_mini_vocabulary(mini_vocabulary: Vocabulary, mini_wordnet: WordNet) -> None:
    number = mini_vocabulary.index_of_wnid
    above = mini_vocabulary.closure[[number[PUPPY]]].indices.tolist()
    assert {mini_wordnet.lemmas[mini_wordnet.index_of_wnid[mini_vocabulary.categories[i].wnid]][0] for i in above} == {
        "puppy",
        "dog",
        "canine",
        "domestic animal",
        "animal",
        "object",
    }


@given(
    st.lists(st.sampled_from(["mine", "yours", "birds"]), unique=True),
    st.dictionaries(st.sampled_from([IMAGENET, OPEN_IMAGES, "mine", "birds"]), st.sampled_from([0, 3, 650])),
)
def test_only_an_unusual_number_of_images_needs_its_list(own: list[str], minimum: dict[str, int]) -> None:
    unlisted = [one for one in minimum if one not in own and minimum[one] != USUAL_MINIMUM.get(one)]
    if not unlisted:
        refuse_names([], own, minimum)
        return
    with pytest.raises(UsageError) as told:
        refuse_names([], own, minimum)
    assert repr(unlisted[0]) in told.value.what
    assert told.value.remedy == (f"use one of {', '.join(own)}" if own else "pass a class list")
