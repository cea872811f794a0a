"""The likeliest category is found first, and every name that the package itself gives finds its category."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

import mlimages_dataset as ml
from tests.api.conftest import DOG

if TYPE_CHECKING:
    from mlimages_dataset.vocab.vocabulary import Vocabulary


@pytest.fixture(name="large", scope="module")
def _large() -> Vocabulary:
    return ml.build_vocabulary(imagenet="packaged:imagenet11k.txt")


def test_the_whole_name_finds_its_category(large: Vocabulary) -> None:
    names = [one.name for one in large.categories]
    unique = [one for one in large.categories[::200] if names.count(one.name) == 1]
    assert len(unique) > 40
    for category in unique:
        found = large.search(category.name, limit=5)
        assert found["by"][0] == "name"
        assert category.wnid in set(found["wnid"][found["by"] == "name"])
    assert large.category("dog, domestic dog, Canis familiaris").wnid == DOG


def test_senses_of_lists_come_first_and_then_the_less_deep(large: Vocabulary) -> None:
    listed = {row.wnid for row in large.mapping if row.is_kept}
    for text in ("dog", "crane", "bat", "mouse", "bass", "seal"):
        found = large.search(text, limit=50)
        exact = found[found["by"] == "name"]
        assert len(exact) == (found["by"] != "near miss").sum() > 0
        order = [(wnid not in listed, depth) for wnid, depth in zip(exact["wnid"], exact["depth"], strict=True)]
        assert all(one <= other for one, other in pairwise(order))


def test_values_are_shown_in_one_line(large: Vocabulary, known: ml.Vocabulary) -> None:
    assert repr(large) == "Vocabulary of 10,961 categories from imagenet"
    assert str(known) == f"Vocabulary of {len(known)} categories from imagenet"
    for kind in (ml.Annotations, ml.Predictions, ml.Labels, ml.Pairs):
        assert repr(kind(known.folder, known)) == f"{kind.__name__} in {known.folder}"  # type: ignore[arg-type]  # it has one
