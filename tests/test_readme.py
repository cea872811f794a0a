"""README's commands run, its recipe is one, its table is complete and its links lead somewhere."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from mlimages_dataset.recipe import read_recipe
from mlimages_dataset.vocab.stage import read_vocabulary
from tests.golden.inputs_and_tables import FOLDER as GOLDEN
from tests.golden.inputs_and_tables import digests_of_rows, write_predictions

README = Path(__file__).parents[1] / "README.md"
LIST_OF_README = {
    "synsets.txt": "synsets.txt",
    "raw/v1/dict.csv": "classes.csv",
    "raw/v1/labels.csv": "labels.csv",
    "raw/v1/images.csv": "images.csv",
    "fall11_urls.txt": "imagenet.txt",
}
"""The golden inputs under the names that README gives the publishers' files."""


def blocks(language: str) -> list[str]:
    """Return the code blocks of a language in README."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def real_collections() -> str:
    (block,) = [block for block in blocks("bash") if "mlimages-build fetch" in block]
    return block


def recipe() -> str:
    (block,) = [block for block in blocks("toml") if "[vocabulary]" in block]
    return block


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """Return a folder with small files of the names in README, and predictions."""
    for name, source in LIST_OF_README.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(GOLDEN / "inputs" / source, tmp_path / name)
    # Enough images of each Open Images class that none is dropped for having few.
    with (tmp_path / "raw/v1/labels.csv").open("a", encoding="utf-8") as file:
        for mid in ("/m/0bt9lr", "/m/0k4j", "/m/01lsmm"):
            file.writelines(f"x{number:04d},verification,{mid},1\n" for number in range(700))
    return tmp_path


def run_lines(script: str, folder: Path) -> None:
    """Run a shell script in a folder, with this environment's commands first on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_commands_for_the_real_collections_run(folder: Path) -> None:
    lines = "".join(line for line in real_collections().splitlines(keepends=True) if "mlimages-build fetch" not in line)
    before, name, after = lines.partition("mlimages-build cooccurrence")
    run_lines(before, folder)
    shutil.copy(GOLDEN / "inputs" / "predictions.csv", folder)
    write_predictions(folder, read_vocabulary(folder / "vocabulary").index_of_wnid)
    run_lines(name + after, folder)
    assert sorted(path.name for path in (folder / "labels").iterdir()) == ["manifest.json", "train", "val"]

    (folder / "recipe.toml").write_text(recipe(), encoding="utf-8")
    run_lines("mlimages-build run recipe.toml --out build && mlimages-build verify build", folder)
    for alone, whole in (("vocabulary", "vocabulary"), ("cooccurrence", "cooccurrence"), ("labels", "labels")):
        ours, theirs = digests_of_rows(folder / alone), digests_of_rows(folder / "build" / whole)
        assert ours == theirs, "the commands and the recipe say the same"


def test_the_commands_read_nothing_but_what_they_or_the_publishers_make() -> None:
    named = set(re.findall(r"[\w/]+\.(?:txt|csv)", real_collections()))
    assert named == {*LIST_OF_README, "counts.csv"}


def test_the_recipe_is_one(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(recipe(), encoding="utf-8")
    read = read_recipe(tmp_path / "recipe.toml")
    assert [source.name for source in read.annotations] == ["imagenet", "open-images"]
    assert (read.annotations[1].min_confidence, read.labels.validation_images) == (0.8, 50_000)


def test_the_table_lists_every_command() -> None:
    found = importlib.metadata.entry_points(group="console_scripts", name="mlimages-build")
    if not found:
        pytest.skip("mlimages-build is not installed: pip install -e .")
    group = next(iter(found)).load()
    assert isinstance(group, click.Group)
    text = README.read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE)) == set(group.list_commands(click.Context(group)))
    used = re.findall(r"mlimages-build ([a-z][\w-]*)", text)
    assert set(used) <= set(group.list_commands(click.Context(group)))


def test_the_two_commands_are_marked_for_those_who_run_them() -> None:
    text = README.read_text(encoding="utf-8")
    for mark, words in (("run", "mlimages-build run --out build"), ("tests", "-m pytest")):
        (block,) = re.findall(rf"<!-- {mark} -->\n```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        assert words in block
        assert block.count("\n") == 1, "one command"


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README.read_text(encoding="utf-8"))
    local = [target for target in targets if not target.startswith("https://")]
    assert local
    assert [target for target in local if not (README.parent / target).exists()] == []
