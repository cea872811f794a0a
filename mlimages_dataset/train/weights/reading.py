"""Reads weights of any known form as the state of one of our networks, with their description; C is the classes'."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.listed import first_of
from mlimages_dataset.loaders.views import EvaluationView
from mlimages_dataset.train.checkpoint import FORMAT, Checkpoint, found_checkpoint, read_checkpoint
from mlimages_dataset.train.config import LossName
from mlimages_dataset.train.losses.registry import loss_named
from mlimages_dataset.train.models import AUXILIARY_HEADS, RELEASED, SCALING, InputScaling, create_model
from mlimages_dataset.train.science import refuse_other_task, turns_upright
from mlimages_dataset.train.weights import architectures
from mlimages_dataset.train.weights.architectures import HEAD, LITE_STEM
from mlimages_dataset.train.weights.description import OURS, Description, InputRange, Probability
from mlimages_dataset.train.weights.files import is_safetensors, read_pickled, read_safetensors, state_dict_in
from mlimages_dataset.train.weights.norms import common
from mlimages_dataset.train.weights.tensorflow import from_tensorflow, read_tensorflow, tensorflow_prefix

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.train.models import MultiLabelClassifier
    from mlimages_dataset.train.weights.files import TensorFile

CALIBRATION = "calibration."
"""Prefix of a calibration's tensors, see `train.calibration.Calibration.state`."""
_FEW_GAPS = 5
"""A file that differs by at most so many tensors is damaged or changed, not of another network."""
_SHOWN_NAMES = 3
_FORGOTTEN = ("n_averaged",)
"""The entry that torch's AveragedModel adds to a state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The user's description of a file that lacks one; None takes the library's value.

    Attributes:
        architecture: as `create_model` knows it.
        input_range: of the images that the weights were trained on.
        norm_epsilon: what batch normalisation adds to the variance.
        probability: how logits become probabilities.
        image_size: side of the images in pixels.
        view: the part of a picture that the network was evaluated on.
    """

    architecture: str | None = None
    input_range: InputRange | None = None
    norm_epsilon: float | None = None
    probability: Probability | None = None
    image_size: int | None = None
    view: EvaluationView | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryWeights:
    """Weights for the library's own network, whose names the file has.

    Attributes:
        state: the tensors of the file, float32, by our names.
        norm_epsilon: of all its normalisations; None for the library's own.
        input_range: of its images.
    """

    state: dict[str, Tensor]
    norm_epsilon: float | None
    input_range: InputRange


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkWeights:
    """The weights of one of our networks.

    Attributes:
        path: path of the file.
        state: what `create_model` of the architecture takes, float32: the input's scaling included, where the weights
            were not trained on [-1, 1]; so the network takes pixels in [-1, 1] in any case.
        description: description of the network with its scaling.
        calibration: its calibration, see `Calibration.state`; empty if there is none.
        notes: a sentence for each assumption or change in reading.
        library: the weights for the architecture's library; None for a file with our names.
    """

    path: Path
    state: dict[str, Tensor]
    description: Description
    calibration: dict[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    library: LibraryWeights | None = None

    def model(self) -> MultiLabelClassifier:
        """Return the network with these weights, for evaluation."""
        told = self.description
        model = create_model(told.architecture, told.n_classes, norm_epsilon=told.norm_epsilon)
        model.load_state_dict(self.state)
        return model.eval()

    def backbone_range(self) -> InputRange:
        """Return the range of the images that the backbone itself takes."""
        if f"{SCALING}mean" not in self.state:
            return OURS
        mean, std = (self.state[f"{SCALING}{part}"].flatten().tolist() for part in ("mean", "std"))
        return InputRange(_of_float32(mean), _of_float32(std))


def read_weights(place: Location, said: Said | None = None, *, view: EvaluationView | None = None) -> NetworkWeights:
    """Return the weights at a place: of a run, a checkpoint, a safetensors file, a state dict, or TensorFlow's.

    Args:
        place: a file, a run's folder for its newest checkpoint, or the prefix of a TensorFlow checkpoint.
        said: what the user says of them.
        view: what the run of a checkpoint evaluated on, which counts where the user names no view.

    Raises:
        UsageError: there is no such file, the architecture is not known, the weights are of another one, or the file
            says something else than the user.
        DataError: the file is damaged, or holds what is not loaded.
    """
    said = said or Said()
    weights = _read(place, said, view)
    _check_said(said, weights)
    return weights


def _read(place: Location, said: Said, view: EvaluationView | None) -> NetworkWeights:
    prefix = tensorflow_prefix(place)
    if prefix is not None:
        return _from_tensorflow(prefix, said)
    path = found_checkpoint(place)
    if not path.is_file():
        raise UsageError("there is no such file", where=path, remedy="name a file of weights, or a run's folder")
    if is_safetensors(path):
        return _from_tensors(path, read_safetensors(path), said)
    content = read_pickled(path)
    if isinstance(content, dict) and str(content.get("format", "")).startswith(FORMAT.partition("/")[0]):
        return from_checkpoint(path, read_checkpoint(path), dataclasses.replace(said, view=said.view or view))
    return _from_tensors(path, state_dict_in(content, path), said)


def from_checkpoint(path: Path, checkpoint: Checkpoint, said: Said | None = None) -> NetworkWeights:
    """Return the weights that a checkpoint evaluates: its moving average where it has one.

    Raises:
        UsageError: it is of another task, the user names another architecture, or the weights do not fit theirs.
        DataError: values are not finite.
    """
    said = said or Said()
    refuse_other_task(checkpoint.science, path)
    _check_architecture(checkpoint.model_name, said, path)
    model = architectures.outline(checkpoint.model_name, checkpoint.n_classes)
    state = {
        name: value.float() if value.is_floating_point() else value for name, value in checkpoint.weights().items()
    }
    found = {name: value.shape for name, value in state.items() if not name.startswith(SCALING)}
    if found != {name: value.shape for name, value in model.state_dict().items()}:
        own = {name: value for name, value in state.items() if not name.startswith(SCALING)}
        raise _other_network(path, own, checkpoint.model_name, model)
    check_values(path, {**state, **checkpoint.calibration})
    loss = json.loads(checkpoint.science.get("loss.name", '""'))
    description = Description(
        architecture=checkpoint.model_name,
        n_classes=checkpoint.n_classes,
        norm_epsilon=checkpoint.norm_epsilon(path) if architectures.epsilons(model) else None,
        image_size=checkpoint.image_size,
        view=said.view or EvaluationView.CROP80,
        upright=turns_upright(checkpoint.science),
        probability=Probability.SOFTMAX if loss_named(loss).one_label else Probability.SIGMOID,
        loss=loss,
        vocabulary=checkpoint.vocabulary,
    )
    notes = (
        ("its probabilities need the rates of its loss, which only the checkpoint itself holds",)
        if loss_named(loss).score
        else ()
    )
    return NetworkWeights(
        path=path, state=state, description=description, calibration=checkpoint.calibration, notes=notes
    )


def _from_tensorflow(prefix: Path, said: Said) -> NetworkWeights:
    _check_architecture(RELEASED, said, prefix)
    state = from_tensorflow(read_tensorflow(prefix))
    check_values(prefix, state)
    (epsilon,) = set(architectures.epsilons(architectures.outline(RELEASED)).values())
    description = Description(
        architecture=RELEASED,
        n_classes=len(state[f"{HEAD}bias"]),
        norm_epsilon=epsilon,
        image_size=said.image_size or 224,
        view=said.view or EvaluationView.CROP80,
        probability=said.probability or Probability.SIGMOID,
        loss=LossName.RELEASED.value,
    )
    return NetworkWeights(path=prefix, state=state, description=description)


def _from_tensors(path: Path, file: TensorFile, said: Said) -> NetworkWeights:
    """Return the weights in a file of tensors by name, in our naming or a library's."""
    calibration = {name: value for name, value in file.tensors.items() if name.startswith(CALIBRATION)}
    scaling = {name: value for name, value in file.tensors.items() if name.startswith(SCALING)}
    others = {
        name: value
        for name, value in file.tensors.items()
        if name not in calibration and name not in scaling and name not in _FORGOTTEN
    }
    name = _architecture(path, others, file.description, said)
    model = architectures.outline(name)
    naming, stripped, notes = _naming(path, others, name, model)
    state = _renamed(naming, model, stripped)
    check_values(path, {**state, **calibration, **scaling})
    is_library = naming[f"{HEAD}weight"] != f"{HEAD}weight"
    assumed = _library_habits(name) if is_library else _our_habits(name)
    described, more = _described(assumed, model, state, file.description, said)
    epsilons = architectures.epsilons(model)
    if described.norm_epsilon is not None:
        epsilons = dict.fromkeys(epsilons, described.norm_epsilon)
    in_library = (
        LibraryWeights(state=state, norm_epsilon=described.norm_epsilon, input_range=described.input_range)
        if is_library
        else None
    )
    state, epsilon = common(state, epsilons, where=path)
    description = dataclasses.replace(described, norm_epsilon=epsilon, input_range=OURS)
    return NetworkWeights(
        path=path,
        state={**state, **(_checked_scaling(path, scaling) or _scaling(described.input_range))},
        description=description,
        calibration=_calibration(path, calibration, described.n_classes),
        notes=(*file.notes, *notes, *more),
        library=in_library,
    )


def _architecture(path: Path, tensors: Mapping[str, Tensor], description: Description | None, said: Said) -> str:
    """Return the architecture that a file says, or else the user, or else a naming that only one library has.

    Raises:
        UsageError: nobody says it, or they say different ones.
    """
    if description is not None:
        _check_architecture(description.architecture, said, path)
        return description.architecture
    if said.architecture is not None:
        if LITE_STEM in tensors and said.architecture not in architectures.LITE_ARCHITECTURES:
            like = architectures.looks_like(tensors)
            raise UsageError(
                "its tensors have the names of efficientnet-lite-pytorch, which pads as TensorFlow does",
                where=path,
                remedy=f"name {like or 'one of timm/tf_efficientnet_lite0 to 4'} as the architecture (model.name)",
            )
        return said.architecture
    like = architectures.looks_like(tensors)
    if like in architectures.LITE_ARCHITECTURES and LITE_STEM in tensors:
        return like
    raise UsageError(
        "it does not name the architecture of its weights",
        where=path,
        remedy=f"name it with --architecture{f'; its tensors are those of {like}' if like else ''}",
    )


def _check_architecture(found: str, said: Said, path: Path) -> None:
    if said.architecture not in {None, found}:
        raise UsageError(
            f"its weights belong to {found}, not to {said.architecture}",
            where=path,
            remedy=f"write {found} as the model.name (or --architecture) that it was trained with",
        )


def _check_said(said: Said, weights: NetworkWeights) -> None:
    """Raise a `UsageError` that names the options to leave out if a file contradicts the user.

    Values that the file lacks were taken from the user, so they agree.
    """
    told, own_range = weights.description, weights.backbone_range()
    epsilon = told.norm_epsilon
    differing = []
    if said.input_range is not None and not _same_range(said.input_range, own_range):
        differing.append((f"images with {own_range}", "--mean and --std"))
    if said.norm_epsilon is not None and (
        epsilon is None or not math.isclose(said.norm_epsilon, epsilon, rel_tol=1e-6)
    ):
        itself = "no batch normalisation" if epsilon is None else f"batch normalisation's epsilon {epsilon:g}"
        differing.append((itself, "--epsilon"))
    if said.probability not in {None, told.probability}:
        differing.append((f"{told.probability.value} for probabilities", "--probability"))
    if said.image_size not in {None, told.image_size}:
        differing.append((f"images of {told.image_size} pixels", "--image-size"))
    if said.view not in {None, told.view}:
        differing.append((f"the view {told.view.value}", "--view"))
    if differing:
        says, options = zip(*differing, strict=True)
        raise UsageError(
            f"it contradicts the options: it says {', '.join(says)}",
            where=weights.path,
            remedy=f"leave out {', '.join(options)}",
        )


def _same_range(one: InputRange, other: InputRange) -> bool:
    pairs = zip((*one.mean, *one.std), (*other.mean, *other.std), strict=True)
    return all(math.isclose(left, right, rel_tol=1e-6, abs_tol=1e-9) for left, right in pairs)


def _naming(
    path: Path, tensors: Mapping[str, Tensor], name: str, model: MultiLabelClassifier
) -> tuple[dict[str, str], dict[str, Tensor], list[str]]:
    """Return in which naming tensors are a network's, the tensors without a common prefix, and what was left out.

    Raises:
        UsageError: they are of another network.
    """
    for prefix, stripped in _stripped(tensors):
        for naming in architectures.namings(name, model):
            if architectures.fits(naming, model, stripped):
                notes = [f"the names of its tensors begin with {prefix!r}, which was removed"] if prefix else []
                if name in AUXILIARY_HEADS and len(stripped) > len(naming):
                    notes.append("its auxiliary heads are left out")
                return naming, stripped, notes
    raise _other_network(path, tensors, name, model)


def _stripped(tensors: Mapping[str, Tensor]) -> list[tuple[str, dict[str, Tensor]]]:
    """Return tensors as they are named, and as often as all names share their first part, without it."""
    prefix, current = "", dict(tensors)
    found = [(prefix, current)]
    while current and len(firsts := {name.partition(".")[0] for name in current}) == 1:
        (first,) = firsts
        if first in current:
            break
        prefix, current = (
            f"{prefix}{first}.",
            {name.removeprefix(f"{first}."): value for name, value in current.items()},
        )
        found.append((prefix, current))
    return found


def _renamed(
    naming: Mapping[str, str], model: MultiLabelClassifier, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    state = {}
    for entry, shown in model.state_dict().items():
        value = tensors.get(naming[entry])
        if value is None:  # batch normalisation's counter, which evaluation ignores
            value = torch.zeros((), dtype=shown.dtype)
        if entry == f"{HEAD}weight":
            value = value.reshape(value.shape[0], -1)  # a 1 x 1 convolution is the same linear layer
        state[entry] = value.to(torch.float32 if value.is_floating_point() else value.dtype)
    return state


def _other_network(path: Path, tensors: Mapping[str, Tensor], name: str, model: MultiLabelClassifier) -> UsageError:
    like = architectures.looks_like(tensors, name) or next(
        (found for _, stripped in _stripped(tensors)[1:] if (found := architectures.looks_like(stripped, name))), ""
    )
    gaps = min(
        (
            architectures.gaps(naming, model, stripped, prefix)
            for prefix, stripped in _stripped(tensors)
            for naming in architectures.namings(name, model)
        ),
        key=len,
    )
    if not like and len(gaps) <= _FEW_GAPS:
        return UsageError(
            f"it is not a whole {name}: {'; '.join(gaps)}",
            where=path,
            remedy="obtain it again, or write all its weights",
        )
    told = f"its tensors are those of {like}" if like else first_of(gaps, _SHOWN_NAMES, sign="; ")
    return UsageError(
        f"it belongs to another network than {name}: {told}",
        where=path,
        remedy=f"write {like or 'the model.name that it was trained with'}"
        + (" as model.name (or --architecture)" if like else ""),
    )


def check_values(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise a `DataError` that names the file if tensors hold values that are not finite."""
    bad = [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise DataError(
            f"{len(bad)} of its tensors hold values that are not finite, such as {bad[0]}",
            where=path,
            remedy="take an earlier checkpoint, or fetch the file again",
        )


def _our_habits(name: str) -> Description:
    """Return what holds for weights in our own names, as far as nothing else says so."""
    size = architectures.library(name).image_size
    return Description(architecture=name, n_classes=1, norm_epsilon=None, image_size=size)


def _library_habits(name: str) -> Description:
    """Return what holds for weights in the names of an architecture's library, as far as nothing else says so."""
    given = architectures.library(name)
    return Description(
        architecture=name,
        n_classes=1,
        norm_epsilon=None,
        input_range=given.input_range,
        image_size=given.image_size,
        view=EvaluationView.RESIZE256,
        probability=Probability.SOFTMAX,
    )


def _described(
    habits: Description,
    model: MultiLabelClassifier,
    state: Mapping[str, Tensor],
    description: Description | None,
    said: Said,
) -> tuple[Description, list[str]]:
    """Return what holds for a file's weights, of which the input range is the backbone's, and what was assumed."""
    n_classes = len(state[f"{HEAD}bias"])
    if description is not None:
        if description.n_classes != n_classes:
            description = dataclasses.replace(description, n_classes=n_classes, vocabulary="", wnids=(), names=())
        return description, []
    taken = dataclasses.replace(
        habits,
        n_classes=n_classes,
        norm_epsilon=said.norm_epsilon,
        input_range=said.input_range or habits.input_range,
        image_size=said.image_size or habits.image_size,
        view=said.view or habits.view,
        probability=said.probability or habits.probability,
    )
    epsilon = said.norm_epsilon or min(architectures.epsilons(model).values(), default=None)
    adds = "" if epsilon is None else f", batch normalisation's epsilon {epsilon:g}"
    told = f"images with {taken.input_range}{adds}, {taken.probability.value} over {n_classes:,} classes"
    return taken, [f"the file does not say how it is used; taken as {habits.architecture}: {told}"]


def _calibration(path: Path, tensors: Mapping[str, Tensor], n_classes: int) -> dict[str, Tensor]:
    """Return a calibration's state from the tensors of a file; slope and offset suffice.

    Raises:
        DataError: they are of another number of classes, or one is missing.
    """
    if not tensors:
        return {}
    found = {name.removeprefix(CALIBRATION): value for name, value in tensors.items()}
    state = {"odds_factor": torch.ones(n_classes), "counts": torch.zeros(2, dtype=torch.int64), **found}
    wanted = {"slope": (n_classes,), "offset": (n_classes,), "odds_factor": (n_classes,), "counts": (2,)}
    if {name: tuple(value.shape) for name, value in state.items()} != wanted:
        raise DataError(f"its calibration is not of {n_classes:,} classes", where=path, remedy="write the file again")
    return state


def _of_float32(values: list[float]) -> tuple[float, ...]:
    """Return float32 values as they were written in decimals."""
    return tuple(float(np.format_float_positional(np.float32(value), unique=True)) for value in values)


def _scaling(input_range: InputRange) -> dict[str, Tensor]:
    if input_range == OURS:
        return {}
    return {
        f"{SCALING}{name}": value
        for name, value in InputScaling(input_range.mean, input_range.std).state_dict().items()
    }


def _checked_scaling(path: Path, scaling: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the input's scaling as a file has it.

    Raises:
        DataError: it is damaged.
    """
    if not scaling:
        return {}
    wanted = InputScaling((0, 0, 0), (1, 1, 1)).state_dict()
    if {name.removeprefix(SCALING): value.shape for name, value in scaling.items()} != {
        name: value.shape for name, value in wanted.items()
    }:
        raise DataError(
            f"the tensors of its {SCALING.rstrip('.')} are of another form", where=path, remedy="write the file again"
        )
    return dict(scaling)
