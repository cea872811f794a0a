"""Every number of tables 2 to 6 of Wu et al. 2019 that is a setting, in the packaged recipes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest
import torch

from mlimages_dataset.core.errors import ConfigError
from mlimages_dataset.loaders.views import EvaluationView
from mlimages_dataset.train.config import Decay, LossName, Phase, Run, TaskName
from mlimages_dataset.train.models import create_model
from mlimages_dataset.train.optimizer import make_optimizer, set_rate
from mlimages_dataset.train.plan import total_steps
from mlimages_dataset.train.run_files import packaged_recipes, read_run, run_file
from mlimages_dataset.train.schedule import learning_rate, steps_of_epoch, taken_epochs

if TYPE_CHECKING:
    from torch import nn

IMAGENET_IMAGES, VOC_IMAGES, SEGMENTATION_IMAGES = 1_281_167, 16_551, 10_582
"""Training images of ILSVRC 2012 (section 2: "1.28M images"), of VOC (section 5.3) and of its augmented list (5.4)."""
CHECKPOINTS = (1, 2, 3, 4, 5)
TOP = {1: 0.8, 2: 0.008, 3: 0.8, 4: 0.8, 5: 0.8}  # table 2, LR-top2-stages
BOTTOM = {1: 0.8, 2: 0.008, 3: 0.0, 4: 0.0, 5: 0.0}  # table 2, LR-bottom2-stages
WARM = {1: 0.1, 2: 0.001, 3: 0.1, 4: 0.1, 5: 0.1}  # table 2, LR-warmup
SIZES = {1: (224,), 2: (224,), 3: (224,), 4: (224, 299), 5: (299,)}  # table 3 and section 5.1.1
DETECTION = ("voc-detection.toml", "voc-detection-fpn.toml")
SEGMENTATION = ("voc-segmentation.toml", "voc-segmentation-deeplab.toml")


def packaged(name: str) -> Run:
    return read_run(run_file(f"packaged:{name}"))


def imagenet(checkpoint: int) -> Run:
    return packaged(f"imagenet-{checkpoint}.toml")


@functools.cache
def resnet101() -> nn.Module:
    with torch.device("meta"):
        return create_model("resnet101", 1000)


def tables_rate(checkpoint: int, name: str, epoch: int) -> float:
    """Return the rate of a parameter in an epoch, from 0, by table 2 alone.

    The stages next to the output are layer3 and layer4, and the head lies above them; the stem lies below the others.
    """
    is_top = name.split(".", maxsplit=1)[0] == "head" or name.split(".")[1] in {"layer3", "layer4"}
    peak = (TOP if is_top else BOTTOM)[checkpoint]
    if peak == 0:
        return 0.0
    if epoch < 4:  # "warmup-steps 2500 (the first 4 epochs)", "LR-warmup-decay-step 625 (one epoch)"
        return WARM[checkpoint] * 1.681**epoch  # "LR-warmup-decay-factor 1.681"
    return peak * 0.1 ** (epoch // 30)  # "LR-decay-factor 0.1, LR-decay-step (30 epochs)"


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_every_layer_has_table_2s_rate_in_every_epoch(checkpoint: int) -> None:
    run = imagenet(checkpoint)
    network = resnet101()
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    optimizer = make_optimizer(network, run.optimizer)
    group_of = {id(parameter): group for group in optimizer.param_groups for parameter in group["params"]}
    for epoch in range(run.epochs):
        set_rate(optimizer, learning_rate(run, epoch, 312, 625))
        for name, parameter in network.named_parameters():
            group = group_of.get(id(parameter))
            rate = 0.0 if group is None else group["lr"]
            assert rate == pytest.approx(tables_rate(checkpoint, name, epoch), rel=1e-6), (name, epoch)
            assert parameter.requires_grad is (group is not None)


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_table_2_and_the_image_sizes_of_table_3(checkpoint: int) -> None:
    run = imagenet(checkpoint)
    assert run.epochs == 120  # "Maximum epoch"
    assert {phase.batch_size for phase in run.phases} == {2048}  # "Batch size"
    assert run.optimizer.weight_decay == 0.0001  # "Weight-decay"
    assert run.model.batch_norm_momentum == pytest.approx(1 - 0.9)  # "BatchNorm-decay"
    assert run.model.batch_norm_epsilon == 0.001  # "BatchNorm-eps"
    assert tuple(phase.image_size for phase in run.phases) == SIZES[checkpoint]
    assert run.optimizer.momentum == 0.9  # section 4.1.3
    assert run.loss.name is LossName.SOFTMAX  # section 5.1
    assert (run.model.name, run.model.classes) == ("resnet101", 1000)
    assert run.data.validation_view is EvaluationView.RESIZE256
    assert run.checkpoints.best == "top1"


def test_the_epochs_of_table_2_are_its_steps() -> None:
    assert round(4 * IMAGENET_IMAGES / 2048, -1) == 2500  # "2500 (the first 4 epochs)"
    assert IMAGENET_IMAGES // 2048 == 625  # "625 (one epoch)"
    assert 30 * 625 == 18750  # "18750 (30 epochs)"


@pytest.mark.parametrize("name", DETECTION)
def test_section_5_3(name: str) -> None:
    run = packaged(name)
    steps = steps_of_epoch(VOC_IMAGES, 1)
    assert run.task is TaskName.DETECTION
    assert run.optimizer.momentum == 0.9  # "the momentum of 0.9"
    assert run.optimizer.weight_decay == 1e-3  # "the weight decay is set to 10^-3"
    assert run.steps == total_steps(run, VOC_IMAGES) == 180_000  # "the model is trained for 180k steps"
    assert run.phases == (Phase(batch_size=1, image_size=600),)  # "the short side is fixed to 600-pixels"
    assert run.detection.regions_of_image == 256  # "the batch size is set to 256"
    expected = {0: 8e-4, 79_999: 8e-4, 80_000: 8e-5, 159_999: 8e-5, 160_000: 8e-6, 179_999: 8e-6}
    found = {step: learning_rate(run, step // steps, step % steps, steps) for step in expected}
    assert found == pytest.approx(expected)  # "8 x 10^-4 and decays by 0.1 at every 80k steps"
    assert (run.model.frozen_statistics, run.detection.frozen_norms) == (True, True)
    assert run.detection.pyramid is (name == "voc-detection-fpn.toml")


def test_the_implementation_that_the_paper_names_has_its_own_published_setting() -> None:
    # https://github.com/endernewton/tf-faster-rcnn: res101.yml, train_faster_rcnn.sh (pascal_voc_0712), config.py
    run = packaged("voc-detection-tf-faster-rcnn.toml")
    steps = steps_of_epoch(VOC_IMAGES, 1)
    assert run.steps == total_steps(run, VOC_IMAGES) == 110_000
    expected = {0: 1e-3, 79_999: 1e-3, 80_000: 1e-4, 109_999: 1e-4}
    found = {step: learning_rate(run, step // steps, step % steps, steps) for step in expected}
    assert found == pytest.approx(expected)
    assert (run.optimizer.momentum, run.optimizer.weight_decay) == (0.9, 1e-4)
    assert run.phases == (Phase(batch_size=1, image_size=600),)
    options = run.detection
    assert (options.long_side, options.anchor_sizes) == (1000, (8 * 16, 16 * 16, 32 * 16))
    assert (options.anchors_of_image, options.regions_of_image, options.positive_share) == (256, 256, 0.25)
    assert (options.candidates, options.proposals) == ((12_000, 6_000), (2_000, 300))
    assert (options.suppression_overlap, options.flip, options.pyramid) == (0.3, 0.5, False)


@pytest.mark.parametrize("name", SEGMENTATION)
def test_section_5_4(name: str) -> None:
    run = packaged(name)
    assert run.task is TaskName.SEGMENTATION
    assert run.model.classes == 20 + 1  # "20 foreground categories and 1 background category"
    assert run.segmentation.rates == (6, 12, 18, 24)  # "different atrous rates"
    assert (run.schedule.decay, run.schedule.power) == (Decay.POLY, 0.9)  # "the "poly" policy (with power = 0.9)"
    assert run.optimizer.weight_decay == 5e-4  # "the weight decay is set to 5 x 10^-4"
    assert run.steps == total_steps(run, SEGMENTATION_IMAGES) == 50_000  # "the model is trained for 50k steps"
    assert run.optimizer.momentum == 0.9  # "momentum of 0.9"
    assert run.phases == (Phase(batch_size=6, image_size=513),)  # "set to 6", "resized to 513 x 513"
    steps = steps_of_epoch(SEGMENTATION_IMAGES, 6)
    for step in (0, 1, 12_345, 25_000, 49_999):
        expected = 3e-3 * (1 - step / 50_000) ** 0.9
        assert learning_rate(run, step // steps, step % steps, steps) == pytest.approx(expected, rel=1e-9)
    is_deeplab = name == "voc-segmentation-deeplab.toml"
    assert run.segmentation.whole is not is_deeplab
    assert dict(run.optimizer.layer_rates) == ({"branches": 10.0} if is_deeplab else {})


def test_a_run_of_steps_is_planned_for_these_steps() -> None:
    run = Run(epochs=3, steps=25, phases=(Phase(batch_size=4),))
    assert (total_steps(run, 40), taken_epochs(run, 10)) == (25, 2.5)
    assert (total_steps(run, 20), taken_epochs(run, 5)) == (15, 3)


def test_the_recipe_of_checkpoint_4_is_found_by_its_earlier_name() -> None:
    assert run_file("packaged:mlimages-finetune-imagenet.toml") == run_file("packaged:imagenet-4.toml")
    assert "mlimages-finetune-imagenet.toml" not in packaged_recipes()
    with pytest.raises(ConfigError, match=r"use one of imagenet-1\.toml, "):
        run_file("packaged:imagenet-6.toml")


@pytest.mark.parametrize("name", packaged_recipes())
def test_a_recipe_is_read_and_fits_on_a_screen(name: str) -> None:
    packaged(name)
    assert len(run_file(f"packaged:{name}").read_text().splitlines()) <= 64
