"""Writes weights of our networks in other forms, and compares the output of each with the network's.

Legend: B images in a batch, C classes, S side of the square.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torchvision import models as torchvision_models

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import reason
from mlimages_dataset.tables.files import PARTIAL_PREFIX, give_name, write_bytes
from mlimages_dataset.train.checkpoint import Checkpoint, RunProgress, save_checkpoint
from mlimages_dataset.train.config import LossName
from mlimages_dataset.train.losses.registry import loss_named
from mlimages_dataset.train.models import AUXILIARY_HEADS, SCALING, TIMM_PREFIX, InputScaling, batch_norms
from mlimages_dataset.train.science import UPRIGHT_KEY
from mlimages_dataset.train.weights import architectures
from mlimages_dataset.train.weights.description import Probability, WeightsForm
from mlimages_dataset.train.weights.files import SAFETENSORS, write_safetensors, write_state_dict
from mlimages_dataset.train.weights.norms import folded
from mlimages_dataset.train.weights.onnx_file import exported, run_onnx
from mlimages_dataset.train.weights.probability import probability_sentences
from mlimages_dataset.train.weights.reading import CALIBRATION, check_values, read_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlimages_dataset.train.weights.description import InputRange
    from mlimages_dataset.train.weights.reading import NetworkWeights

TOLERANCE = 1e-5
"""Largest allowed difference of logits, relative to the largest logit if that is above 1."""
_TESTED_IMAGES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A written file of weights.

    Attributes:
        path: of the file.
        difference: the largest difference of a logit between the file's network and ours, and between ours and that of
            the library whose names the source had, on the tested images, as a share of the largest logit where that is
            above 1.
        receive: sentences on how to use the file.
    """

    path: Path
    difference: float
    receive: tuple[str, ...]


def write_weights(
    weights: NetworkWeights, form: WeightsForm, out: Path, *, opset: int | None = None, keep_epsilon: bool = False
) -> Written:
    """Write weights in a form, and return how far its network's logits are from ours.

    The written network is compared with ours, and so is the library's own if the source had its names.

    Args:
        weights: the network.
        form: of the file.
        out: the file; a state dict is written as safetensors where its name ends so, and pickled otherwise.
        opset: of ONNX; None for the exporter's own.
        keep_epsilon: keep the variances even if the library has another epsilon, which the user must then change.

    Raises:
        UsageError: the form has no such network, or cannot hold it exactly.
        DataError: values are not finite, or the written network gives other logits.
    """
    check_values(weights.path, {**weights.state, **weights.calibration})
    of_library = library_difference(weights)
    if form is WeightsForm.ONNX:
        written = _write_onnx(weights, out, opset)
    elif form is WeightsForm.SAFETENSORS:
        written = _write_safetensors(weights, out)
    elif form is WeightsForm.CHECKPOINT:
        written = _write_checkpoint(weights, out)
    else:
        written = _write_state_dict(weights, form, out, keep_epsilon=keep_epsilon)
    return dataclasses.replace(written, difference=max(of_library, written.difference))


def library_difference(weights: NetworkWeights) -> float:
    """Return how far our network's logits are from those of the library whose names the source had; 0 for ours.

    It is 0 as well for a network of the library with further heads, which are not in our weights.

    Raises:
        UsageError: the library cannot build the network, or it takes no images of this size.
        DataError: the logits differ.
    """
    source, told = weights.library, weights.description
    if source is None:
        return 0.0
    theirs = library_network(told.architecture, told.n_classes)
    if source.norm_epsilon is not None:
        for norm in batch_norms(theirs):
            norm.eps = source.norm_epsilon
    names = architectures.library_names(architectures.outline(told.architecture, told.n_classes))
    shapes = {name: value.shape for name, value in theirs.state_dict().items()}
    if set(names.values()) != shapes.keys():
        return 0.0
    theirs.load_state_dict({names[name]: value.reshape(shapes[names[name]]) for name, value in source.state.items()})
    images = check_images(told.image_size)
    fed = InputScaling(source.input_range.mean, source.input_range.std)(images)
    return _difference(
        _logits(weights.model(), images),
        _logits(theirs, fed),
        weights.path,
        whose="its library's network gives other logits than ours",
        remedy="report it with the architecture's name",
    )


