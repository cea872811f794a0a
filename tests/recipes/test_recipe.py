"""A recipe says exactly what a build does; whatever it cannot mean is refused with the key and what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlimages_dataset import samples
from mlimages_dataset.augment.ancestors import Absences
from mlimages_dataset.augment.annotate import AnnotatedFiles
from mlimages_dataset.augment.labels_stage import LabelOptions
from mlimages_dataset.augment.simulation import Simulation
from mlimages_dataset.core.errors import ConfigError
from mlimages_dataset.recipes.recipe import (
    CooccurrenceSource,
    Recipe,
    default_recipe,
    packaged_file,
    read_recipe,
)
from mlimages_dataset.vocab.packaged import PACKAGED_CLASS_LISTS, packaged_class_list
from mlimages_dataset.vocab.stage import VocabularyFiles

VOCABULARY = '[vocabulary]\nimagenet = "synsets.txt"\n'
ANNOTATIONS = '[[annotations]]\nname = "mine"\nformat = "csv"\nfiles = ["labels.csv"]\n'
WHOLE = """
[vocabulary]
imagenet = "lists/synsets.txt"
open_images = "packaged:open_images_boxable.csv"
finer = "/absolute/finer.txt"
classes = { birds = "birds.csv", fish = "../fish.csv" }
image_counts = ["counts.csv", "ReleaseStatus.xml"]
box_hierarchy = "h.json"
reviewed = "r.toml"
wordnet = "WordNet-3.0/dict"
minimum_images = { open-images = 100, birds = 5 }

[[annotations]]
name = "imagenet"
format = "imagenet"
files = ["photos"]

[[annotations]]
name = "mine"
format = "parquet"
files = ["a.parquet", "b.parquet"]
ids_of = "birds"
min_confidence = 1

[cooccurrence]
annotations = "imagenet"
predictions = "predictions"
probability = 0.9
strength = 0.25

[labels]
validation_images = 7
validation_images_per_category = 2
salt = "pepper"
absences = "keep"

[simulation]
imagenet_images = 40
open_images = 30
seed = 1
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    """Return the sentence with which a recipe is refused, less the file it names."""
    path = written(folder, text)
    with pytest.raises(ConfigError) as caught:
        read_recipe(path)
    told = str(caught.value)
    assert told.startswith(f"{path}: ")
    assert "\n" not in told
    return told.removeprefix(f"{path}: ")


def test_every_key_is_read(tmp_path: Path) -> None:
    assert read_recipe(written(tmp_path, WHOLE)) == Recipe(
        vocabulary=VocabularyFiles(
            imagenet=tmp_path / "lists/synsets.txt",
            open_images=packaged_class_list("open_images_boxable.csv"),
            finer=Path("/absolute/finer.txt"),
            classes=(("birds", tmp_path / "birds.csv"), ("fish", tmp_path / "../fish.csv")),
            image_counts=(tmp_path / "counts.csv", tmp_path / "ReleaseStatus.xml"),
            box_hierarchy=tmp_path / "h.json",
            reviewed=tmp_path / "r.toml",
            wordnet=tmp_path / "WordNet-3.0/dict",
            minimum_images=(("open-images", 100), ("birds", 5)),
        ),
        annotations=(
            AnnotatedFiles(name="imagenet", format="imagenet", files=(tmp_path / "photos",)),
            AnnotatedFiles(
                name="mine",
                format="parquet",
                files=(tmp_path / "a.parquet", tmp_path / "b.parquet"),
                ids_of="birds",
                min_confidence=1.0,
            ),
        ),
        cooccurrence=CooccurrenceSource(
            annotations="imagenet", predictions=tmp_path / "predictions", probability=0.9, strength=0.25
        ),
        labels=LabelOptions(
            validation_images=7, validation_images_per_category=2, salt="pepper", absences=Absences.KEEP
        ),
        simulation=Simulation(imagenet_images=40, open_images=30, seed=1),
    )


def test_the_least_recipe_has_the_papers_values(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, "\ufeff" + VOCABULARY + ANNOTATIONS))
    assert (recipe.cooccurrence, recipe.simulation, recipe.labels) == (None, None, LabelOptions())
    assert (recipe.labels.validation_images, recipe.labels.validation_images_per_category) == (0, 5)
    pairs = CooccurrenceSource(annotations="x")
    assert (pairs.probability, pairs.strength) == (0.95, 0.5)
    assert dict(recipe.vocabulary.minimum_images) == {"open-images": 650}


