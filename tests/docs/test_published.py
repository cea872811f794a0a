"""What the documentation tells of the published files is so in the files themselves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from mlimages_dataset.vocab.hierarchy import ROOTS
from mlimages_dataset.vocab.packaged import packaged_class_list
from tests.docs.pages import DOCS

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.vocab.wordnet import WordNet


def ancestors(wordnet: WordNet, synset: int) -> set[int]:
    """Return a synset and all above it."""
    found, waiting = set[int](), [synset]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += wordnet.parents(one)
    return found


@pytest.mark.shared_data
def test_the_abstract_categories_are_those_that_the_tree_lacks(shared_data: Path, wordnet: WordNet) -> None:
    rows = (shared_data / "tencent" / "dictionary_first_9418.txt").read_text(encoding="utf-8").splitlines()[1:]
    tree = {row.split("\t")[1] for row in rows}
    listed = set(packaged_class_list("imagenet11k.txt").read_text(encoding="utf-8").split())
    text = " ".join((DOCS / "explain" / "published.md").read_text(encoding="utf-8").split())
    numbers = [len(listed & tree), len(listed), len(listed - tree)]
    assert f"{numbers[0]:,} of the {numbers[1]:,} categories are in WordTree and {numbers[2]:,} are not" in text
    assert numbers[2] - (9_232 - numbers[0]) == 1_989

    (examples,) = re.findall(r"that YOLO9000's WordTree lacks\*\*: ([^.]*)\.", text)
    roots = {wordnet.index_of_wnid[wnid] for wnid in ROOTS}
    for name in examples.split(", "):
        senses = [synset for synset in wordnet.senses[name] if wordnet.wnids[synset] in listed - tree]
        assert senses, name
        assert all(ancestors(wordnet, synset) & roots for synset in senses), name
