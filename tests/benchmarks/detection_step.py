"""A training step of detection beside torchvision's own Faster R-CNN, of the same network, images, boxes and draws.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.detection_step

Both are a ResNet with a feature pyramid, from the same random weights, with torchvision's numbers of anchors and
proposals. The images are the packaged photographs at one short side, each with some boxes at random. Both step by
momentum. They take turns of a step, so that what else the machine does touches both alike; the figure is the median of
the turns' ratios of processor time.
"""

from __future__ import annotations

import itertools
import os
import statistics
import time
from typing import TYPE_CHECKING

import click
import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.io import ImageReadMode, decode_image
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.transforms.v2.functional import resize

from mlimages_dataset import samples
from mlimages_dataset.loaders.boxes import BoxBatch
from mlimages_dataset.train.config import Execution, Loss, LossName, Model, Optimizer, Precision, Run, TaskName
from mlimages_dataset.train.learner import make_learner, take_step
from mlimages_dataset.train.task_options import Detection
from mlimages_dataset.train.tasks.registry import task_of_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_CLASSES, _BOXES = 20, 5
_RATE = 1e-3
_OPTIONS = Detection(
    pyramid=True,
    pyramid_channels=256,
    head_features=1024,
    anchor_sizes=(32, 64, 128, 256, 512),
    anchors_of_image=256,
    regions_of_image=512,
    candidates=(2000, 1000),
    proposals=(2000, 1000),
    frozen_norms=False,
)


def photographs(short_side: int, n_images: int) -> list[Tensor]:
    """Return packaged photographs as float32 in [0, 1]."""
    files = sorted(samples.photographs().glob("*.jpg"))
    read = (decode_image(str(file), ImageReadMode.RGB) for file in itertools.islice(itertools.cycle(files), n_images))
    return [resize(image, [short_side], max_size=2 * short_side).float() / 255 for image in read]


def boxes_at_random(image: Tensor, generator: torch.Generator) -> Tensor:
    """Return boxes in an image, in pixels, shape (K, 4)."""
    height, width = image.shape[1:]
    corners = torch.rand(_BOXES, 2, 2, generator=generator).sort(1).values + torch.tensor([[[0.0], [0.2]]])
    return (corners.clamp(max=1) * torch.tensor([width, height])).flatten(1)


def torchvisions_step(name: str, given: Sequence[Sequence[tuple[Tensor, Tensor, Tensor]]]) -> Callable[[int], None]:
    """Return a function that takes step k of torchvision's Faster R-CNN, without resizing."""
    backbone = resnet_fpn_backbone(backbone_name=name, weights=None, norm_layer=nn.BatchNorm2d, trainable_layers=5)
    model = FasterRCNN(backbone, _CLASSES + 1, min_size=1, max_size=1 << 20)
    model.transform.resize = lambda image, target: (image, target)
    optimizer = torch.optim.SGD(model.parameters(), lr=_RATE, momentum=0.9, weight_decay=1e-4, fused=True)
    model.train()

    def step(k: int) -> None:
        images, targets = zip(
            *((one, {"boxes": box, "labels": label + 1}) for one, box, label in given[k]), strict=True
        )
        torch.stack(list(model(list(images), list(targets)).values())).sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def our_step(name: str, given: Sequence[Sequence[tuple[Tensor, Tensor, Tensor]]]) -> Callable[[int], None]:
    """Return a function that takes step k of the trainer."""
    run = Run(
        epochs=1,
        task=TaskName.DETECTION,
        model=Model(name=name),
        loss=Loss(name=LossName.SOFTMAX),
        detection=_OPTIONS,
        optimizer=Optimizer(momentum=0.9, weight_decay=1e-4),
        execution=Execution(precision=Precision.FLOAT32, channels_last=False),
    )
    task = task_of_run(run)
    model = task.model(run, _CLASSES, "")
    learner = make_learner(run, model, task.loss(run, _CLASSES), torch.device("cpu"))
    model.train()
    batches = [batch_of(step) for step in given]

    def step(k: int) -> None:
        take_step(learner, [batches[k]], _RATE, lambda images: images)

    return step


def batch_of(given: Sequence[tuple[Tensor, Tensor, Tensor]]) -> BoxBatch:
    """Return images with their boxes and labels as a batch, in [-1, 1]."""
    sizes = torch.tensor([image.shape[1:] for image, _, _ in given])
    height, width = sizes.amax(0).tolist()
    padded = [pad(image * 2 - 1, (0, width - image.shape[2], 0, height - image.shape[1])) for image, _, _ in given]
    n = len(given)
    boxes = torch.arange(n * _BOXES)
    return BoxBatch(
        images=torch.stack(padded),
        sizes=sizes,
        box_sample=boxes // _BOXES,
        sides=torch.cat([box for _, box, _ in given]),
        label_box=boxes,
        class_index=torch.cat([label for _, _, label in given]),
        special=torch.zeros(n * _BOXES, dtype=torch.bool),
        rows=torch.arange(n),
        positions=torch.arange(n),
        epoch=0,
        n_classes=_CLASSES,
        image_ids=tuple(map(str, range(n))),
    )


@click.command()
@click.option("--network", default="resnet50", show_default=True)
@click.option("--short-side", default=320, show_default=True)
@click.option("--batch-size", default=2, show_default=True)
@click.option("--turns", default=12, show_default=True)
def main(*, network: str, short_side: int, batch_size: int, turns: int) -> None:
    """Measure and print."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    images = photographs(short_side, batch_size * (turns + 1))
    labelled = [
        (image, boxes_at_random(image, generator), torch.randint(_CLASSES, (_BOXES,), generator=generator))
        for image in images
    ]
    given = [labelled[k * batch_size : (k + 1) * batch_size] for k in range(turns + 1)]
    contenders = {"ours": our_step(network, given), "torchvision": torchvisions_step(network, given)}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for k in range(turns + 1):
        for name, step in sorted(contenders.items(), reverse=bool(k % 2)):
            began = time.process_time()
            step(k)
            seconds[name].append(time.process_time() - began)
    ratios = [theirs / ours for ours, theirs in zip(seconds["ours"][1:], seconds["torchvision"][1:], strict=True)]
    quartiles = statistics.quantiles(ratios, n=4)
    print(f"{os.cpu_count()} processors, torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name, each in seconds.items():
        print(f"{name}: {statistics.median(each[1:]) / batch_size:.3f} processor seconds an image")
    print(
        f"{network}, short side {short_side}, {batch_size} images: speed of ours by torchvision's "
        f"{statistics.median(ratios):.3f} (quartiles {quartiles[0]:.3f} to {quartiles[2]:.3f}, {turns} turns)"
    )


if __name__ == "__main__":
    main()
