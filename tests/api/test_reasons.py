"""The reason that is given for a label is what the rules of augmentation say, worked out here naively."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import mlimages_dataset as ml

if TYPE_CHECKING:
    from pathlib import Path

WNIDS = {"dog": "n02084071", "hunter": "n02087122", "retriever": "n02099601", "cat": "n02121808", "leash": "n03652932"}


@pytest.fixture(name="vocabulary", scope="module")
def _vocabulary() -> ml.Vocabulary:
    return ml.build_vocabulary(imagenet=list(WNIDS.values()))


@pytest.fixture(name="pairs", scope="module")
def _pairs(vocabulary: ml.Vocabulary) -> pd.DataFrame:
    """Return pairs by name only: a dog has a leash, a leash a dog, a cat a hunting dog."""
    rows = [("dog", "leash", 0.5), ("leash", "dog", 0.75), ("cat", "hunter", 0.25)]
    columns = ["antecedent_wnid", "consequent_wnid", "probability"]
    frame = pd.DataFrame([(WNIDS[one], WNIDS[other], share) for one, other, share in rows], columns=columns)
    assert set(frame["antecedent_wnid"]) <= vocabulary.index_of_wnid.keys()
    return frame.assign(support=1, lower_bound=0.1)


def said_at_random(images: int) -> pd.DataFrame:
    """Return presences and absences of every mixture."""
    random = np.random.default_rng(0)
    rows = [
        (str(image), wnid, random.choice([0.0, 0.25, 0.5, 1.0]))
        for image in range(images)
        for wnid in random.choice(list(WNIDS.values()), random.integers(1, 4), replace=False)
    ]
    return pd.DataFrame(rows, columns=["image_id", "label", "confidence"])


def first_name(vocabulary: ml.Vocabulary, wnid: str) -> str:
    return vocabulary.category(wnid).name.split(",")[0]


def test_a_reason_is_what_the_rules_say(vocabulary: ml.Vocabulary, pairs: pd.DataFrame) -> None:
    said = said_at_random(60)
    labels = ml.augment(said, vocabulary, pairs)
    above = {wnid: {one.wnid for one in vocabulary.ancestors(wnid)} for wnid in vocabulary.index_of_wnid}
    seen: set[str] = set()
    for image_id, rows in said.groupby("image_id"):
        stated = dict(zip(rows["label"], rows["confidence"], strict=True))
        present = {wnid: share for wnid, share in stated.items() if share}
        for label in labels.why(str(image_id)).itertuples():
            wnid, parts = str(label.wnid), re.split("; also |; ", str(label.why))
            seen |= {" ".join(part.split()[:2]) if part.startswith("because of") else part.split()[0] for part in parts}
            for part in parts:
                named = [
                    name
                    for name in vocabulary.index_of_wnid
                    if first_name(vocabulary, name)
                    in re.split(r" and |: |, which| of |because (?:of )?|below | is one| are$", part)
                ]
                if part == "annotated by csv":
                    assert wnid in present
                elif part == "csv says that it is absent":
                    assert stated[wnid] == 0
                elif part.startswith("below"):
                    assert named
                    assert all(stated[name] == 0 and name in above[wnid] for name in named)
                elif part.startswith("because") and not part.startswith("because of"):
                    assert named
                    assert all(wnid in above[name] - {name} for name in named)
                else:
                    (share,) = (
                        row.probability
                        for row in pairs.itertuples()
                        if row.consequent_wnid == wnid and row.antecedent_wnid in named
                    )
                    percent = f"{100 * float(str(share)):.0f} %"
                    assert part == f"because of {first_name(vocabulary, named[0])}: {percent} of its images"
                    assert named[0] in present
            if wnid in present:  # its confidence is its own, unless something else is named
                assert parts[0] == "annotated by csv"
                assert label.confidence == present[wnid] or len(parts) > 1
    assert seen >= {"annotated", "csv", "below", "because", "because of"}


def test_both_reasons_of_a_confidence_are_said(vocabulary: ml.Vocabulary, pairs: pd.DataFrame) -> None:
    expected = {(0.25, 1.0): "annotated by csv; also because golden retriever is one", (1.0, 0.25): "annotated by csv"}
    for (dog, retriever), reason in expected.items():
        said = pd.DataFrame(
            {"image_id": "a", "label": [WNIDS["dog"], WNIDS["retriever"]], "confidence": [dog, retriever]}
        )
        why = ml.augment(said, vocabulary).why("a").set_index("wnid")["why"]
        assert why[WNIDS["dog"]] == reason
    said = pd.DataFrame({"image_id": "a", "label": [WNIDS["dog"], WNIDS["leash"]], "confidence": [1.0, 0.25]})
    why = ml.augment(said, vocabulary, pairs).why("a").set_index("wnid")["why"]
    assert why[WNIDS["leash"]] == "annotated by csv; also because of dog: 50 % of its images"


def test_the_reason_of_an_ancestor_is_the_label_that_gives_its_confidence(vocabulary: ml.Vocabulary) -> None:
    for (dog, retriever), names in {(0.75, 0.5): "dog", (0.5, 0.5): "golden retriever", (0.25, 0.5): "golden"}.items():
        said = pd.DataFrame(
            {"image_id": "a", "label": [WNIDS["dog"], WNIDS["retriever"]], "confidence": [dog, retriever]}
        )
        why = ml.augment(said, vocabulary).why("a")
        above = why[why["why"].str.startswith("because") & (why["confidence"] == max(dog, retriever))]
        assert len(above)
        assert above["why"].str.startswith(f"because {names}").all()


def test_without_pairs_co_occurrence_has_no_other_reason(
    vocabulary: ml.Vocabulary, pairs: pd.DataFrame, tmp_path: Path
) -> None:
    said = pd.DataFrame({"image_id": ["a", "b"], "label": [WNIDS["dog"], WNIDS["cat"]]})
    ml.augment(said, vocabulary, pairs).write(tmp_path / "labels")
    unknown = ml.Labels.read(tmp_path / "labels", vocabulary)
    other = ml.Labels.read(tmp_path / "labels", vocabulary, pairs.head(0))
    for labels, leaf in (
        (unknown, "co-occurrence (pairs not given)"),
        (other, "co-occurrence (by none of the pairs given)"),
    ):
        for image_id, wnid in itertools.product("ab", [WNIDS["leash"], WNIDS["hunter"]]):
            found = labels.why(image_id).set_index("wnid")["why"]
            assert found.get(wnid, leaf) == leaf
    implied = unknown.why("a").query("origin == 2")["why"]
    assert set(implied) == {"co-occurrence (pairs not given)"}
