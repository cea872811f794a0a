"""Rules that are learned from COCO's packaged labels, by Python, by the command and by a recipe."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import mlimages_dataset as ml
from mlimages_dataset import samples
from mlimages_dataset.augment.reasons import rule_in_words
from mlimages_dataset.core.errors import ConfigError, UsageError
from mlimages_dataset.recipes.build import build_recipe, verify
from mlimages_dataset.recipes.recipe import read_recipe
from mlimages_dataset.tables.schemas import RULES, Origin
from tests.cli.conftest import command, main_command  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.api.annotations import Annotations
    from mlimages_dataset.vocab.vocabulary import Vocabulary
    from tests.cli.conftest import Command

pytestmark = pytest.mark.slow
RECIPE = """
[vocabulary]
classes = { coco = "packaged:coco.csv" }
narrower = true
[[annotations]]
name = "coco"
format = "csv"
files = ["packaged:coco.csv.gz"]
separator = "|"
ids_of = "coco"
complete = true
[cooccurrence]
annotations = "coco"
rule = "regression"
precision = 0.8
"""


@pytest.fixture(name="vocabulary", scope="module")
def _vocabulary() -> Vocabulary:
    return ml.build_vocabulary(classes={"coco": "packaged:coco.csv"}, narrower=True)


@pytest.fixture(name="complete", scope="module")
def _complete(vocabulary: Vocabulary) -> Annotations:
    return ml.annotate(samples.coco_csv(), vocabulary, format="csv", separator="|", ids_of="coco")


@pytest.fixture(name="rules", scope="module")
def _rules(vocabulary: Vocabulary, complete: Annotations) -> ml.Rules:
    return ml.learn_rules(complete, complete, vocabulary, precision=0.8)


def test_what_is_added_is_said_and_why(vocabulary: Vocabulary, rules: ml.Rules) -> None:
    terms = rules.to_pandas()
    singles = terms[(terms["antecedent"] >= 0) & (terms["together_with"] < 0)]
    strongest = singles.sort_values("weight", ascending=False).head(20)
    names = {row.source_id: row.class_index for row in vocabulary.mapping}
    id_of = {index: name for name, index in names.items()}
    known = strongest.groupby("consequent")["antecedent"].apply(list)
    frame = pd.DataFrame(
        [(f"image of {j}", id_of[i]) for j, antecedents in known.items() for i in antecedents],
        columns=["image_id", "label"],
    )
    labels = ml.augment(frame, vocabulary, rules, ids_of="coco")
    rows = labels.to_pandas()
    of_rules = rows["class_index"].isin(terms["consequent"])  # others of this origin are their parents
    added = rows[(rows["origin"] == int(Origin.CO_OCCURRENCE)) & of_rules]
    assert len(added)
    assert (added["confidence"] >= added["class_index"].map(terms.groupby("consequent")["least"].first())).all()
    for row in added.itertuples():
        reasons = labels.why(str(row.image_id))
        (why,) = reasons[reasons["class_index"] == row.class_index]["why"]
        said = frame[frame["image_id"] == row.image_id]["label"].map(names).map(lambda i: vocabulary.categories[i].name)
        assert any(name.partition(",")[0] in why for name in said), why


def test_each_line_says_what_a_rule_adds(vocabulary: Vocabulary) -> None:
    """Of no label and a teacher alone, the probability that is told is the one at which the estimate is the limit."""
    ramp = {"antecedent": -2, "together_with": -1, "consequent": 3, "weight": 4.0, "least": 0.5}
    rows = [
        {**ramp, "score_from": 0.25, "score_to": 0.75},
        {**ramp, "antecedent": -1, "weight": -2.0, "score_from": 0.0, "score_to": 0.0},
        {**ramp, "antecedent": 4, "weight": 1.0, "score_from": 0.0, "score_to": 0.0},
    ]
    told = rule_in_words(3, vocabulary, pa.Table.from_pylist(rows, RULES.arrow))
    assert "estimate is 50% or more" in told
    assert "a prediction of 0.50 or more is enough alone" in told
    assert f"{vocabulary.categories[4].first_name} +1.0" in told
    assert not rule_in_words(4, vocabulary, pa.Table.from_pylist(rows, RULES.arrow))


def test_they_are_written_read_and_refused_with_another_vocabulary(
    vocabulary: Vocabulary, rules: ml.Rules, tmp_path: Path
) -> None:
    rules.write(tmp_path / "rules")
    assert ml.Rules.read(tmp_path / "rules", vocabulary).to_pandas().equals(rules.to_pandas())
    with pytest.raises(UsageError, match="vocabulary"):
        ml.Rules.read(tmp_path / "rules", ml.build_vocabulary(imagenet=["n02084071"]))
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UsageError, match="there are no rules in it"):
        ml.Rules.read(tmp_path / "nothing", vocabulary)


def test_a_recipe_has_the_same_rules(rules: ml.Rules, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    build_recipe(read_recipe(tmp_path / "recipe.toml"), tmp_path / "build", ended=lambda *_: None)
    assert verify(tmp_path / "build") == []
    built = ml.Rules.read(tmp_path / "build" / "rules", ml.read_vocabulary(tmp_path / "build"))
    assert built.to_pandas().equals(rules.to_pandas())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--rule", "regression", "--strength", "0.4"), "--strength has no meaning with --rule regression"),
        (("--precision", "0.4"), "--precision has no meaning with --rule pairs"),
        (("--rule", "image", "--probability", "0.4"), "--probability has no meaning with --rule image"),
        (("--rule", "pairs", "--hidden", "0.4"), "--hidden has no meaning with --rule pairs"),
    ],
)
def test_options_of_the_other_rule_are_refused(
    tmp_path: Path,
    command: Command,  # noqa: F811 - the fixture
    options: tuple[str, ...],
    told: str,
) -> None:
    places = [text for name in ("vocab", "annotations", "predictions") for text in (f"--{name}", str(tmp_path))]
    ran = command("cooccurrence", *places, *options, "--out", tmp_path / "out")
    assert ran.code == 2
    assert told in ran.err


@pytest.fixture(name="predicted", scope="module")
def _predicted(vocabulary: Vocabulary, complete: Annotations) -> pd.DataFrame:
    """Return what a teacher says of the images: nearly always right, and bold."""
    id_of = {row.class_index: row.source_id for row in vocabulary.mapping}
    rng = np.random.default_rng(0)
    frame = complete.to_pandas()[["image_id", "class_index"]]
    wrong = frame.assign(class_index=rng.permutation(frame["class_index"]))
    every = pd.concat([frame, wrong]).drop_duplicates()
    right = np.arange(len(every)) < len(frame)
    at = np.where(right, 2.0, -2.0) + 2 * rng.standard_normal(len(every))
    return pd.DataFrame(
        {
            "image_id": every["image_id"].to_numpy(),
            "label": every["class_index"].map(id_of).to_numpy(),
            "confidence": (1 / (1 + np.exp(-2 * at))).clip(0.001, 0.999),
        }
    )


def test_a_teacher_s_predictions_add_labels_and_why_names_the_picture(
    vocabulary: Vocabulary, complete: Annotations, predicted: pd.DataFrame
) -> None:
    id_of = {row.class_index: row.source_id for row in vocabulary.mapping}
    rules = ml.learn_rules(complete, predicted, vocabulary, rule="image", precision=0.9, ids_of="coco")
    assert "(predicted)" in set(rules.to_pandas()["antecedent_name"])
    said = pd.DataFrame({"image_id": predicted["image_id"].unique(), "label": "person"}).head(500)
    labels = ml.augment(said, vocabulary, rules, predictions=predicted, ids_of="coco")
    rows = labels.to_pandas()
    of_rules = rows["class_index"].isin(rules.to_pandas()["consequent"])
    added = rows[(rows["origin"] == int(Origin.CO_OCCURRENCE)) & of_rules & (rows["confidence"] < 1)]
    assert len(added) > 100
    assert added["confidence"].between(0, 1, inclusive="neither").all()
    first = added.iloc[0]
    reasons = labels.why(first["image_id"])
    (why,) = reasons[reasons["class_index"] == first["class_index"]]["why"]
    assert why.startswith("probably, by its picture, to which the model gives "), why
    assert f"right in {first['confidence']:.0%} of such images" in why
    told = 0
    for image_id, class_index in added[["image_id", "class_index"]].head(60).to_numpy().tolist():
        reasons = labels.why(image_id)
        (why,) = reasons[reasons["class_index"] == class_index]["why"]
        found = re.search(r"the model gives (about )?([0-9.]+)( or more)?: ", why)
        if found is None:
            continue
        given = predicted[(predicted["image_id"] == image_id) & (predicted["label"] == id_of[class_index])]
        (probability,) = given["confidence"]
        if found[1]:
            assert float(found[2]) == pytest.approx(probability, abs=0.006)
        else:
            assert probability >= float(found[2]) - 0.006
        told += 1
    assert told > 30
    with pytest.raises(UsageError, match="and none are given"):
        ml.augment(said, vocabulary, rules, ids_of="coco")
    with pytest.raises(UsageError, match="no rule reads them"):
        ml.augment(said, vocabulary, predictions=predicted, ids_of="coco")
    with pytest.raises(UsageError, match="named as a teacher's predictions"):
        ml.learn_rules(complete, complete, vocabulary, rule="image")


def test_a_recipe_applies_a_teacher_s_predictions(
    vocabulary: Vocabulary, predicted: pd.DataFrame, tmp_path: Path
) -> None:
    ml.annotate(predicted, vocabulary, predictions=True, ids_of="coco").write(tmp_path / "predictions")
    text = RECIPE.replace('"regression"', '"image"').replace(
        "precision = 0.8", 'precision = 0.8\npredictions = "predictions"'
    )
    (tmp_path / "recipe.toml").write_text(text)
    build_recipe(read_recipe(tmp_path / "recipe.toml"), tmp_path / "build", ended=lambda *_: None)
    assert verify(tmp_path / "build") == []
    (tmp_path / "none.toml").write_text(RECIPE.replace('"regression"', '"image"'))
    with pytest.raises(ConfigError, match=r"no cooccurrence\.predictions"):
        read_recipe(tmp_path / "none.toml")


def test_a_probability_that_the_rule_does_not_heed_is_refused() -> None:
    with pytest.raises(UsageError, match="probability has no meaning with the rule 'image'; leave it out"):
        ml.learn_rules("a", "b", "v", rule="image", probability=0.5)
