"""Networks that take images of one size only are refused with that size, before anything is trained or applied."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.train.config import Model, Phase, Run
from mlimages_dataset.train.image_sizes import check_sizes
from mlimages_dataset.train.inputs import Classes
from mlimages_dataset.train.models import MultiLabelClassifier, create_model
from mlimages_dataset.train.stage import initial_model
from tests.train.test_main import RUN, called, files, refusal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.train.conftest import Photographs

FIXED = {"timm/test_vit3": 160, "timm/test_maxvit": 160, "timm/test_coatnet": 160, "timm/mixer_s32_224": 224}


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("sizes", [(32,), (0, 32), (0, 0, 192)])
def test_each_phase_must_have_the_networks_size_and_the_advice_works(name: str, sizes: tuple[int, ...]) -> None:
    own = FIXED[name]
    phases = tuple(Phase(first_epoch=k, image_size=size or own) for k, size in enumerate(sizes))
    run = Run(epochs=len(sizes), model=Model(name=name), phases=phases)
    classes = Classes(("n1", "n2"), "")
    wrong = sizes[-1]
    with pytest.raises(
        UsageError, match=rf"^{name} does not take images of {wrong} x {wrong} .*; set image_size = {own}$"
    ):
        initial_model(run, classes)
    mended = tuple(dataclasses.replace(phase, image_size=own) for phase in phases)
    assert initial_model(dataclasses.replace(run, phases=mended), classes).training


def test_a_network_without_a_size_of_its_own_names_one_that_it_takes() -> None:
    shrinking = nn.Sequential(nn.Conv2d(3, 4, 65), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = MultiLabelClassifier(shrinking, 4, 2)
    with pytest.raises(UsageError, match=r"it does not take images of 64 x 64 .*; try 128$"):
        check_sizes(network, [64], "it", advice="try ")
    check_sizes(network, [65, 128], "it", advice="try ")


def test_a_network_of_other_colours_is_refused() -> None:
    grey = MultiLabelClassifier(nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 4, 2)
    with pytest.raises(UsageError, match=r"and three colours .*; choose another network$"):
        check_sizes(grey, [32], "it", advice="try ")


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("x"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_lack_of_memory_is_not_taken_for_a_wrong_size(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    network = create_model("timm/test_resnet", 2)

    def lacking(*_: object) -> None:
        raise error

    monkeypatch.setattr(network, "forward", lacking)
    with pytest.raises(type(error)):
        check_sizes(network, [32], "it", advice="try ")


def test_commands_refuse_a_size_in_one_sentence(photographs: Photographs, tmp_path: Path) -> None:
    run_toml = tmp_path / "run.toml"
    run_toml.write_text(RUN.replace("resnet18", "timm/test_vit3"), encoding="utf-8")
    planned = ("--classes", "31", "--dataset-size", "100", "--images-per-second", "10")
    for command in (
        ("pretrain", run_toml, *files(photographs), "--out", tmp_path / "out"),
        ("plan", run_toml, *planned),
    ):
        assert refusal(2, *command).endswith("; set image_size = 160")
    run_toml.write_text(run_toml.read_text().replace("image_size = 32", "image_size = 160"), encoding="utf-8")
    out = tmp_path / "fitting"
    assert called("pretrain", run_toml, *files(photographs), "--out", out).exit_code == 0
    given = ("--images", photographs.images, "--vocabulary", photographs.vocabulary, "--workers", "0")
    measured = ("evaluate", out, *given, "--labels", photographs.labels)
    for command in (measured, ("predict", out, *given, "--out", tmp_path / "found")):
        assert refusal(2, *command, "--image-size", "32").endswith("; pass --image-size 160")
    assert called(*measured, "--image-size", "160").exit_code == 0
