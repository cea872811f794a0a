"""The published variables as a state dict."""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.train.models import RELEASED, create_model
from mlimages_dataset.train.weights.tensorflow import (
    from_tensorflow,
    read_tensorflow,
    tensorflow_prefix,
    variable_names,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Variables = dict[str, NDArray[np.float32]]


def variable(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the value that the published network was run with, by formula."""
    rng = np.random.default_rng([1, zlib.crc32(name.encode())])
    if name.endswith("kernel"):
        value = rng.standard_normal(shape) * np.sqrt(1 / np.prod(shape[:-1]))
    elif name.endswith(("gamma", "moving_variance")):
        value = rng.uniform(0.8, 1.2, shape)
    else:
        value = rng.standard_normal(shape) * 0.05
    return np.asarray(value, np.float32)


def published_shapes(n_classes: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of every variable: kernels as (height, width, in, out)."""
    with torch.device("meta"):
        state = create_model(RELEASED, n_classes).state_dict()
    order = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
    return {
        name: tuple(state[key].shape[axis] for axis in order[state[key].ndim]) for key, name in variable_names().items()
    }


@pytest.fixture(scope="module")
def variables() -> Variables:
    """Return variables of a head of 5 classes, small numbers that name their own place."""
    shapes = published_shapes(5)
    return {name: np.arange(np.prod(shape), dtype=np.float32).reshape(shape) for name, shape in shapes.items()}


def test_every_entry_of_the_state_dict_is_set(variables: Variables) -> None:
    with torch.device("meta"):
        expected = create_model(RELEASED, 5).state_dict()
    state = from_tensorflow(variables)
    assert {key: value.shape for key, value in state.items()} == {key: value.shape for key, value in expected.items()}


def test_kernels_change_their_axes_and_nothing_else(variables: Variables) -> None:
    state = from_tensorflow(variables)
    theirs = variables["stages_1_block_2/conv2_b2/conv2d/kernel"]
    ours = state["backbone.stages.1.2.branch.5.weight"].numpy()
    for _ in range(20):
        out, into, row, column = (int(np.random.default_rng(_).integers(n)) for n in ours.shape)
        assert ours[out, into, row, column] == theirs[row, column, into, out]
    np.testing.assert_array_equal(state["head.weight"].numpy(), variables["logits/dense/kernel"].T)
    np.testing.assert_array_equal(
        state["backbone.stages.0.0.shortcut.0.running_var"].numpy(),
        variables["stages_0_block_0/conv1_b1_bn/batch_normalization/moving_variance"],
    )


def test_the_variables_stay_the_callers(variables: Variables) -> None:
    state = from_tensorflow(variables)
    state["head.bias"] += 1
    assert variables["logits/dense/bias"][0] == 0


def test_what_training_adds_is_left_alone(variables: Variables) -> None:
    more = {
        **variables,
        "global_step": np.array(7, np.float32),
        "logits/dense/kernel/Momentum": np.zeros(3, np.float32),
    }
    assert from_tensorflow(more).keys() == from_tensorflow(variables).keys()


def test_missing_and_misshapen_variables_are_sentences(variables: Variables) -> None:
    name = "stages_2_block_7/conv1_b2/conv2d/kernel"
    with pytest.raises(DataError, match=f"1 of 522 variables .* are missing, such as {name}; give all"):
        from_tensorflow({key: value for key, value in variables.items() if key != name})
    with pytest.raises(DataError, match=f"variable {name} is of shape"):
        from_tensorflow({**variables, name: np.zeros((1, 1, 4, 256), np.float32)})


def test_a_checkpoint_without_tensorflow_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UsageError, match="read by TensorFlow itself; pip install tensorflow"):
        read_tensorflow(tmp_path / "resnet.ckpt")


@pytest.mark.slow
def test_a_checkpoint_that_tensorflow_wrote_is_read(variables: Variables, tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow", reason="TensorFlow is optional")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        values = {**variables, "logits/dense/bias/Momentum": np.ones(5, np.float32)}
        made = [tf.compat.v1.get_variable(name, initializer=value) for name, value in values.items()]
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver(made).save(session, str(tmp_path / "resnet.ckpt"))
    read = read_tensorflow(tmp_path / "resnet.ckpt")
    assert read.keys() == variables.keys()
    for name, value in variables.items():
        np.testing.assert_array_equal(read[name], value)
    with pytest.raises(DataError, match="no TensorFlow checkpoint can be read"):
        read_tensorflow(tmp_path / "other.ckpt")


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize("size", [224, 299])
def test_features_and_logits_are_the_published_networks(shared_data: Path, size: int) -> None:
    folder = shared_data / "golden"
    listed: list[tuple[str, list[int]]] = json.loads((folder / "released_resnet_variables.json").read_text())
    shapes: Mapping[str, tuple[int, ...]] = {name: tuple(shape) for name, shape in listed}
    assert shapes == published_shapes(50)
    model = create_model(RELEASED, 50).eval()
    model.load_state_dict(from_tensorflow({name: variable(name, shape) for name, shape in shapes.items()}))
    images = np.random.default_rng([1, size]).uniform(-1, 1, (2, size, size, 3)).astype(np.float32)
    with torch.no_grad():
        features = model.features(torch.from_numpy(images).permute(0, 3, 1, 2))
        logits = model.head(features)
    golden = np.load(folder / "released_resnet_seed1.npz")
    np.testing.assert_allclose(features.numpy(), golden[f"feat_1_{size}"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(logits.numpy(), golden[f"logit_1_{size}"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("place", [".", "", "/", ".."])
def test_a_folder_without_a_name_is_no_prefix(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert tensorflow_prefix(Path(place)) is None