def test_the_number_of_images_of_a_collections_classes_may_be_stated(tmp_path: Path) -> None:
    text = VOCABULARY + "minimum_images = { mine = 5 }\n" + ANNOTATIONS + "classes = true"
    assert dict(read_recipe(written(tmp_path, text)).vocabulary.minimum_images) == {"mine": 5}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_a_recipe_in_another_encoding_is_told(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path, "")
    path.write_bytes(f"# caf\xe9\n{VOCABULARY}{ANNOTATIONS}".encode(encoding))
    with pytest.raises(ConfigError, match=r"in UTF-8, from its byte .* save it as UTF-8|is not valid TOML"):
        read_recipe(path)


def test_complete_labels_are_what_is_seen_too(tmp_path: Path) -> None:
    learned = VOCABULARY + ANNOTATIONS + "complete = true\n[cooccurrence]\nannotations = 'mine'\n"
    assert read_recipe(written(tmp_path, learned)).learns_from_complete_labels
    assert not read_recipe(written(tmp_path, learned + "predictions = 'p'")).learns_from_complete_labels


def test_the_embedded_recipe_names_files_that_are_there() -> None:
    recipe = default_recipe()
    lists = recipe.vocabulary
    assert lists.imagenet is not None
    assert lists.open_images is not None
    files = [lists.imagenet, lists.open_images, *(file for source in recipe.annotations for file in source.files)]
    assert all(file.is_file() for file in files)
    assert recipe.simulation is None
    assert recipe.learns_from_complete_labels


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[vocabulary]\nimagnet = 'x'\n" + ANNOTATIONS, "unknown key vocabulary.imagnet; did you mean imagenet?"),
        ("vocabluary = 1", "unknown key vocabluary; did you mean vocabulary?"),
        (VOCABULARY + ANNOTATIONS + "fromat = 1", "unknown key annotations[0].fromat; did you mean format?"),
        (VOCABULARY + ANNOTATIONS + "[labels]\nsalz = 'x'", "unknown key labels.salz; did you mean salt?"),
        (
            VOCABULARY + ANNOTATIONS + "[simulation]\nqqq = 1",
            "unknown key simulation.qqq; use one of imagenet_images, open_images, seed",
        ),
    ],
)
def test_an_unknown_key_names_the_nearest(tmp_path: Path, text: str, told: str) -> None:
    assert refusal(tmp_path, text) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no vocabulary; "),
        (ANNOTATIONS, "no vocabulary; "),
        (VOCABULARY, "no annotations; "),
        (
            VOCABULARY + "minimum_images = { nobody = 5 }\n" + ANNOTATIONS,
            "[vocabulary]: minimum_images names 'nobody', which is no class list that is given; use one of imagenet",
        ),
        (
            VOCABULARY + "classes = { imagenet = 'a.csv' }\n" + ANNOTATIONS,
            "[vocabulary]: two class lists have the name 'imagenet'; name each differently",
        ),
        (
            VOCABULARY + "classes = { mine = 'a.csv' }\n" + ANNOTATIONS + "classes = true",
            "[vocabulary]: two class lists have the name 'mine'; name each differently",
        ),
        (
            VOCABULARY + "classes = { own = 'a.csv' }\n" + ANNOTATIONS + "complete = true",
            "annotations[0] (mine) is complete for one class list, and none is named; add ids_of, one of imagenet, own",
        ),
        (
            VOCABULARY + "classes = { ' ' = 'a.csv' }\n" + ANNOTATIONS,
            "vocabulary.classes has an empty name; correct it",
        ),
        ("annotations = []\n" + VOCABULARY, "no annotations; add a table [[annotations]]"),
        ("[vocabulary]\n" + ANNOTATIONS, "no class list in [vocabulary]; add imagenet, open_images or classes"),
        (VOCABULARY + "[[annotations]]\nname = 'a'\n", "no annotations[0].format; "),
        (VOCABULARY + ANNOTATIONS + "[cooccurrence]\npredictions = 'p'", "no cooccurrence.annotations; "),
        (VOCABULARY + ANNOTATIONS + "[cooccurrence]\nannotations = 'mine'", "no cooccurrence.predictions; name a "),
        (
            VOCABULARY + ANNOTATIONS + "[cooccurrence]\nannotations = 'other'\npredictions = 'p'",
            "cooccurrence.annotations is 'other', which is no annotated collection; use one of mine",
        ),
        (VOCABULARY + ANNOTATIONS * 2, "two annotated collections have the same name; "),
        (
            VOCABULARY + ANNOTATIONS.replace("mine", "imagenet-simulated") + "[simulation]",
            "two annotated collections have the same name; ",
        ),
    ],
)
def test_what_is_missing_or_clashes_is_named(tmp_path: Path, text: str, told: str) -> None:
    assert refusal(tmp_path, text).startswith(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("vocabulary = 1\n" + ANNOTATIONS, "vocabulary is not a table; write [vocabulary]"),
        ("[vocabulary]\nimagenet = 3\n" + ANNOTATIONS, "vocabulary.imagenet is 3; give a text"),
        ("[vocabulary]\nimage_counts = 'x'\n" + ANNOTATIONS, "vocabulary.image_counts is not a list; "),
        ("[vocabulary]\nimage_counts = [1]\n" + ANNOTATIONS, "vocabulary.image_counts[0] is 1; give a text"),
        ("[vocabulary]\nminimum_images = 4\n" + ANNOTATIONS, "vocabulary.minimum_images is not a table; "),
        (
            "[vocabulary]\nminimum_images = { a = 'b' }\n" + ANNOTATIONS,
            "vocabulary.minimum_images.a is 'b'; give a whole number",
        ),
        ("[vocabulary]\nimagenet = ''\n" + ANNOTATIONS, "vocabulary.imagenet is ''; give a path, as '.' for"),
        (VOCABULARY + ANNOTATIONS.replace("labels.csv", " "), "annotations[0].files[0] is ' '; give a path"),
        (
            VOCABULARY + "classes = { mine = 'c\\u0000.csv' }\n".replace("'", '"') + ANNOTATIONS,
            r"vocabulary.classes.mine is 'c\x00.csv'; give a path",
        ),
        (
            VOCABULARY + "minimum_images = { imagenet = -1 }\n" + ANNOTATIONS,
            "vocabulary.minimum_images.imagenet is -1, which is less than 0; correct it",
        ),
        ("[annotations]\nname = 'x'\n" + VOCABULARY, "annotations is not a list; write [...], or [[...]] for tables"),
        (
            VOCABULARY + ANNOTATIONS.replace("csv", "xml"),
            "annotations[0].format is 'xml', which is not one of imagenet, open-",
        ),
        (VOCABULARY + ANNOTATIONS + "min_confidence = true", "annotations[0].min_confidence is true; give a number"),
        (
            VOCABULARY + ANNOTATIONS + "[labels]\nvalidation_images = 1.5",
            "labels.validation_images is 1.5; give a whole number",
        ),
        (
            VOCABULARY + ANNOTATIONS + "[labels]\nabsences = 'x'",
            "labels.absences is 'x'; use one of expand, keep, drop",
        ),
    ],
)
def test_a_value_of_another_type_is_named(tmp_path: Path, text: str, told: str) -> None:
    assert refusal(tmp_path, text).startswith(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            ANNOTATIONS + "min_confidence = 1.5",
            "annotations[0].min_confidence is 1.5, which is not in 0..1; correct it",
        ),
        (
            ANNOTATIONS + "min_confidence = nan",
            "annotations[0].min_confidence is nan, which is not in 0..1; correct it",
        ),
        (
            ANNOTATIONS.replace("mine", "../mine"),
            "annotations[0].name is '../mine', which cannot be a folder's name on every system; correct it",
        ),
        (
            ANNOTATIONS.replace("mine", ""),
            "annotations[0].name is '', which cannot be a folder's name on every system; correct it",
        ),
        (
            ANNOTATIONS.replace("mine", "a\\u0000b"),
            r"annotations[0].name is 'a\x00b', which cannot be a folder's name on every system; correct it",
        ),
        (
            "[images]\nsources = ['x']\nname = 'a/b'\n",
            "images.name is 'a/b', which cannot be a folder's name on every system; correct it",
        ),
        ("[images]\nsources = ['x']\nname = 'a:b'\nlabels = false\n", "images.name is 'a:b', which cannot be a fold"),
        (ANNOTATIONS.replace('"labels.csv"', ""), "annotations[0].files is empty; correct it"),
        (
            ANNOTATIONS + "[labels]\nvalidation_images = -1",
            "labels.validation_images is -1, which is less than 0; corre",
        ),
        (
            ANNOTATIONS + "[labels]\nvalidation_images_per_category = 0",
            "labels.validation_images_per_category is 0, whi",
        ),
        (ANNOTATIONS + "[simulation]\nseed = -1", "simulation.seed is -1, which is less than 0; correct it"),
        (
            ANNOTATIONS + "[cooccurrence]\nannotations = 'mine'\npredictions = 'p'\nstrength = 2",
            "cooccurrence.strength is 2.0, which is not in 0..1; correct it",
        ),
    ],
)
def test_a_value_that_no_build_can_follow_is_named(tmp_path: Path, text: str, told: str) -> None:
    assert refusal(tmp_path, VOCABULARY + text).startswith(told)


