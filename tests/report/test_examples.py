"""The photographs on the page: their pictures, labels and reasons, and names that are HTML stay text."""

from __future__ import annotations

import base64
import io
import re
import warnings
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

import mlimages_dataset as ml
from mlimages_dataset import samples
from mlimages_dataset.pipeline.records import read_manifest
from mlimages_dataset.report.examples import credits_of_photographs, examples, thumbnail
from mlimages_dataset.report.page import pairs_of_build

RECIPE = """
[vocabulary]
imagenet = "packaged:imagenet11k.txt"
open_images = "packaged:open_images_boxable.csv"

[[annotations]]
name = "{name}"
format = "csv"
files = ["{file}"]

[labels]
validation_images = 3
"""


def built(folder: Path, *, name: str = "photographs", file: str = "packaged:photographs.csv") -> ml.Build:
    (folder / "recipe.toml").write_text(RECIPE.format(name=name, file=file), encoding="utf-8")
    return ml.run(folder / "recipe.toml", folder / "build")


@pytest.fixture(name="build", scope="module")
def _build(tmp_path_factory: pytest.TempPathFactory) -> ml.Build:
    return built(tmp_path_factory.mktemp("examples"), name="&lt;b&gt;mine")


def test_every_photograph_is_shown_with_its_labels_as_the_tables_have_them(build: ml.Build) -> None:
    manifest = read_manifest(build.folder)
    found = examples(build.folder, manifest, build.vocabulary, pairs_of_build(build.folder, manifest))
    assert [one.image_id for one in found] == sorted(path.stem for path in samples.photographs().iterdir())
    labels = build.labels.to_pandas().query("confidence > 0")
    for one in found:
        rows = labels[labels["image_id"] == one.image_id]
        short = rows["name"].str.partition(",")[0]
        assert sorted(one.stated) == sorted(short[rows["origin"] == 0])
        assert sorted(label.name for label in one.added) == sorted(short[rows["origin"] != 0])
        assert all(re.fullmatch(r"because .* (is one|are)", label.why) for label in one.added)


def test_thumbnails_are_small_pictures_of_the_same_shape() -> None:
    for path in samples.photographs().iterdir():
        uri, width, height = thumbnail(path)
        with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as small, Image.open(path) as whole:
            assert small.size == (width, height)
            assert max(small.size) <= 200
            assert width / height == pytest.approx(whole.width / whole.height, rel=0.02)
    assert credits_of_photographs()["astronaut"] == ("Eileen Collins, astronaut, by NASA", "public domain")


def test_names_that_are_html_stay_text(build: ml.Build) -> None:
    page = Path(str(build.report)).read_text(encoding="utf-8")
    assert page.count('src="data:image/jpeg;base64,') == 34
    assert 'alt="Eileen Collins, astronaut, by NASA"' in page
    assert "&lt;b&gt;mine" not in page
    assert "&amp;lt;b&amp;gt;mine" in page


@pytest.mark.slow
def test_other_builds_show_no_photograph(tmp_path: Path) -> None:
    pd.DataFrame({"image_id": ["a"], "label": ["n02084071"]}).to_csv(tmp_path / "mine.csv", index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build = built(tmp_path, name="mine", file="mine.csv")
    assert examples(build.folder, read_manifest(build.folder), build.vocabulary, []) == []
    assert 'id="examples"' not in Path(str(build.report)).read_text(encoding="utf-8")
