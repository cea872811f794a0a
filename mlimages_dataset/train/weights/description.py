"""The description that users of weights need, and its JSON text.

It is stored in the header of a safetensors file, in the metadata of an ONNX file, and for a pickled state dict in a
file beside it, `NAME.json`.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlimages_dataset.core.documents import parse_json
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.loaders.views import EvaluationView

if TYPE_CHECKING:
    from mlimages_dataset.core.decoding import Json

FORMAT = "mlimages-weights/1"
METADATA_KEY = "mlimages.weights"
"""Key of the text in a file's metadata."""
_COLOURS = 3
_REMEDY = "write the file again, or remove its description and name --architecture"


class WeightsForm(enum.Enum):
    """The forms in which weights are written."""

    SAFETENSORS = "safetensors"
    """Our names; the header describes the network."""
    TORCHVISION = "torchvision"
    """The state dict of torchvision's network."""
    TIMM = "timm"
    """The state dict of timm's network."""
    ONNX = "onnx"
    """A graph that ONNX Runtime and others compute."""
    CHECKPOINT = "checkpoint"
    """What `predict`, `evaluate` and `finetune` read."""


class Probability(enum.Enum):
    """How logits become probabilities."""

    SIGMOID = "sigmoid"
    """For each class separately."""
    SOFTMAX = "softmax"
    """For one class among all."""


@dataclass(frozen=True, slots=True)
class InputRange:
    """The range of a network's input: (pixel - mean) / std of pixels in [0, 1], for red, green and blue."""

    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        if len(self.mean) != _COLOURS or len(self.std) != _COLOURS or not all(0 < std < math.inf for std in self.std):
            raise ValueError(f"an input range has three means and three positive deviations, not {self}")

    def __str__(self) -> str:
        return f"mean {_listed(self.mean)}, std {_listed(self.std)}"


OURS = InputRange()
"""Pixels in [-1, 1], as the loaders give them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The facts that a user of weights must know.

    Attributes:
        architecture: its name for `create_model`.
        n_classes: number of classes of the head.
        norm_epsilon: constant that batch normalisation adds to the variance; None without batch normalisation.
        input_range: range of the images that the network in the file takes.
        image_size: side of the square images at the end of training, in pixels.
        view: the part of a picture that it was evaluated on.
        upright: it was trained on pictures that were turned as their EXIF says.
        probability: how logits become probabilities.
        loss: name of the loss that it was trained with; empty if unknown.
        vocabulary: digest of the vocabulary whose classes it predicts; empty if unknown.
        wnids: wnids of the classes, in the order of the logits; empty if unknown.
        names: names of the classes, likewise.
    """

    architecture: str
    n_classes: int
    norm_epsilon: float | None
    input_range: InputRange = OURS
    image_size: int = 224
    view: EvaluationView = EvaluationView.CROP80
    upright: bool = False
    probability: Probability = Probability.SIGMOID
    loss: str = ""
    vocabulary: str = ""
    wnids: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.n_classes < 1 or self.image_size < 1:
            raise ValueError(f"{self.n_classes} classes on images of {self.image_size} pixels")
        if self.norm_epsilon is not None and not 0 < self.norm_epsilon < math.inf:
            raise ValueError(f"an epsilon of {self.norm_epsilon}")
        if any(len(texts) not in {0, self.n_classes} for texts in (self.wnids, self.names)):
            raise ValueError(f"{len(self.wnids)} wnids and {len(self.names)} names of {self.n_classes} classes")

    def to_json(self, *, indent: int | None = None) -> str:
        """Return the description as JSON text, see `from_json`."""
        return json.dumps(self.values(), ensure_ascii=False, indent=indent)

    def values(self) -> dict[str, Json]:
        """Return the description as JSON values."""
        return {
            "format": FORMAT,
            "architecture": self.architecture,
            "n_classes": self.n_classes,
            "batch_norm_epsilon": self.norm_epsilon,
            "input": {
                "what": "(pixel - mean) / std of RGB pixels in [0, 1], shape (batch, 3, size, size)",
                "mean": list(self.input_range.mean),
                "std": list(self.input_range.std),
                "size": self.image_size,
                "view": self.view.value,
                **({"upright": True} if self.upright else {}),  # earlier files have no such key
            },
            "output": "logits",
            "probability": self.probability.value,
            "loss": self.loss,
            "vocabulary": self.vocabulary,
            "wnids": list(self.wnids),
            "names": list(self.names),
        }

    @staticmethod
    def from_json(text: str, where: object) -> Description | None:
        """Return the description in a text; None if it is JSON of another kind.

        Args:
            text: the JSON.
            where: the file of the text, for messages.

        Raises:
            DataError: it has another version, or a value is missing or impossible.
        """
        try:
            content = parse_json(text)
        except ValueError:
            return None
        if not isinstance(content, dict) or not str(content.get("format", "")).startswith(FORMAT.rpartition("/")[0]):
            return None
        if content["format"] != FORMAT:
            raise DataError(f"its format is {content['format']}, not {FORMAT}", where=where, remedy=_REMEDY)
        try:
            return _from_values(content)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"its description of the weights is damaged ({type(error).__name__}: {error})",
                where=where,
                remedy=_REMEDY,
            ) from error


def with_classes(
    description: Description, vocabulary: str, wnids: tuple[str, ...], names: tuple[str, ...]
) -> Description:
    """Return a description that names the classes of a vocabulary with this digest."""
    return dataclasses.replace(description, vocabulary=vocabulary, wnids=wnids, names=names)


def _from_values(content: dict[str, Json]) -> Description:
    """Return the description that `values` returned this of.

    Raises:
        KeyError, TypeError, ValueError: a value is missing, or none that can be.
    """
    given = content["input"]
    if not isinstance(given, dict):
        raise TypeError("input is not a table")
    epsilon = content["batch_norm_epsilon"]
    return Description(
        architecture=_text(content["architecture"]),
        n_classes=_whole(content["n_classes"]),
        norm_epsilon=None if epsilon is None else _number(epsilon),
        input_range=InputRange(_numbers(given["mean"]), _numbers(given["std"])),
        image_size=_whole(given["size"]),
        view=EvaluationView(given["view"]),
        upright=_flag(given.get("upright", False)),
        probability=Probability(content["probability"]),
        loss=_text(content["loss"]),
        vocabulary=_text(content["vocabulary"]),
        wnids=_texts(content["wnids"]),
        names=_texts(content["names"]),
    )


def _flag(value: Json) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _texts(value: Json) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return tuple(_text(one) for one in value)


def _whole(value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _number(value: Json) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def _numbers(value: Json) -> tuple[float, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return tuple(_number(one) for one in value)


def _listed(values: tuple[float, ...]) -> str:
    return "/".join(f"{value:g}" for value in values)