LEARNED = ANNOTATIONS + "complete = true\n[cooccurrence]\nannotations = 'mine'\npredictions = 'p'\n"
OTHER = {"probability": 0.5, "strength": 0.25, "precision": 0.5, "hidden": 0.25}
HEEDED = {
    "pairs": {"probability", "strength"},
    "regression": {"probability", "precision", "hidden"},
    "image": {"precision", "hidden"},
}


@pytest.mark.parametrize("rule", HEEDED)
@pytest.mark.parametrize("name", OTHER)
def test_a_number_that_the_rule_does_not_heed_is_refused(tmp_path: Path, rule: str, name: str) -> None:
    text = f"{VOCABULARY}{LEARNED}rule = '{rule}'\n{name} = {OTHER[name]}\n"
    if name in HEEDED[rule]:
        found = read_recipe(written(tmp_path, text)).cooccurrence
        assert found is not None
        assert getattr(found, name) == OTHER[name]
    else:
        told = f"cooccurrence.{name} has no meaning with rule = '{rule}'; correct it"
        assert refusal(tmp_path, text) == told


def test_what_is_no_toml_is_told_with_its_line(tmp_path: Path) -> None:
    assert "is not valid TOML" in (told := refusal(tmp_path, VOCABULARY + "x x\n"))
    assert "line 3" in told
    (tmp_path / "latin").write_bytes(b"[vocabulary]\nimagenet = '\xe9'\n")
    with pytest.raises(ConfigError, match="is no text in UTF-8, from its byte 26 on; save it as UTF-8"):
        read_recipe(tmp_path / "latin")


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.toml", tmp_path):
        with pytest.raises(ConfigError, match=rf"^{path}: cannot be read \(.*\); check the path$"):
            read_recipe(path)


