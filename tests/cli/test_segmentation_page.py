"""The label maps of `predict --maps` are files that `evaluate-segmentation` measures."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from click.testing import CliRunner
from PIL import Image

from cli.main import main
from mlimages_dataset.tables.parquet import write_table
from mlimages_dataset.tables.schemas import LABEL_MAPS
from mlimages_dataset.train.label_map_files import write_label_maps

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_maps_of_a_table_become_files_that_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    maps = {name: Image.fromarray(np.full((4, 5), k, np.uint8)) for k, name in enumerate(("a", "b", "c"))}
    (tmp_path / "truth").mkdir()
    rows = []
    for name, image in maps.items():
        image.save(tmp_path / "truth" / f"{name}.png")
        image.save(stream := io.BytesIO(), "PNG")
        rows.append({"image_id": name, "source": "s", "width": 5, "height": 4, "map": stream.getvalue()})
    write_table(tmp_path / "found" / "part-00000.parquet", pa.Table.from_pylist(rows, LABEL_MAPS.arrow), LABEL_MAPS, {})
    write_label_maps(tmp_path / "found", tmp_path / "results")
    (tmp_path / "val.txt").write_text("".join(f"{name}\n" for name in maps))
    given = ("--truth", "truth", "--image-set", "val.txt", "--results", "results", "--json")
    measured = CliRunner().invoke(main, ["evaluate-segmentation", *given])
    assert measured.exit_code == 0, measured.output
    assert '"mIoU": 1.0' in measured.output
