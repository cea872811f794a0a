"""Every number of Peng et al. 2020 (section 5.2, tables 1 to 5) that is a setting, in the packaged run files."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mlimages_dataset.augment.region_pairs import region_pairs_stage
from mlimages_dataset.core.locations import location
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.stage import run
from mlimages_dataset.train.config import Decay, LossName, Phase, Run, SamplerName, Schedule, TaskName
from mlimages_dataset.train.inputs import pair_rates
from mlimages_dataset.train.models import create_model
from mlimages_dataset.train.run_files import read_run, run_file
from mlimages_dataset.train.schedule import learning_rate
from mlimages_dataset.vocab.folder import read_vocabulary
from tests.train.detection.shapes import FIRST_CLASS, row, write_regions

if TYPE_CHECKING:
    from pathlib import Path

    from tests.train.conftest import Photographs

ONE_TIMES = ("natural", "class-aware", "concurrent", "soft-balance")
ALL = (*ONE_TIMES, "hybrid")
MINI_TRAIN = 115_000  # section 5.1: "115K training images"


def packaged(name: str) -> Run:
    return read_run(run_file(f"packaged:open-images-{name}.toml"))


@pytest.mark.parametrize("name", ALL)
def test_section_5_2(name: str) -> None:
    run = packaged(name)
    assert run.task is TaskName.DETECTION
    assert run.model.classes == 500  # section 5.1: "500 categories"
    assert run.model.sync_batch_norm  # "sync-BN is adopted"
    assert not run.detection.frozen_norms
    assert run.detection.pyramid  # "ResNet-50 backbone armed with FPN"
    assert (run.optimizer.momentum, run.optimizer.weight_decay) == (0.9, 0.0001)
    assert {phase.image_size for phase in run.phases} == {800}  # "the length of the shorter edge is 800"
    assert run.detection.long_side == 1333  # "the longer side is limited to 1333"
    assert run.detection.flip > 0  # "Horizontal flipping"
    batch_size = run.phases[0].batch_size
    assert learning_rate(run, 0) == pytest.approx(0.00125 * batch_size)  # "0.00125 x batch size"


@pytest.mark.parametrize("name", ONE_TIMES)
def test_the_one_times_schedule(name: str) -> None:
    run = packaged(name)
    assert run.model.name == "resnet50"
    assert run.epochs == 7  # "total 7 epochs"
    steps = -(-MINI_TRAIN // run.phases[0].batch_size)
    rates = [learning_rate(run, epoch, step, steps) for epoch in range(7) for step in (0, steps - 1)]
    falls = [now / before for before, now in itertools.pairwise(rates)]
    assert [number for number, fall in enumerate(falls) if fall != 1] == [7, 11]  # "at 4 and 6 epoch"
    assert [falls[7], falls[11]] == pytest.approx([0.1, 0.1])  # "decreased by a factor of 10"


def test_losses_and_samplers_of_the_tables() -> None:
    found = {name: (packaged(name).loss.name, packaged(name).phases[-1].sampler) for name in ALL}
    assert found == {
        "natural": (LossName.SOFTMAX, SamplerName.SHUFFLED),  # table 3, non-balance
        "class-aware": (LossName.SOFTMAX, SamplerName.CLASS_AWARE),  # tables 1 to 3
        "concurrent": (LossName.CONCURRENT_SOFTMAX, SamplerName.CLASS_AWARE),  # tables 1 and 2
        "soft-balance": (LossName.SOFTMAX, SamplerName.SOFT_BALANCE),  # table 3
        "hybrid": (LossName.CONCURRENT_SOFTMAX, SamplerName.SOFT_BALANCE),  # table 4, last row
    }
    assert packaged("soft-balance").phases[0].balance == packaged("hybrid").phases[1].balance == 0.7
    for balance in (0.3, 0.5, 0.7, 1.0, 1.5):  # table 3
        assert Phase(sampler=SamplerName.SOFT_BALANCE, balance=balance)


@pytest.mark.parametrize("name", ["concurrent", "hybrid"])
def test_rates_are_read_from_what_region_pairs_writes_beside_the_run_file(
    name: str, photographs: Photographs, tmp_path: Path
) -> None:
    vocabulary, regions, out = photographs.vocabulary, tmp_path / "regions", tmp_path / "region-pairs"
    sides = (8, 8, 32, 32)
    both, one = (row(image_id, FIRST_CLASS, sides, (64, 64)) for image_id in ("a", "b"))
    write_regions(regions, [both, {**both, "class_index": FIRST_CLASS + 2}, one])
    run(region_pairs_stage(location(str(vocabulary)), location(str(regions))), OutputFolder(location(str(out))))
    copy = tmp_path / "run.toml"
    copy.write_bytes(run_file(f"packaged:open-images-{name}.toml").read_bytes())
    settings = read_run(copy)
    data = dataclasses.replace(settings.data, vocabulary=location(str(vocabulary)))
    related = read_vocabulary(location(str(vocabulary))).closure.toarray()
    related |= related.T
    assert not related[FIRST_CLASS, FIRST_CLASS + 2]  # otherwise the rate would be 0, by section 4.1.1
    counted = {(FIRST_CLASS, FIRST_CLASS + 2): 0.5, (FIRST_CLASS + 2, FIRST_CLASS): 1.0}
    relatives = {(left, right): 1.0 for left, right in np.argwhere(related).tolist() if left != right}
    for stated, pairs in ((None, counted | relatives), (True, counted | relatives), (False, counted)):
        loss = dataclasses.replace(settings.loss, relatives_concur=stated)
        rates = pair_rates(dataclasses.replace(settings, data=data, loss=loss))
        assert rates is not None
        assert dict(zip(map(tuple, rates.indices().T.tolist()), rates.values().tolist(), strict=True)) == pairs


def test_the_hybrid_schedule() -> None:
    run = packaged("hybrid")
    natural, balanced = run.phases
    assert (run.epochs, balanced.first_epoch) == (27, 20)  # table 4: "20+7"
    assert natural.sampler is SamplerName.SHUFFLED  # "sampling training images in sequence without replacement"
    assert run.schedule.decay is Decay.STEP
    of_balanced = [learning_rate(run, 20 + epoch) for epoch in range(7)]
    one_times = [learning_rate(packaged("soft-balance"), epoch) for epoch in range(7)]
    assert of_balanced == pytest.approx(one_times)


def test_resnext_152_has_the_depths_of_resnet_152() -> None:
    names = {name for name, _ in create_model("resnext152_32x8d", 2).named_parameters()}
    others = {name for name, _ in create_model("resnet152", 2).named_parameters()}
    assert names == others
    backbone = create_model("resnext152_32x8d", 2).backbone
    thin = create_model("resnext101_32x8d", 2).backbone
    assert [p.shape for p in backbone.layer4.parameters()] == [p.shape for p in thin.layer4.parameters()]  # type: ignore[union-attr]  # a network of torchvision


@pytest.mark.parametrize("decay_after", [[0], [6, 4], [4, 4], [-1]])
def test_epochs_that_do_not_ascend_are_refused(decay_after: list[int]) -> None:
    with pytest.raises(ValueError, match=r"decay_after = .* do not ascend from 1"):
        Schedule(decay_after=tuple(decay_after))
