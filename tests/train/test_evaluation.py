"""Evaluations over batches, and their means by group."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pytest
import torch

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.tables.schemas import CATEGORIES
from mlimages_dataset.train.calibration import Calibration
from mlimages_dataset.train.evaluation import Evaluation, frequency_band, group_means, groups_of_categories
from mlimages_dataset.train.metrics import average_precision


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def categories() -> pa.Table:
    """Return a table of a root, two children and a second root."""
    columns = {
        "class_index": [0, 1, 2, 3],
        "wnid": ["n1", "n2", "n3", "n4"],
        "name": ["thing", "cat", "cat", "matter"],
        "root": [0, 0, 0, 3],
        "parent": [-1, 0, 0, -1],
        "parents": [[], [0], [0], []],
        "depth": [0, 1, 1, 0],
        "sources": [["imagenet"]] * 4,
        "mids": [[]] * 4,
        "images": [1500, 20, 99, 0],
    }
    return pa.table(columns, schema=CATEGORIES.arrow)


def test_classes_are_grouped_by_root_depth_and_decade_of_their_images() -> None:
    assert groups_of_categories(categories()) == {
        "root": ["n1 thing", "n1 thing", "n1 thing", "n4 matter"],
        "depth": ["0", "1", "1", "0"],
        "images": ["1,000 to 9,999", "10 to 99", "10 to 99", "0"],
    }


@pytest.mark.parametrize(
    ("n_images", "band"), [(9, "1 to 9"), (10, "10 to 99"), (13_217_523, "10,000,000 to 99,999,999")]
)
def test_bands_are_decades(n_images: int, band: str) -> None:
    assert frequency_band(n_images) == band


def test_a_groups_mean_leaves_out_classes_without_positives() -> None:
    first, second = group_means("depth", ["0", "1", "0", "1"], [0.5, math.nan, 0.25, math.nan])
    assert (first.group, first.mean, first.n_classes) == ("0", 0.375, 2)
    assert (second.group, second.n_classes) == ("1", 0)
    assert math.isnan(second.mean)


def test_a_summary_holds_what_the_exact_values_say_within_its_error() -> None:
    rng = np.random.default_rng(0)
    targets = torch.tensor(rng.random((200, 4)) < 0.3).double()
    logits = torch.tensor(rng.standard_normal((200, 4))) + 2 * targets
    evaluation = Evaluation.empty(4, ks=(1, 2))
    for rows in (slice(0, 128), slice(128, 200)):
        evaluation = evaluation.updated(logits[rows], targets[rows])
    summary = evaluation.summary(groups_of_categories(categories()))
    exact = average_precision(logits, targets > 0.7)
    assert abs(summary.mean_average_precision - float(exact.mean())) <= summary.error
    assert summary.n_classes == 4
    assert summary.n_images == int(targets.any(1).sum())
    assert [scores.k for scores in summary.instance] == [1, 2]
    assert [(mean.kind, mean.group, mean.n_classes) for mean in summary.groups] == [
        ("root", "n1 thing", 3),
        ("root", "n4 matter", 1),
        ("depth", "0", 2),
        ("depth", "1", 2),
        ("images", "1,000 to 9,999", 1),
        ("images", "10 to 99", 2),
        ("images", "0", 1),
    ]
    assert summary.groups[1].mean == pytest.approx(float(exact[3]), abs=0.02)
    assert json.loads(json.dumps(summary.to_json()))["n_images"] == summary.n_images


def test_evaluations_of_ranks_add_up() -> None:
    rng = np.random.default_rng(1)
    targets = torch.tensor(rng.random((64, 4)) < 0.3).double()
    logits = torch.tensor(rng.standard_normal((64, 4)))
    valid = torch.arange(64) < 60
    whole = Evaluation.empty(4).updated(logits[:60], targets[:60])
    first = Evaluation.empty(4).updated(logits[:32], targets[:32], None, valid[:32])
    second = Evaluation.empty(4).updated(logits[32:], targets[32:], None, valid[32:])
    both = (first + second).summary()
    assert both.mean_average_precision == whole.summary().mean_average_precision
    assert both.instance[0].f1 == pytest.approx(whole.summary().instance[0].f1)
    doubled = first.merged(lambda tensor: 2 * tensor)
    assert torch.equal(doubled.scores.counts, (first + first).scores.counts)
    with pytest.raises(UsageError, match="use one threshold"):
        first + Evaluation.empty(4, presence_threshold=0.5)


def test_an_evaluation_of_no_image_has_no_means() -> None:
    summary = Evaluation.empty(3).summary()
    assert (summary.n_images, summary.n_classes) == (0, 0)
    assert math.isnan(summary.mean_average_precision)
    assert math.isnan(summary.instance[0].precision)


def test_labels_an_image_are_a_mean_over_all_images_also_those_without_a_label() -> None:
    logits, targets = torch.zeros(10, 4), torch.zeros(10, 4)
    targets[0, :2] = 1
    valid = torch.arange(10) < 8
    evaluation = Evaluation.empty(4).updated(logits, targets, None, valid)
    evaluation = (evaluation + Evaluation.empty(4).updated(logits[:2], targets[2:4])).merged(lambda tensor: 2 * tensor)
    assert int(evaluation.images) == 20
    summary = evaluation.summary(calibration=Calibration.of_weights(torch.ones(4)))
    assert summary.labels == pytest.approx(2 / 10)
    assert summary.labels_said == pytest.approx(4 / 2, rel=1e-2)
    assert summary.n_images == 2, "those with a label, over which recall is a mean"
