"""Rules that are learned from COCO's packaged labels, by Python, by the command and by a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

import mlimages_dataset as ml
from mlimages_dataset import samples
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.recipes.build import build_recipe, verify
from mlimages_dataset.recipes.recipe import read_recipe
from mlimages_dataset.tables.schemas import Origin
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
