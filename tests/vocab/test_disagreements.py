"""Names that disagree with their wnids are told one by one, and as another version where most of them do."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pandas as pd
import pytest

import mlimages_dataset as ml
from mlimages_dataset.vocab.disagreements import disagreements

if TYPE_CHECKING:
    from mlimages_dataset.vocab.wordnet import WordNet

OF_3_0 = {
    "dog": "n02084071",
    "cat": "n02121620",
    "car": "n02958343",
    "zebra": "n02391049",
    "kitchen table": "n04379243",
}
OF_3_1 = {"dog": "n02086723", "cat": "n02124272", "car": "n02961779", "horse": "n02377103"}


def told(named: dict[str, str], network: WordNet, columns: tuple[str, str] = ("name", "wnid")) -> list[str]:
    """Return what is said of a list with an id for each name, or with the wnids themselves as ids."""
    frame = pd.DataFrame(list(named.items()), columns=list(columns))
    if "id" not in columns:
        frame["id"] = [f"c{number}" for number in range(len(frame))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vocabulary = ml.build_vocabulary(classes={"mine": frame, "real": pd.DataFrame({"id": ["x"], "name": ["dog"]})})
    lists = [SimpleNamespace(source="mine", own=True, classes=())]
    return [sentence for _, sentence in disagreements(vocabulary, lists, network)]  # type: ignore[arg-type]  # as read


@pytest.mark.parametrize("columns", [("name", "wnid"), ("name", "id")])
def test_names_that_agree_are_not_told(wordnet: WordNet, columns: tuple[str, str]) -> None:
    assert told(OF_3_0, wordnet, columns) == []
    assert told({"Dogs": OF_3_0["dog"], "my brand": OF_3_0["car"]}, wordnet, columns) == []
    persons_and_motorcycles = {"humans": "n00007846", "motorbike": "n03790512"}
    assert told(persons_and_motorcycles, wordnet, columns) == [], "as other collections mean these names"


@pytest.mark.parametrize("columns", [("name", "wnid"), ("name", "id")])
def test_one_name_that_disagrees_is_told(wordnet: WordNet, columns: tuple[str, str]) -> None:
    (sentence,) = told({**OF_3_0, "zebra": "n01631663"}, wordnet, columns)
    assert sentence.startswith("'zebra' has the wnid n01631663, which is eft in WordNet 3.0: correct the wnid")


@pytest.mark.parametrize("columns", [("name", "wnid"), ("name", "id")])
def test_the_ids_of_wordnet_3_1_are_told_once(wordnet: WordNet, columns: tuple[str, str]) -> None:
    (sentence,) = told(OF_3_1, wordnet, columns)
    assert sentence.startswith("4 of 4 wnids name something else than their class, such as 'dog'")
    assert "perhaps WordNet 3.1" in sentence


def test_the_user_is_told() -> None:
    frame = pd.DataFrame({"id": ["d", "z"], "name": ["dog", "zebra"], "wnid": [OF_3_0["dog"], "n01631663"]})
    with pytest.warns(UserWarning, match="mine: 'zebra' has the wnid n01631663, which is eft"):
        ml.build_vocabulary(classes={"mine": frame})


def test_ids_of_one_name_are_told_unless_the_list_tells_them_apart() -> None:
    shared = pd.DataFrame({"id": ["a", "b", "c"], "name": ["crane", "Crane", "zebra"]})
    with pytest.warns(UserWarning, match="mine: a and b have one name, 'crane', and are one category") as caught:
        ml.build_vocabulary(classes={"mine": shared})
    assert len(caught) == 1
    ml.build_vocabulary(classes={"mine": shared.assign(name=["crane (bird)", "crane (machine)", "zebra"])})
    ml.build_vocabulary(classes={"mine": shared.assign(wnid=["n02012849", "n03126707", ""])})


def test_names_of_synsets_that_wordnet_has_not_are_told_and_the_class_is_what_its_name_means() -> None:
    named = pd.DataFrame(
        {
            "id": ["c", "k", "d", "r"],
            "name": ["cat", "kitten", "dog", "zebra"],
            "synset": ["cat.n.99", "kitten", "dog.n.01", "run.v.01"],
        }
    )
    with pytest.warns(UserWarning, match="mine: 3 classes name a synset that is no noun of WordNet 3.0, such as"):
        vocabulary = ml.build_vocabulary(classes={"mine": named})
    found = {row.source_id: row.wnid for row in vocabulary.mapping}
    assert found["c"] == OF_3_0["cat"]
    assert found["d"] == OF_3_0["dog"]


def test_a_name_of_a_synset_that_is_not_the_wnid_beside_it_is_told() -> None:
    named = pd.DataFrame({"id": ["c"], "name": ["cat"], "wnid": [OF_3_0["cat"]], "synset": ["dog.n.01"]})
    with pytest.warns(UserWarning, match=r"'c' is n02121620, but its synset 'dog.n.01' is n02084071: the wnid counts"):
        vocabulary = ml.build_vocabulary(classes={"mine": named})
    (row,) = vocabulary.mapping
    assert (row.wnid, row.evidence) == (OF_3_0["cat"], "the list says so")
