"""Detection and segmentation learn a few real photographs by heart: do the parts fit together?

    OMP_NUM_THREADS=1 python -m tests.benchmarks.voc_overfit --voc VOC2012 --folder OUT --task detection

Trains a small network from nothing on the pictures of a VOC folder (some hundred for detection, a few for
segmentation), and measures it on the same pictures. That says nothing of its worth elsewhere. It runs on a CPU in half
an hour; a run that was stopped goes on. Segmentation has the middle squares of pictures and maps, at about half their
size, so that training and evaluation see the same pixels.
"""

from __future__ import annotations

from pathlib import Path

import click
from PIL import Image, ImageOps

import mlimages_dataset as ml
from mlimages_dataset.train.__main__ import main as train

DETECTION = """
task = "detection"
epochs = 60
evaluate_epochs = 10
seed = 1
[model]
name = "resnet18"
batch_norm_epsilon = 1e-5
[loss]
name = "softmax"
prior_bias = false
[optimizer]
momentum = 0.9
weight_decay = 1e-4
clip_norm = 5.0
[schedule]
learning_rate = 0.01
batch_size = 2
warmup_epochs = 1
decay = "cosine"
[[phases]]
batch_size = 2
image_size = 160
[detection]
pyramid = true
pyramid_channels = 64
head_features = 256
anchor_sizes = [8, 16, 32, 64, 128]
anchors_of_image = 128
regions_of_image = 64
candidates = [300, 300]
proposals = [200, 200]
long_side = 320
frozen_norms = false
flip = 0.0
least_score = 0.0
[execution]
precision = "float32"
threads = 1
[data]
workers = 0
[checkpoints]
best = "map50"
"""
SEGMENTATION = """
task = "segmentation"
epochs = 900
evaluate_epochs = 60
[model]
name = "resnet18"
batch_norm_epsilon = 1e-5
[loss]
name = "softmax"
[segmentation]
scales = [1.0, 1.0]
flip = 0.0
[optimizer]
momentum = 0.9
weight_decay = 0.0
[schedule]
learning_rate = 0.03
batch_size = 3
decay = "poly"
staircase = false
[[phases]]
batch_size = 3
image_size = 193
[execution]
precision = "float32"
threads = 1
[data]
workers = 0
[checkpoints]
every_steps = 0
best = "miou"
[logs]
every_steps = 10
"""
_SIDE = 193
"""Of the squares, in pixels: one more than a multiple of the network's stride."""


def detection(voc: Path, folder: Path) -> list[str | Path]:
    """Make the regions, and return the arguments that name the data."""
    vocabulary = ml.build_vocabulary(classes={"voc": "packaged:voc.csv"}, out=folder / "vocabulary")
    ml.regions(voc, vocabulary, format="voc", out=folder / "regions")
    regions = folder / "regions"
    return [
        *("--images", voc / "JPEGImages", "--labels", regions, "--validation-labels", regions),
        *("--vocabulary", folder / "vocabulary"),
    ]


def segmentation(voc: Path, folder: Path) -> list[str | Path]:
    """Write the squares of the pictures that have maps, and return the arguments that name the data."""
    for kind in ("images", "maps"):
        (folder / kind).mkdir(exist_ok=True)
    for path in sorted((voc / "SegmentationClass").glob("*.png")):
        for source, kind, how in (
            (path, "maps", Image.Resampling.NEAREST),
            (voc / "JPEGImages" / f"{path.stem}.jpg", "images", Image.Resampling.BOX),
        ):
            with Image.open(source) as image:
                ImageOps.fit(image, (_SIDE, _SIDE), how).save(folder / kind / path.name)
    maps = folder / "maps"
    return ["--images", folder / "images", "--labels", maps, "--validation-labels", maps]


@click.command()
@click.option("--voc", type=click.Path(path_type=Path, exists=True), required=True, help="VOC's folder, or part of it.")
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="To write into.")
@click.option("--task", type=click.Choice(["detection", "segmentation"]), required=True)
def main(*, voc: Path, folder: Path, task: str) -> None:
    """Train and measure."""
    folder.mkdir(parents=True, exist_ok=True)
    run = folder / f"{task}.toml"
    run.write_text(DETECTION if task == "detection" else SEGMENTATION)
    data = (detection if task == "detection" else segmentation)(voc, folder)
    train(["pretrain", str(run), *map(str, data), "--out", str(folder / task)])


if __name__ == "__main__":
    main()
