"""Samples have the sizes asked for, and every category keeps its share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.main import main
from mlimages_dataset.augment.region_sample import shares_kept
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.locations import location
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import REGIONS
from tests.train.detection.shapes import row, write_regions

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def draws(n: int) -> NDArray[np.uint64]:
    return np.random.default_rng(n).permutation(n).astype(np.uint64)


def counts(image: NDArray[np.int64], label: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the chosen images of each category."""
    return np.bincount(label[chosen[image]], minlength=int(label.max()) + 1)


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=4, max_size=200), st.data())
def test_a_category_that_images_have_alone_keeps_its_share(labels: list[int], data: st.DataObject) -> None:
    n, label = len(labels), np.array(labels)
    first = data.draw(st.integers(1, n - 1))
    second = data.draw(st.integers(1, n - first))
    image = np.arange(n)
    for sizes, most in (((first,), 1), ((first, second), 2)):
        found = shares_kept(image, label, draws(n), sizes, data.draw(st.integers(0, 9)))
        assert np.bincount(found + 1).tolist()[1:] == list(sizes)
        for number, size in enumerate(sizes):
            share = np.bincount(label) * size / n
            assert (np.abs(counts(image, label, found == number) - share) < most).all()


def in_the_wild(n: int = 20_000, n_classes: int = 300) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return labels of images that have several, with an imbalance of 1 to 10,000."""
    rng = np.random.default_rng(0)
    image = np.repeat(np.arange(n), rng.geometric(0.4, n))
    popularity = np.arange(1, n_classes + 1) ** -1.6
    label = rng.choice(n_classes, len(image), p=popularity / popularity.sum())
    pairs = np.unique(np.stack([image, label], 1), axis=0)
    return pairs[:, 0], np.unique(pairs[:, 1], return_inverse=True)[1]


def test_shares_are_kept_better_than_by_chance() -> None:
    image, label = in_the_wild()
    n, of_class = int(image.max()) + 1, np.bincount(label)
    found = shares_kept(image, label, draws(n), (1000, 100), 0)
    for number, size in enumerate((1000, 100)):
        off = counts(image, label, found == number) - of_class * size / n
        by_chance = of_class * size / n * (1 - size / n)  # the variance of a simple random sample
        rare = of_class < of_class.max() / 50
        assert (off[rare] ** 2).sum() < (0.5, 0.8)[number] * by_chance[rare].sum()
        assert (off**2).sum() < 0.5 * by_chance.sum()


def test_a_seed_decides_and_another_one_draws_others() -> None:
    image, label = in_the_wild(2000)
    shuffled = np.random.default_rng(1).permutation(len(image))
    first = shares_kept(image, label, draws(2000), (500, 50), 0)
    assert (shares_kept(image[shuffled], label[shuffled], draws(2000), (500, 50), 0) == first).all()
    assert (shares_kept(image, label, draws(2000), (500, 50), 1) != first).any()


@pytest.mark.parametrize("sizes", [(), (0,), (3, -1), (8, 3)])
def test_sizes_that_cannot_be_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="images from 10"):
        shares_kept(np.arange(10), np.arange(10), draws(10), sizes, 0)


def regions(folder: Path, parts: int) -> Path:
    """Write a table of 40 images in some parts; ancestors do not count."""
    rows = [
        row(f"i{k:02}", c, (1, 1, 5, 5), (9, 9)) | {"origin": origin}
        for k in range(40)
        for c, origin in ((k % 4, 0), (4, 1))
    ]
    for number in range(parts):
        part = folder / str(number)
        part.mkdir(parents=True)
        write_regions(part, rows[number * len(rows) // parts : (number + 1) * len(rows) // parts])
    return folder


def test_the_command_writes_a_table_of_each_sample_whatever_the_parts(tmp_path: Path) -> None:
    chosen = []
    for parts in (1, 3):
        place, out = regions(tmp_path / f"regions-{parts}", parts), tmp_path / f"out-{parts}"
        words = ["region-sample", str(place), "--draw", "train=20", "--draw", "val=4", "--out", str(out), "--json"]
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
        assert json.loads(result.output)["summary"]["images"] == 40
        tables = {
            name: read_table(location(str(out / name / "part-00000.parquet")), REGIONS) for name in ("train", "val")
        }
        assert {name: table.num_rows for name, table in tables.items()} == {"train": 40, "val": 8}
        assert np.bincount(tables["train"]["class_index"].to_numpy()).tolist() == [5, 5, 5, 5, 20]
        images = {name: set(table["image_id"].to_pylist()) for name, table in tables.items()}
        assert not images["train"] & images["val"]
        chosen.append(images)
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize(
    ("draws", "said"),
    [
        (["val"], "--draw val is no NAME=N; write it as mini-train=115000"),
        (["val=-1"], "--draw val=-1 is no NAME=N"),
        (["val=1", "val=2"], "'val' is twice the name of a sample"),
        (["../val=1"], "'../val' is twice the name of a sample, or is no name of a folder"),
        (["val=41"], "samples of 41 images from 40; ask for 1 image or more in each, and 40 at most in all"),
    ],
)
def test_what_cannot_be_drawn_is_told(tmp_path: Path, draws: list[str], said: str) -> None:
    words = [word for one in draws for word in ("--draw", one)]
    place = regions(tmp_path / "regions", 1)
    result = CliRunner().invoke(main, ["region-sample", str(place), *words, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert said in result.output
