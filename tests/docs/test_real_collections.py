"""The commands and the recipe for the real collections are complete, and say the same."""

from __future__ import annotations

import itertools
import re
import shlex
import shutil
import tarfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

from mlimages_dataset.recipes.recipe import read_recipe
from mlimages_dataset.sources.publishers import read_publishers, select_files
from mlimages_dataset.vocab.folder import read_vocabulary
from tests.docs.pages import blocks, run
from tests.golden.inputs_and_tables import FOLDER as GOLDEN
from tests.golden.inputs_and_tables import digests_of_rows, write_predictions

PAGE = "how-to/open-images.md"
OBTAINED_BY_HAND = {"synsets.txt": "synsets.txt", "fall11_urls.txt": "imagenet.txt"}
"""The golden inputs under the names that the page gives to files which no command obtains."""
MEMBERS = {
    "v1/human_ann_2016_08_v3.tar.gz": ("human_ann_2016_08/validation/labels.csv",),
    "v1/machine_ann_2016_08_v3.tar.gz": (
        "machine_ann_2016_08/train/labels.csv",
        "machine_ann_2016_08/validation/labels.csv",
    ),
    "v1/images_2016_08_v5.tar.gz": ("images_2016_08/train/images.csv", "images_2016_08/validation/images.csv"),
}
"""What the published archives hold: https://github.com/openimages/dataset/wiki/Importing-into-PostgreSQL."""


def real_collections() -> str:
    (code,) = [one.code for one in blocks(PAGE) if one.language == "bash" and "mlimages-build fetch" in one.code]
    return code


def recipe() -> str:
    (code,) = [one.code for one in blocks(PAGE) if one.language == "toml"]
    return code


def fetched() -> list[str]:
    """Return the names of the files that the page's fetch obtains, as the table of publishers has them."""
    command = r"^mlimages-build fetch ([\w-]+) --only '([^']+)' --out raw$"
    ((collection, only),) = re.findall(command, real_collections(), re.MULTILINE)
    return [file.name for file in select_files(read_publishers()[collection], [only])]


def unpacked() -> list[str]:
    """Return the paths of what the page's fetch obtains, archives replaced by what they hold."""
    return [
        f"raw/{path}"
        for name in fetched()
        for path in ([f"{Path(name).parent}/{member}" for member in MEMBERS[name]] if name.endswith(".gz") else [name])
    ]


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """Return a folder with small files of the names on the page, the archives packed as their publisher packs them."""
    inputs = GOLDEN / "inputs"
    for name, source in OBTAINED_BY_HAND.items():
        shutil.copy(inputs / source, tmp_path / name)
    # Enough images of each Open Images class that none is dropped for having few.
    verified = [f"x{number:04d},verification,{mid},1\n" for mid in ("/m/0bt9lr", "/m/0k4j") for number in range(700)]
    by_machine = [f"x{number:04d},machine,/m/01lsmm,0.9\n" for number in range(700)]
    contents = {
        "dict.csv": (inputs / "classes.csv").read_text(),
        "images_2016_08/train/images.csv": (inputs / "images.csv").read_text(),
        "images_2016_08/validation/images.csv": "ImageID,OriginalURL\nx0000,http://example.org/x.jpg\n",
        "machine_ann_2016_08/train/labels.csv": (inputs / "labels.csv").read_text(),
        "machine_ann_2016_08/validation/labels.csv": "".join(["ImageID,Source,LabelName,Confidence\n", *by_machine]),
        "human_ann_2016_08/validation/labels.csv": "".join(["ImageID,Source,LabelName,Confidence\n", *verified]),
    }
    for name in fetched():
        file = tmp_path / "raw" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if name not in MEMBERS:
            file.write_text(contents[file.name])
            continue
        with tarfile.open(file, "w:gz") as archive:
            for member in MEMBERS[name]:
                loose = tmp_path / "packed" / member
                loose.parent.mkdir(parents=True, exist_ok=True)
                loose.write_text(contents[member])
                archive.add(loose, member)
    return tmp_path


def run_lines(script: str, folder: Path) -> None:
    run(["bash", "-euo", "pipefail", "-c", script], folder)


@pytest.mark.slow
def test_the_commands_for_the_real_collections_run(folder: Path) -> None:
    lines = "".join(line for line in real_collections().splitlines(keepends=True) if "mlimages-build fetch" not in line)
    before, name, after = lines.partition("mlimages-build cooccurrence")
    run_lines(before, folder)
    shutil.copy(GOLDEN / "inputs" / "predictions.csv", folder)
    write_predictions(folder, read_vocabulary(folder / "vocabulary").index_of_wnid)
    run_lines(name + after, folder)
    assert sorted(path.name for path in (folder / "labels").glob("[!.]*")) == ["manifest.json", "train", "val"]

    (folder / "recipe.toml").write_text(recipe(), encoding="utf-8")
    run_lines("mlimages-build run recipe.toml --out build && mlimages-build verify build", folder)
    for alone, whole in (("vocabulary", "vocabulary"), ("cooccurrence", "cooccurrence"), ("labels", "labels")):
        ours, theirs = digests_of_rows(folder / alone), digests_of_rows(folder / "build" / whole)
        assert ours == theirs, "the commands and the recipe say the same"


def test_the_commands_and_the_recipe_read_nothing_but_what_they_or_the_publishers_make(tmp_path: Path) -> None:
    words = shlex.split(real_collections())
    made = {word for option, word in itertools.pairwise(words) if option == "--out"}
    read = {word for word in words if word.endswith((".txt", ".csv"))} - made
    available = {*unpacked(), *OBTAINED_BY_HAND}
    assert [pattern for pattern in sorted(read) if not any(fnmatch(path, pattern) for path in available)] == []

    (tmp_path / "recipe.toml").write_text(recipe(), encoding="utf-8")
    sources = read_recipe(tmp_path / "recipe.toml").annotations
    named = {str(file.relative_to(tmp_path)) for source in sources for file in source.files if isinstance(file, Path)}
    assert named | {"raw/v1/dict.csv", "synsets.txt"} == available


def test_the_recipe_is_one(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(recipe(), encoding="utf-8")
    read = read_recipe(tmp_path / "recipe.toml")
    assert [source.name for source in read.annotations] == ["imagenet", "open-images"]
    assert (read.annotations[1].min_confidence, read.labels.validation_images) == (0.8, 50_000)
