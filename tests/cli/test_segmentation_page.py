"""What the page on segmenters says of `predict`'s table works: its maps become the files that are measured."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from click.testing import CliRunner
from PIL import Image

from cli.main import main
from mlimages_dataset.tables.parquet import write_table
from mlimages_dataset.tables.schemas import LABEL_MAPS

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).parents[2] / "docs/how-to/detect-and-segment.md"


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
    (tmp_path / "found" / "manifest.json").write_text("{}")  # as a stage leaves it beside its parts
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if '"map"' in block]
    exec(code, {})  # noqa: S102 - the page's own lines
    (tmp_path / "val.txt").write_text("".join(f"{name}\n" for name in maps))
    given = ("--truth", "truth", "--image-set", "val.txt", "--results", "results", "--json")
    measured = CliRunner().invoke(main, ["evaluate-segmentation", *given])
    assert measured.exit_code == 0, measured.output
    assert '"mIoU": 1.0' in measured.output
