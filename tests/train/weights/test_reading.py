"""Files of weights that are damaged, hostile or of another network: each is one sentence, and nothing is executed."""

from __future__ import annotations

import argparse
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision import models as torchvision_models

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.loaders.views import EvaluationView
from mlimages_dataset.train.models import create_model
from mlimages_dataset.train.weights import architectures
from mlimages_dataset.train.weights.description import Description, InputRange, Probability
from mlimages_dataset.train.weights.files import description_path, read_pickled
from mlimages_dataset.train.weights.norms import common, folded
from mlimages_dataset.train.weights.reading import Said, read_weights
from mlimages_dataset.train.weights.writing import library_network
from tests.train.weights.networks import uneven

RESNET18 = Said(architecture="resnet18")


class Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.trace,)


class Shell:
    """Runs a command when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        import os  # noqa: PLC0415 - as a hostile file does it

        return os.system, (f"touch {self.trace}",)


@pytest.fixture(name="state", scope="module")
def _state() -> dict[str, torch.Tensor]:
    return dict(uneven(torchvision_models.resnet18(num_classes=3)).state_dict())


@pytest.mark.parametrize("make", [Hostile, Shell])
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "nested", "late"])
def test_a_hostile_pickle_is_refused_and_does_nothing(
    make: type[Hostile | Shell], form: str, tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path, trace = tmp_path / "w.pth", tmp_path / "trace"
    hostile = make(trace)
    if form == "pickle":
        path.write_bytes(pickle.dumps(hostile, protocol=2))
    else:
        content = {"nested": {"state_dict": {"fc.weight": hostile}}, "late": {**state, "zz": hostile}}.get(
            form, hostile
        )
        torch.save(content, path, _use_new_zipfile_serialization=form != "legacy")
    with pytest.raises(DataError) as refused:
        read_weights(path, RESNET18)
    assert not trace.exists()
    told = str(refused.value)
    assert told.endswith("ask its makers for a state dict (model.state_dict()) or a safetensors file")
    assert "weights_only" not in told
    assert refused.value.__cause__ is None


def test_a_whole_network_is_refused_by_its_class(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pt")
    with pytest.raises(DataError, match=r"it holds Python objects \(torch.nn.modules.linear.Linear\), which could run"):
        read_weights(tmp_path / "w.pt", RESNET18)


def test_a_torchscript_archive_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_STORED) as archive:
        for name in ("data.pkl", "constants.pkl", "version"):
            archive.writestr(f"w/{name}", b"3")
    with pytest.raises(DataError, match="it is a TorchScript archive, which is a program, not a file of weights"):
        read_weights(tmp_path / "w.pt", RESNET18)


def test_options_beside_the_weights_do_not_matter(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save({"model": state, "args": argparse.Namespace(lr=0.1), "epoch": 3}, tmp_path / "w.pth")
    weights = read_weights(tmp_path / "w.pth", RESNET18)
    assert torch.equal(weights.state["backbone.conv1.weight"], state["conv1.weight"])


def test_the_average_is_preferred(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    other = {name: value + 1 for name, value in state.items()}
    torch.save({"state_dict": other, "state_dict_ema": state}, tmp_path / "w.pth")
    weights = read_weights(tmp_path / "w.pth", RESNET18)
    assert torch.equal(weights.state["head.bias"], state["fc.bias"])
    assert weights.notes[0] == "the weights are those under 'state_dict_ema' in the file"


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"not weights", b"PK\x03\x04" + bytes(100), b"\x93NUMPY\x01\x00", b"\x80\x02}q\x00."]
)
def test_what_is_no_file_of_weights_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(DataError, match=r"is not a complete file of weights|holds no state dict"):
        read_weights(tmp_path / "w.pth", RESNET18)


@given(cut=st.floats(0, 0.999), safe=st.booleans())
def test_a_cut_file_is_refused(cut: float, *, safe: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("cut") / ("w.safetensors" if safe else "w.pth")
    tensors = {"fc.weight": torch.zeros(3, 5), "fc.bias": torch.zeros(3)}
    if safe:
        safetensors.torch.save_file(tensors, path)
    else:
        torch.save(tensors, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * cut)])
    with pytest.raises(DataError, match=r"not a complete|not what torch.save writes"):
        read_weights(path, RESNET18)


@pytest.mark.parametrize("length", [0, 1, 2**62, 2**64 - 1])
def test_a_hostile_header_is_refused(tmp_path: Path, length: int) -> None:
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", length) + b"{")
    with pytest.raises(DataError, match="is not a complete safetensors file"):
        read_weights(tmp_path / "w.safetensors", RESNET18)


@pytest.mark.slow
def test_a_tensor_that_claims_terabytes_is_refused_by_its_shape(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save({**state, "conv1.weight": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "w.pth")
    with pytest.raises(
        UsageError, match=r"it is not a complete resnet18: conv1\.weight is of shape \(1000000, 1000000\), not"
    ):
        read_weights(tmp_path / "w.pth", RESNET18)


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_tensor_that_is_missing_or_too_many_is_told_by_the_files_own_name(
    tmp_path: Path, state: dict[str, torch.Tensor], prefix: str
) -> None:
    changed = {f"{prefix}{name}": value for name, value in state.items() if name != "layer3.0.conv1.weight"}
    torch.save({**changed, f"{prefix}extra.weight": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(UsageError) as refused:
        read_weights(tmp_path / "w.pth", RESNET18)
    assert f"it lacks {prefix}layer3.0.conv1.weight; it has {prefix}extra.weight, which the network has not" in str(
        refused.value
    )


def test_values_that_are_not_finite_are_refused(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    bad = {**state, "fc.bias": torch.tensor([0.0, float("nan"), 1.0])}
    torch.save(bad, tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"1 of its tensors hold values that are not finite, such as head\.bias"):
        read_weights(tmp_path / "w.pth", RESNET18)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model.", "network.backbone."])
def test_a_common_prefix_is_taken_off_and_told(tmp_path: Path, state: dict[str, torch.Tensor], prefix: str) -> None:
    torch.save({f"{prefix}{name}": value for name, value in state.items()}, tmp_path / "w.pth")
    weights = read_weights(tmp_path / "w.pth", RESNET18)
    assert torch.equal(weights.state["backbone.layer1.0.bn1.weight"], state["layer1.0.bn1.weight"])
    assert weights.notes[0] == f"the names of its tensors begin with {prefix!r}, which was removed"


def test_half_precision_and_missing_counters_are_read(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    half = {name: value.half() for name, value in state.items() if not name.endswith("num_batches_tracked")}
    safetensors.torch.save_file(half, tmp_path / "w.safetensors")
    weights = read_weights(tmp_path / "w.safetensors", RESNET18)
    assert {value.dtype for value in weights.state.values()} == {torch.float32, torch.int64}
    assert torch.equal(weights.state["head.weight"], state["fc.weight"].half().float())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("made", "asked"),
    [
        ("resnet34", "resnet18"),
        ("resnet18", "resnet50"),
        ("vgg11", "vgg11_bn"),
        ("swin_t", "vit_b_16"),
        ("timm/resnet18d", "timm/resnet18"),
    ],
)
def test_another_architecture_is_named(tmp_path: Path, made: str, asked: str) -> None:
    with torch.device("meta"):
        network = library_network(made, 2)
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    # One number each, expanded: a file of some kilobytes.
    torch.save({name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}, tmp_path / "w.pth")
    with pytest.raises(UsageError) as refused:
        read_weights(tmp_path / "w.pth", Said(architecture=asked))
    assert f"it belongs to another network than {asked}: its tensors are those of {made}; write {made}" in str(
        refused.value
    )
    if made == "resnet34":
        with pytest.raises(UsageError, match=f"name it with --architecture; its tensors are those of {made}"):
            read_weights(tmp_path / "w.pth")


def test_what_is_said_of_a_file_counts_where_it_says_nothing(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(state, tmp_path / "w.pth")
    said = Said(
        architecture="resnet18",
        input_range=InputRange((0.5, 0.4, 0.3), (0.1, 0.2, 0.3)),
        norm_epsilon=1e-4,
        probability=Probability.SIGMOID,
        image_size=99,
    )
    weights = read_weights(tmp_path / "w.pth", said)
    told = weights.description
    assert (told.norm_epsilon, told.probability, told.image_size) == (1e-4, Probability.SIGMOID, 99)
    assert weights.backbone_range() == said.input_range
    habits = (
        "images with mean 0.5/0.4/0.3, std 0.1/0.2/0.3, batch normalisation's epsilon 0.0001, sigmoid over 3 classes"
    )
    assert weights.notes == (f"the file does not say how it is used; taken as resnet18: {habits}",)


def test_a_damaged_description_is_refused_and_anothers_is_ignored(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "w.pth"
    torch.save(state, path)
    description_path(path).write_text('{"model": "mine"}')
    assert read_weights(path, RESNET18).description.n_classes == 3
    whole = Description(architecture="resnet18", n_classes=3, norm_epsilon=1e-5).values()
    for name, value in (("n_classes", "3"), ("batch_norm_epsilon", -1), ("input", []), ("wnids", ["n02084071"])):
        text = str({**whole, name: value}).replace("'", '"')
        description_path(path).write_text(text)
        with pytest.raises(DataError, match="its description of the weights is damaged"):
            read_weights(path, RESNET18)
    description_path(path).write_text('{"format": "mlimages-weights/2"}')
    with pytest.raises(DataError, match="its format is mlimages-weights/2, not mlimages-weights/1"):
        read_weights(path, RESNET18)


@pytest.mark.parametrize("upright", [False, True])
def test_a_description_is_its_text(*, upright: bool) -> None:
    told = Description(
        upright=upright,
        architecture="timm/resnet18",
        n_classes=2,
        norm_epsilon=None,
        input_range=InputRange((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
        probability=Probability.SOFTMAX,
        wnids=("n1", "n2"),
        names=("é", '"'),
    )
    assert Description.from_json(told.to_json(), "text") == told
    assert ("upright" in told.to_json()) == upright  # earlier files have no such key


@pytest.mark.parametrize(
    ("option", "said", "itself"),
    [
        ("--mean and --std", Said(input_range=InputRange((0.1, 0.2, 0.3))), "images with mean 0.5/0.5/0.5"),
        ("--epsilon", Said(norm_epsilon=0.25), "batch normalisation's epsilon 1e-05"),
        ("--probability", Said(probability=Probability.SOFTMAX), "sigmoid for probabilities"),
        ("--image-size", Said(image_size=99), "images of 224 pixels"),
        ("--view", Said(view=EvaluationView.RESIZE256), "the view crop80"),
    ],
)
def test_a_file_that_says_something_else_than_the_user_is_refused(
    option: str, said: Said, itself: str, tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "w.pth"
    torch.save(state, path)
    described = Description(architecture="resnet18", n_classes=3, norm_epsilon=1e-5)
    description_path(path).write_text(described.to_json())
    with pytest.raises(UsageError) as refused:
        read_weights(path, said)
    assert f"it contradicts the options: it says {itself}" in str(refused.value)
    assert str(refused.value).endswith(f"; leave out {option}")
    same = Said(
        input_range=described.input_range,
        norm_epsilon=described.norm_epsilon,
        probability=described.probability,
        image_size=described.image_size,
        view=described.view,
    )
    assert read_weights(path, same).description == described


def test_an_epsilon_of_a_network_without_normalisation_is_refused(tmp_path: Path) -> None:
    network = library_network("alexnet", 2)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    with pytest.raises(UsageError, match="it says no batch normalisation; leave out --epsilon"):
        read_weights(tmp_path / "w.pth", Said(architecture="alexnet", norm_epsilon=1e-3))


def test_an_unknown_place_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file; name a file of weights, or a run's folder"):
        read_weights(tmp_path / "none.pth", RESNET18)
    with pytest.raises(UsageError, match="holds no checkpoint"):
        read_weights(tmp_path, RESNET18)


def test_nothing_else_is_allowed_to_be_unpickled(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    torch.save({"args": argparse.Namespace(a=1)}, tmp_path / "w.pt")
    assert read_pickled(tmp_path / "w.pt") == {"args": argparse.Namespace(a=1)}
    assert set(torch.serialization.get_safe_globals()) == before


@given(
    variance=st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=8),
    before=st.floats(1e-6, 1e-2),
    after=st.floats(1e-6, 1e-2),
)
def test_a_moved_epsilon_changes_no_result(variance: list[float], before: float, after: float) -> None:
    norm, other = (torch.nn.BatchNorm1d(len(variance), eps=eps).eval() for eps in (before, after))
    state = {**norm.state_dict(), "running_var": torch.tensor(variance)}
    named = {f"n.{name}": value for name, value in state.items()}
    smallest = float(torch.tensor(variance).min())
    if smallest + before - after <= 0:
        with pytest.raises(UsageError, match="pass --keep-epsilon"):
            folded(named, {"n": before}, {"n": after}, where="test")
        return
    moved = folded(named, {"n": before}, {"n": after}, where="test")
    norm.load_state_dict(state)
    other.load_state_dict({name.removeprefix("n."): value for name, value in moved.items()})
    features = torch.randn(4, len(variance))
    torch.testing.assert_close(other(features), norm(features), rtol=1e-5, atol=1e-6)


def test_several_epsilons_become_the_smallest() -> None:
    state = {"a.running_var": torch.tensor([1.0]), "b.running_var": torch.tensor([2.0])}
    moved, epsilon = common(state, {"a": 0.5, "b": 0.25}, where="test")
    assert epsilon == 0.25
    assert (moved["a.running_var"].item(), moved["b.running_var"].item()) == (1.25, 2.0)
    assert common(state, {}, where="test") == (state, None)


@pytest.mark.parametrize("name", ["resnet18", "regnet_y_400mf", "timm/tf_efficientnet_lite0", "resnet101_released"])
def test_an_outline_draws_no_random_number(name: str) -> None:
    before = torch.get_rng_state()
    found = architectures.outline(name, 4).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert {key: value.shape for key, value in found.items()} == {
        key: value.shape for key, value in create_model(name, 4).state_dict().items()
    }


def test_lite_names_are_all_of_the_original_network() -> None:
    originals = pytest.importorskip("efficientnet_lite_pytorch")
    for number in (0, 2, 4):
        name = f"timm/tf_efficientnet_lite{number}"
        theirs = originals.EfficientNet.from_name(f"efficientnet-lite{number}").state_dict()
        model = architectures.outline(name, 1000)
        names = architectures.lite_names(model)
        assert {names[key]: value.shape for key, value in model.state_dict().items()} == {
            key: value.shape for key, value in theirs.items()
        }