def test_packaged_files_are_named_or_refused(tmp_path: Path) -> None:
    assert packaged_file("photographs.csv") == samples.labels_csv()
    assert packaged_file("coco.csv.gz") == samples.coco_csv()
    for name in PACKAGED_CLASS_LISTS:
        assert packaged_file(name) == packaged_class_list(name)
        assert packaged_file(name).is_file()
    choices = ", ".join((*PACKAGED_CLASS_LISTS, "photographs.csv", "coco.csv.gz"))
    for name in ("imagenet12k.txt", "wordnet.parquet", "../stage.py", "../data/imagenet11k.txt", ""):
        text = f'[vocabulary]\nimagenet = "packaged:{name}"\n' + ANNOTATIONS
        assert refusal(tmp_path, text) == f"there is no packaged file {name!r}; use one of {choices}"


def test_ids_of_a_list_that_the_recipe_lacks_are_refused(tmp_path: Path) -> None:
    known = read_recipe(written(tmp_path, VOCABULARY + ANNOTATIONS))
    assert known.annotations
    told = refusal(tmp_path, VOCABULARY + ANNOTATIONS + "ids_of = 'nobody'\n")
    assert told.startswith("annotations[0].ids_of is 'nobody', which is no class list; use one of ")
    own = VOCABULARY + ANNOTATIONS + "ids_of = 'mine'\nclasses = true\n"
    assert read_recipe(written(tmp_path, own)).annotations[0].ids_of == "mine"