def check_images(image_size: int) -> Tensor:
    """Return images in [-1, 1] to compare networks on, shape (3, 3, S, S); the same for every call."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand((_TESTED_IMAGES, 3, image_size, image_size), generator=generator) * 2 - 1


def as_checkpoint(weights: NetworkWeights) -> Checkpoint:
    """Return a checkpoint for evaluation, prediction and fine-tuning, which belongs to no run that could resume."""
    told = weights.description
    loss = (
        told.loss
        or (LossName.SOFTMAX if told.probability is Probability.SOFTMAX else LossName.BINARY_CROSS_ENTROPY).value
    )
    # A network without batch normalisation has no epsilon, and none is used.
    epsilon = told.norm_epsilon if told.norm_epsilon is not None else 1e-5
    upright = {UPRIGHT_KEY: "true"} if told.upright else {}
    return Checkpoint(
        progress=RunProgress(),
        model_name=told.architecture,
        n_classes=told.n_classes,
        image_size=told.image_size,
        vocabulary=told.vocabulary,
        science={"model.batch_norm_epsilon": json.dumps(epsilon), "loss.name": json.dumps(loss), **upright},
        model=weights.state,
        average={},
        optimizer={},
        loss={},
        scaler={},
        generators=[],
        sampler={},
        calibration=weights.calibration,
    )


def _write_safetensors(weights: NetworkWeights, out: Path) -> Written:
    calibration = {f"{CALIBRATION}{name}": value for name, value in weights.calibration.items()}
    tensors = {**weights.state, **calibration}
    difference = _written_and_read(weights, out, lambda path: write_safetensors(path, tensors, weights.description))
    held = ("slope and offset are its `calibration.slope` and `calibration.offset`",) if _is_calibrated(weights) else ()
    return Written(
        path=out,
        difference=difference,
        receive=("`finetune --weights` and `convert` read it", *_probability(weights), *held),
    )


def _write_checkpoint(weights: NetworkWeights, out: Path) -> Written:
    if loss_named(weights.description.loss).score:
        raise UsageError(
            "its probabilities need the rates of its loss, which the new checkpoint would not hold",
            where=weights.path,
            remedy="use the checkpoint as it is",
        )
    if out.suffix == SAFETENSORS:
        raise UsageError("a checkpoint of this name would be read as safetensors", where=out, remedy="name it .pt")
    checkpoint = as_checkpoint(weights)
    difference = _written_and_read(weights, out, lambda path: save_checkpoint(path, checkpoint))
    told = weights.description
    told_classes = () if told.vocabulary else ("it names no vocabulary: fine-tune it, or convert with --vocabulary",)
    receive = ("predict, evaluate, extract and finetune read it", *told_classes)
    return Written(path=out, difference=difference, receive=receive)


def _written_and_read(weights: NetworkWeights, out: Path, write: Callable[[Path], None]) -> float:
    """Write a file that this package reads, and return how far the logits of what is read from it are from ours.

    It takes its name when they are equal within the tolerance; errors as for `write_weights`.
    """
    partial = out.with_name(f"{PARTIAL_PREFIX}{secrets.token_hex(4)}-{out.name}")
    images = check_images(weights.description.image_size)
    ours = _logits(weights.model(), images)
    try:
        write(partial)
        difference = _difference(
            ours,
            _logits(read_weights(partial).model(), images),
            out,
            whose="the network read back from it gives other logits",
            remedy="try again, and report it if it happens again",
        )
        give_name(partial, out)
    finally:
        partial.unlink(missing_ok=True)
    return difference


def _write_onnx(weights: NetworkWeights, out: Path, opset: int | None) -> Written:
    model, images = weights.model(), check_images(weights.description.image_size)
    content = exported(model, weights.description, images, opset=opset, where=out)
    # Other batches than the one that was traced: the batch is free.
    pairs = [(ours, run_onnx(content, batch)) for batch in (images, images[:1]) for ours in (_logits(model, batch),)]
    difference = max(_difference(ours, theirs, out) for ours, theirs in pairs)
    write_bytes(out, content)
    receive = "feed `images`, RGB pixels in [-1, 1] (pixel / 127.5 - 1), float32, and read `logits`"
    return Written(path=out, difference=difference, receive=(receive, *_probability(weights), *_elsewhere(weights)))


def _write_state_dict(weights: NetworkWeights, form: WeightsForm, out: Path, *, keep_epsilon: bool) -> Written:
    told = weights.description
    architecture = _architecture_of(form, told.architecture, out)
    ours = weights.model()
    outline = architectures.outline(architecture, told.n_classes)
    names = architectures.library_names(outline)
    mine = {name: value.shape for name, value in weights.state.items() if not name.startswith(SCALING)}
    if not names or mine != {name: value.shape for name, value in outline.state_dict().items()}:
        raise UsageError(
            f"{form.value}'s {architecture.removeprefix(TIMM_PREFIX)} has other tensors than {told.architecture}",
            where=out,
            remedy="use --to safetensors or --to onnx",
        )
    before, after = architectures.epsilons(ours), architectures.epsilons(outline)
    kept = told.norm_epsilon if keep_epsilon else min(after.values(), default=None)
    state = weights.state if keep_epsilon else folded(weights.state, before, after, where=weights.path)
    theirs = library_network(architecture, told.n_classes)
    if keep_epsilon and kept is not None:
        for norm in batch_norms(theirs):
            norm.eps = kept
    shapes = {name: value.shape for name, value in theirs.state_dict().items()}
    tensors = {names[name]: state[name] for name in names}
    if tensors.keys() != shapes.keys():
        raise UsageError(
            f"{form.value}'s {architecture} has more than one head", where=out, remedy="use --to safetensors"
        )
    tensors = {name: value.reshape(shapes[name]) for name, value in tensors.items()}
    theirs.load_state_dict(tensors)
    images, input_range = check_images(told.image_size), weights.backbone_range()
    fed = InputScaling(input_range.mean, input_range.std)(images)
    difference = _difference(_logits(ours, images), _logits(theirs, fed), out)
    description = dataclasses.replace(told, architecture=architecture, norm_epsilon=kept, input_range=input_range)
    write = write_safetensors if out.suffix == SAFETENSORS else write_state_dict
    write(out, {**tensors}, description)
    return Written(
        path=out,
        difference=difference,
        receive=(
            *_receive(form, architecture, told.n_classes, input_range),
            *_epsilon(kept, after),
            *_probability(weights),
            *_elsewhere(weights),
        ),
    )


def library_network(architecture: str, n_classes: int) -> nn.Module:
    """Return a library's own network with random weights, for evaluation."""
    with torch.random.fork_rng(devices=()):
        if architecture.startswith(TIMM_PREFIX):
            import timm  # noqa: PLC0415 - optional, and slow to import

            network = timm.create_model(architecture.removeprefix(TIMM_PREFIX), pretrained=False, num_classes=n_classes)
        else:
            options = {"aux_logits": False, "init_weights": False} if architecture in AUXILIARY_HEADS else {}
            network = torchvision_models.get_model(architecture, weights=None, num_classes=n_classes, **options)
    assert isinstance(network, nn.Module)
    return network.eval()


