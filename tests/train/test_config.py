"""A run file says exactly what a run does; whatever it cannot mean is refused with the key and what to write."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from mlimages_dataset.core.errors import ConfigError
from mlimages_dataset.core.locations import location
from mlimages_dataset.train.config import (
    Loss,
    LossName,
    Phase,
    Precision,
    Run,
    SamplerName,
)
from mlimages_dataset.train.losses.registry import make_loss
from mlimages_dataset.train.run_files import packaged_recipes, read_run, run_file
from mlimages_dataset.train.science import science

if TYPE_CHECKING:
    from pathlib import Path


def written(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


DETECTION = 'epochs = 1\ntask = "detection"\n[loss]\nname = "softmax"\n[detection]\n'
SEGMENTATION = 'epochs = 1\ntask = "segmentation"\n[loss]\nname = "softmax"\n[segmentation]\n'


@pytest.mark.parametrize("name", packaged_recipes())
def test_every_packaged_recipe_is_a_run(name: str) -> None:
    run = read_run(run_file(f"packaged:{name}"))
    assert run.data.images is run.data.labels is run.data.vocabulary is None, "the command names files"


def test_what_a_file_leaves_out_has_its_default(tmp_path: Path) -> None:
    assert read_run(written(tmp_path, "epochs = 3")) == Run(epochs=3)


def test_places_are_relative_to_the_file(tmp_path: Path) -> None:
    run = read_run(written(tmp_path, 'epochs = 1\n[data]\nimages = "shards"\n[model]\nweights = "../best.pt"'))
    assert (run.data.images, run.model.weights) == (tmp_path / "shards", tmp_path / "../best.pt")


def test_phases_change_batch_image_and_sampler(tmp_path: Path) -> None:
    text = """
    epochs = 27
    [[phases]]
    batch_size = 256
    [[phases]]
    first_epoch = 20
    batch_size = 512
    image_size = 299
    sampler = "soft-balance"
    balance = 0.5
    """
    run = read_run(written(tmp_path, text))
    assert run.phase(19) == Phase(batch_size=256)
    assert run.phase(20) == run.phase(26)
    assert run.phase(20) == Phase(
        first_epoch=20, batch_size=512, image_size=299, sampler=SamplerName.SOFT_BALANCE, balance=0.5
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no epochs; every run file needs it"),
        ("epochs = 1\nepoch = 2", "unknown key epoch; did you mean epochs?"),
        ("epochs = 1\n[schedule]\nwarmup = 8", "unknown key schedule.warmup; did you mean warmup_start?"),
        ("epochs = 0", "epochs is 0, which is less than 1; correct it"),
        ('epochs = 1\n[loss]\nname = "bce"', "loss.name is 'bce'; use one of released, paper,"),
        ("epochs = 1\n[optimizer]\nmomentum = 2", "optimizer.momentum is 2.0, which is not in 0..1; correct it"),
        ("epochs = 1\n[optimizer]\nmomentum = 1", "optimizer.momentum is 1.0, which is not below 1; correct it"),
        (
            "epochs = 1\n[optimizer]\naverage_decay = 1",
            "optimizer.average_decay is 1.0, which is not below 1; correct it",
        ),
        (f"{DETECTION}pyramid = true", "detection.anchor_sizes has 3 sizes, and a pyramid 5 levels; correct it"),
        (
            f"{SEGMENTATION}classes = {[str(k) for k in range(256)]}",
            "segmentation.classes has 256 names, and a map room",
        ),
        (f"{SEGMENTATION}scales = [1, inf]", "segmentation.scales = [1.0, inf] are not two finite numbers"),
        ("epochs = 1\n[schedule]\ndecay_factor = 0", "schedule.decay_factor is 0.0, which is not above 0"),
        ("epochs = 1\n[schedule]\nlearning_rate = inf", "schedule.learning_rate is infinite; correct it"),
        ("epochs = 1\n[optimizer]\nclip_norm = inf", "optimizer.clip_norm is infinite; correct it"),
        ("epochs = 1\n[[phases]]\nfirst_epoch = 3", "phases begin at the epochs [3], which do not ascend from 0"),
        ("epochs = 1\n[checkpoints]\nkeep = 0", "checkpoints.keep is 0, which is less than 1"),
        ("epochs = 1\nphases = 3", "phases is not a list"),
        ("epochs = 1\n[data]\nworkers = true", "data.workers is true; give a whole number"),
        ("epochs = [", "is not valid TOML"),
    ],
)
def test_what_a_run_cannot_mean_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_run(path)
    assert str(caught.value).startswith(f"{path}: {told}")
    assert "\n" not in str(caught.value)


def test_a_recipe_that_is_not_packaged_is_refused_with_those_that_are() -> None:
    known = ", ".join(packaged_recipes())
    assert {"miniature.toml", "imagenet-4.toml", "voc-detection.toml"} <= set(packaged_recipes())
    with pytest.raises(ConfigError, match=rf"no packaged recipe 'x\.toml'; use one of {re.escape(known)}"):
        run_file("packaged:x.toml")


def test_science_is_what_decides_the_learning_and_nothing_else(tmp_path: Path) -> None:
    plain = Run(epochs=2)
    same = read_run(written(tmp_path, 'epochs = 9\n[data]\nworkers = 1\n[execution]\nprecision = "float32"'))
    assert same.execution.precision is Precision.FLOAT32
    assert science(plain) == science(same)
    other = read_run(written(tmp_path, 'epochs = 2\n[loss]\nname = "focal"'))
    assert other.loss.name is LossName.FOCAL
    assert {name for name, value in science(other).items() if value != science(plain)[name]} == {"loss.name"}


def test_relatives_concur_in_concurrent_softmax_unless_a_run_says_otherwise() -> None:
    pairs = location("pairs.parquet")
    for name, by_itself in ((LossName.CONCURRENT_SOFTMAX, True), (LossName.CO_BINARY_CROSS_ENTROPY, False)):
        assert Loss(name=name, pair_counts=pairs).lets_relatives_concur is by_itself
        for stated in (True, False):
            assert Loss(name=name, pair_counts=pairs, relatives_concur=stated).lets_relatives_concur is stated
        told = Run(epochs=1, loss=Loss(name=name, pair_counts=pairs))
        assert science(told)["loss.relatives_concur"] == str(by_itself).lower(), "as of checkpoints that state it"
    assert science(Run(epochs=1))["loss.relatives_concur"] == "false"
    for stated in (True, False):
        with pytest.raises(ValueError, match="relatives_concur has no effect on the loss softmax: leave it out"):
            Loss(name=LossName.SOFTMAX, relatives_concur=stated)


def test_a_sum_over_classes_is_of_the_losses_that_are_a_mean(tmp_path: Path) -> None:
    summed = read_run(written(tmp_path, 'epochs = 1\n[loss]\nname = "binary-cross-entropy"\nsum_classes = true'))
    assert getattr(make_loss(summed, 7), "sum_classes") is True  # noqa: B009 - a module's attributes are of any kind
    plain = read_run(written(tmp_path, 'epochs = 1\n[loss]\nname = "asymmetric"'))
    assert getattr(make_loss(plain, 7), "sum_classes") is False  # noqa: B009 - as above
    for name in ("released", "paper", "softmax"):
        with pytest.raises(ConfigError, match=f"sum_classes has no effect on the loss {name}: leave it out"):
            read_run(written(tmp_path, f'epochs = 1\n[loss]\nname = "{name}"\nsum_classes = true'))
