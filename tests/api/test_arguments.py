"""An argument of another kind is refused in one sentence, which says what it is and what it must be."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import mlimages_dataset as ml
from mlimages_dataset.api.arguments import ARGUMENTS
from mlimages_dataset.api.labels import augment
from tests.api.conftest import CAT, DOG, LEASH

if TYPE_CHECKING:
    from collections.abc import Callable

FUNCTIONS: tuple[Callable[..., object], ...] = (
    ml.build_vocabulary,
    ml.annotate,
    ml.cooccurrence,
    augment,
    ml.run,
)
DATA = {"data", "vocabulary", "annotations", "pairs", "predictions"}
"""Checked where they are read."""
FRAME = pd.DataFrame({"image_id": ["a"], "label": [DOG]})
PETS = pd.DataFrame({"id": ["d"], "name": ["dog"]})
THINGS: list[Any] = [
    None,
    True,
    3,
    -1,
    0.2,
    float("nan"),
    float("inf"),
    "1",
    "a/b",
    "\ud800",
    b"x",
    ["x"],
    [3],
    {"a": 1},
    {"a": -1},
    {"a": None},
    {3: 3},
    object(),
    Path("nowhere"),
    FRAME,
    FRAME["label"],
    np.array(["x"]),
    np.float32(0.5),
    np.int64(3),
    int,
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda one: one.__name__)
def test_every_argument_has_a_kind(function: Callable[..., object]) -> None:
    assert set(inspect.signature(function).parameters) - DATA <= ARGUMENTS.keys()


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda one: one.__name__)
def test_no_argument_leads_to_an_error_of_a_library(
    function: Callable[..., object], known: ml.Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values of other kinds are refused before any work; so this calls no function that would work for long."""
    monkeypatch.chdir(tmp_path)
    parameters, refused = inspect.signature(function).parameters, 0
    needed: dict[str, Any] = {name: known for name, one in parameters.items() if one.default is one.empty}
    data = {name for name in parameters.keys() & {"predictions"} if parameters[name].default is None}
    for name in parameters.keys() & ARGUMENTS.keys() - needed.keys() - data:
        for thing in THINGS:
            if ARGUMENTS[name].fits(thing):
                continue
            with pytest.raises(ml.MLImagesError) as told:
                function(**{**needed, name: thing})
            assert str(told.value).startswith(f"{name} is ")
            assert f", but must be {ARGUMENTS[name].told}; " in str(told.value)
            refused += 1
    assert refused > len(THINGS)


def test_a_module_that_is_a_function_has_its_signature() -> None:
    assert inspect.signature(ml.augment) == inspect.signature(augment)


def test_numbers_of_numpy_are_numbers(known: ml.Vocabulary) -> None:
    number: Any = np.int64
    share: Any = np.float32(0.5)
    labels = ml.augment(
        FRAME, known, validation_images=number(1), validation_images_per_category=number(1), absences="keep"
    )
    assert len(labels.to_pandas("val"))
    assert len(ml.annotate(FRAME, known, min_confidence=share)) == 1
    seen = FRAME.assign(label=LEASH, confidence=0.99)
    assert len(ml.cooccurrence(FRAME, seen, known, probability=share, strength=share).implications) == 1


@pytest.mark.parametrize(
    ("wnids", "expected"),
    [((DOG, CAT), 2), (np.array([DOG, CAT]), 2), (pd.Series([DOG, CAT]), 2), (pd.Index([DOG]), 1)],
    ids=["tuple", "array", "column", "index"],
)
def test_wnids_may_be_in_a_column(wnids: Any, expected: int) -> None:
    vocabulary = ml.build_vocabulary(imagenet=wnids)
    assert len(vocabulary) == len(vocabulary.roots) + expected


def test_one_file_of_counts_needs_no_list(tmp_path: Path) -> None:
    (tmp_path / "counts.csv").write_text(f"source,source_id,images\nimagenet,{DOG},7\n")
    counted = [
        ml.build_vocabulary(imagenet=[DOG], image_counts=one).category(DOG).images
        for one in (tmp_path / "counts.csv", [str(tmp_path / "counts.csv")])
    ]
    assert counted == [7, 7]
    assert ml.build_vocabulary(imagenet=[DOG], image_counts=None).category(DOG).images != 7


KEYS: list[Any] = [None, ["x"], 5.0, True, float("nan"), b"x", object(), {}]


@pytest.mark.parametrize("key", [*KEYS, "a category"], ids=lambda one: type(one).__name__)
def test_what_is_no_key_is_refused(key: Any, known: ml.Vocabulary) -> None:
    given: Any = known.categories[0] if key == "a category" else key
    for call in (known.index, known.category, known.parents, known.children, known.ancestors):
        with pytest.raises(ml.MLImagesError, match=r"key is .*, but must be a class index, a wnid, an id of a class,"):
            call(given)


def test_what_cannot_be_searched_is_refused(known: ml.Vocabulary) -> None:
    wrong: Any
    for wrong in (5, None, ["dog"], "\ud800"):
        with pytest.raises(ml.MLImagesError, match=r"text is .*, but must be text"):
            known.search(wrong)
    for wrong in (-1, 1.5, None, True, "3"):
        with pytest.raises(ml.MLImagesError, match=r"limit is .*, but must be a whole number of at least 0"):
            known.search("dog", limit=wrong)


def test_wnids_that_became_no_category_are_told() -> None:
    with pytest.warns(UserWarning, match=r"imagenet: 1 of its wnids became no category: n99999999 \(unknown wnid\)"):
        ml.build_vocabulary(imagenet=[DOG, "n99999999"])
    with pytest.warns(UserWarning, match=rf"finer: 2 of its wnids became no category: {LEASH} \(below no kept .*n9999"):
        ml.build_vocabulary(imagenet=[DOG], finer=[LEASH, "n99999999"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ml.build_vocabulary(imagenet=[DOG, CAT])


def test_decisions_on_classes_of_no_list_are_told(tmp_path: Path) -> None:
    rows = [
        f'[[match]]\nsource = "{source}"\nsource_id = "{one}"\nwnid = "{DOG}"\nreason = "seen"\n'
        for source, one in (("pets", "d"), ("pets", "D"), ("pet", "d"))
    ]
    (tmp_path / "reviewed.toml").write_text("\n".join(rows))
    with pytest.warns(UserWarning, match="decisions on classes that no list has: pets D, pet d; check source and"):
        ml.build_vocabulary(classes={"pets": PETS}, reviewed=tmp_path / "reviewed.toml")


def test_annotations_are_no_predictions(known: ml.Vocabulary) -> None:
    seen = FRAME.assign(label=LEASH, confidence=0.99)
    annotated, predicted = ml.annotate(seen, known), ml.annotate(seen, known, predictions=True)
    with pytest.raises(ml.MLImagesError, match=r"predictions are annotations; pass predictions=True to annotate\(\)"):
        ml.cooccurrence(FRAME, annotated, known)
    for call in (lambda: ml.augment(predicted, known), lambda: ml.cooccurrence(predicted, predicted, known)):
        with pytest.raises(ml.MLImagesError, match="annotations are predictions; leave out predictions=True"):
            call()


def test_predictions_verify_no_absence(known: ml.Vocabulary) -> None:
    seen = FRAME.assign(label=LEASH, confidence=0.99)
    with pytest.raises(ml.MLImagesError, match=r"predictions cannot be complete: .* leave out complete"):
        ml.annotate(seen, known, predictions=True, complete=True)
