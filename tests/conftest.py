"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from mlimages_dataset.vocab.merging import merged_vocabulary
from mlimages_dataset.vocab.reviewed import Reviewed
from mlimages_dataset.vocab.wordnet import WordNet, load_wordnet
from tests import mini

if TYPE_CHECKING:
    from mlimages_dataset.vocab.vocabulary import Vocabulary

# No test depends on seconds: the first example may have to compile, and the machine may be busy.
# `.ci/run` sets CI: what a change is judged by must not be drawn anew each time.
settings.register_profile("untimed", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of published files, which are not part of the project."""
    beside_the_repository = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MLIMAGES_SHARED_DATA", beside_the_repository))
    if not folder.is_dir():
        pytest.skip(f"the published files are not in {folder}; name their folder in MLIMAGES_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def wordnet() -> WordNet:
    """Return the packaged WordNet."""
    return load_wordnet()


@pytest.fixture(scope="session")
def mini_wordnet() -> WordNet:
    """Return the WordNet of 33 synsets that `tests.mini` describes."""
    return mini.mini_wordnet()


@pytest.fixture(scope="session")
def mini_vocabulary(mini_wordnet: WordNet) -> Vocabulary:
    """Return the vocabulary of `tests.mini`'s two class lists on the mini WordNet."""
    return merged_vocabulary(
        [mini.IMAGENET_LIST, mini.OPEN_IMAGES_LIST],
        mini_wordnet,
        Reviewed(),
        image_counts={},
        imagenet_all=frozenset(),
        box_parents={},
    )
