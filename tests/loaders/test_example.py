"""The documentation's example of loading runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.records import StageResult
from tests.docs.pages import blocks
from tests.images.folders import image_folder
from tests.loaders.tables import pictures, write_labels

if TYPE_CHECKING:
    import pytest

    from mlimages_dataset.core.locations import Location

PAGE = "how-to/load.md"


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(out: Location) -> StageResult[Any]:
        rows = [(name, "mine", "", {0: 1.0, 2: 0.0}) for name in pictures(6)]
        write_labels(Path(str(out)) / "train" / "part-00000.parquet", rows)
        return StageResult((), {"train": {"images_of_class": [6, 0, 0]}})

    image_folder(tmp_path / "images", [pictures(6)])
    OutputFolder(tmp_path / "build").run("labels", parameters={}, inputs={}, work=work, into="labels")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (example,) = [one.code for one in blocks(PAGE) if "SoftBalanceSampler" in one.code]
    names: dict[str, object] = {}
    exec(example, names)  # noqa: S102 - the page's own words
    assert isinstance(names["pixels"], torch.Tensor)
    assert names["pixels"].shape == (6, 3, 224, 224)
    assert isinstance(names["known"], torch.Tensor)
    assert names["known"].tolist() == [[True, False, True]] * 6
    assert names["place"] == {"epoch": 1, "position": 0, "order": "6 draws of 6 labels, balance 0.7, seed 0"}