def _architecture_of(form: WeightsForm, name: str, out: Path) -> str:
    """Return what a library calls an architecture, as `create_model` knows it.

    Raises:
        UsageError: it has no network of that name.
    """
    plain = name.removeprefix(TIMM_PREFIX)
    if form is WeightsForm.TIMM:
        try:
            import timm  # noqa: PLC0415 - optional, and slow to import
        except ModuleNotFoundError as error:
            raise UsageError(
                "timm is not installed", where=out, remedy="run: pip install 'mlimages-dataset[weights]'"
            ) from error
        known, found = timm.list_models(), f"{TIMM_PREFIX}{plain}" if timm.is_model(plain) else ""
    else:
        known = torchvision_models.list_models(module=torchvision_models)
        found = plain if plain in known else ""
    if not found:
        near = difflib.get_close_matches(plain, known, n=1)
        raise UsageError(
            f"{form.value} has no network {plain!r}" + (f" (the nearest is {near[0]})" if near else ""),
            where=out,
            remedy="use --to safetensors or --to onnx",
        )
    return found


def _logits(network: nn.Module, images: Tensor) -> Tensor:
    """Return a network's logits, shape (B, C).

    Raises:
        UsageError: it takes no images of this size.
    """
    try:
        with torch.inference_mode():
            logits: Tensor = network(images)
    except (AssertionError, RuntimeError, ValueError) as error:  # each network has its own
        size = images.shape[-1]
        raise UsageError(
            f"the network does not take images of {size} x {size} pixels ({reason(error)})",
            remedy="give the size that it was trained on (--image-size)",
        ) from error
    return logits


def _difference(
    ours: Tensor,
    theirs: Tensor,
    where: Path,
    *,
    whose: str = "the network there gives other logits",
    remedy: str = "use --to safetensors or --to onnx",
) -> float:
    """Return the largest difference of logits, as a share of the largest logit where that is above 1.

    Raises:
        DataError: it is more than the tolerance.
    """
    difference = float((ours - theirs).abs().max()) / max(1.0, float(ours.abs().max()))
    if not difference <= TOLERANCE:  # NaN is not agreement either
        raise DataError(f"{whose}, by up to {difference:.3g}, and nothing was written", where=where, remedy=remedy)
    return difference


def _receive(form: WeightsForm, architecture: str, n_classes: int, input_range: InputRange) -> tuple[str, ...]:
    made = architectures.construction(form, architecture, n_classes)
    return (f"load it into {made}", f"feed (pixel - mean) / std of RGB pixels in [0, 1]: {input_range}")


def _epsilon(kept: float | None, theirs: dict[str, float]) -> tuple[str, ...]:
    if kept is None or set(theirs.values()) == {kept}:
        return ()
    return (f"set eps = {kept:g} on every batch normalisation: the library's is another",)


def _probability(weights: NetworkWeights) -> tuple[str, ...]:
    return probability_sentences(weights.description, calibrated=_is_calibrated(weights))


def _elsewhere(weights: NetworkWeights) -> tuple[str, ...]:
    """Return a sentence on where to find the calibration that the form does not hold."""
    if not _is_calibrated(weights):
        return ()
    return ("slope and offset are not in this file: --to safetensors writes them (`calibration.slope` and `.offset`)",)


def _is_calibrated(weights: NetworkWeights) -> bool:
    return bool(weights.calibration) and weights.description.probability is not Probability.SOFTMAX
