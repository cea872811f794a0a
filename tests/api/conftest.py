"""Small vocabularies, of a user who has no files."""

from __future__ import annotations

import pytest

import mlimages_dataset as ml

DOG, CAT, LEASH = "n02084071", "n02121808", "n03652932"


@pytest.fixture(name="known", scope="package")
def _known() -> ml.Vocabulary:
    return ml.build_vocabulary(imagenet=[DOG, CAT, LEASH])


@pytest.fixture(name="other", scope="package")
def _other() -> ml.Vocabulary:
    """Another vocabulary, in which the same class indices are other categories."""
    return ml.build_vocabulary(imagenet=[CAT, LEASH, "n03135532"])
