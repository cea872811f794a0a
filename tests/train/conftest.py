"""The packaged photographs as a data set to train on."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from mlimages_dataset import samples
from mlimages_dataset.recipes.build import build_recipe
from mlimages_dataset.recipes.recipe import read_recipe

DOCUMENT = Path(__file__).parents[2] / "docs" / "training.md"
RECIPE = """
[vocabulary]
imagenet = "wnids.txt"
open_images = "classes.csv"

[[annotations]]
name = "photographs"
format = "csv"
files = ["packaged:photographs.csv"]
"""


@dataclass(frozen=True, slots=True)
class Photographs:
    """A build of the packaged photographs.

    Attributes:
        images: their folder.
        labels: of the table to train on.
        vocabulary: of the classes that they have.
        recipe: what it was built from.
    """

    images: Path
    labels: Path
    vocabulary: Path
    recipe: Path


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what data sets cache out of the user's folder."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Photographs:
    """Return a build of the packaged photographs."""
    folder = tmp_path_factory.mktemp("photographs")
    recipe = write_inputs(folder)
    build_recipe(read_recipe(recipe), folder / "build", ended=lambda stage, outcome: None)  # noqa: ARG005 - as it is called
    build = folder / "build"
    return Photographs(samples.photographs(), build / "labels" / "train", build / "vocabulary", recipe)


def write_inputs(folder: Path) -> Path:
    """Write the class lists of the photographs and a recipe of them all, and return the recipe."""
    with samples.labels_csv().open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    wnids = sorted({row["label"] for row in rows if row["label"].startswith("n")})
    classes = sorted({(row["label"], row["name"]) for row in rows if row["label"].startswith("/m")})
    (folder / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in wnids), encoding="utf-8")
    (folder / "classes.csv").write_text("".join(f'"{mid}","{name}"\n' for mid, name in classes), encoding="utf-8")
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    return folder / "recipe.toml"
