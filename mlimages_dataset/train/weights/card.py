"""A model card: YAML that Hugging Face reads, then a page for people; text made from values.

https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlimages_dataset.core.markdown import as_markdown
from mlimages_dataset.train.weights.architectures import construction
from mlimages_dataset.train.weights.description import Probability, WeightsForm
from mlimages_dataset.train.weights.probability import probability_sentences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlimages_dataset.train.weights.description import Description

_SHOWN_CLASSES = 20
_SHOWN_GROUPS = 30
VOCABULARY, WEIGHTS = "vocabulary (wnids)", "weights"
"""Names of the digests that belong to the checkpoint, not to files that may have changed since."""
_VIEWS = {
    "crop80": "the central 80 % of each side, resized to the square",
    "resize256": "the short side resized to 256/224 of the square, then the central square",
}


@dataclass(frozen=True, slots=True)
class MeasuredValue:
    """One measured value.

    Attributes:
        name: such as `f1@5`.
        value: the value; NaN is left out.
    """

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class GroupPrecision:
    """Mean average precision over a group of classes: as of `evaluation.GroupMean`."""

    kind: str
    group: str
    mean: float
    n_classes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What an evaluation found.

    Attributes:
        n_images: evaluated; None where that was not noted.
        measures: over all classes.
        groups: by root, depth and number of images.
        source: where the values are from, as words.
    """

    n_images: int | None
    measures: tuple[MeasuredValue, ...]
    groups: tuple[GroupPrecision, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a network was trained.

    Attributes:
        steps: taken.
        epochs: done.
        digests: SHA-256 of vocabulary, weights, and what it was trained on as that is now, by name.
        missing: what it was trained on and is not there any more.
        settings: the run's settings, by dotted name, without places.
    """

    steps: int
    epochs: int
    digests: Mapping[str, str]
    settings: Mapping[str, str]
    missing: tuple[str, ...] = ()


def model_card(
    name: str,
    description: Description,
    training: Training,
    results: Results | None,
    *,
    checkpoint: str,
    calibrated: bool,
    license_id: str,
    datasets: Sequence[str] = (),
) -> str:
    """Return the README.md of a model repository.

    Args:
        name: of the model.
        description: of its weights.
        training: how it was trained.
        results: of its evaluation; None for none.
        checkpoint: the path of its weights within the run's folder.
        calibrated: whether the checkpoint holds a slope and an offset of each class.
        license_id: of the weights, as Hugging Face knows it, such as cc-by-4.0; empty where nobody chose one.
        datasets: their Hugging Face ids.
    """
    return "\n".join(
        [
            "---",
            *_front_matter(name, description, results, license_id, datasets),
            "---",
            "",
            f"# {as_markdown(name)}",
            "",
            f"`{description.architecture}`, {description.n_classes:,} outputs: one per class of a WordNet vocabulary.",
            "",
            *_classes(description),
            *_preprocessing(description, calibrated=calibrated),
            *_loading(description, checkpoint),
            *_training(training),
            *_results(results),
            *_licence(license_id),
        ]
    )


def _front_matter(
    name: str, description: Description, results: Results | None, license_id: str, datasets: Sequence[str]
) -> Iterator[str]:
    yield f"license: {json.dumps(license_id or 'other')}"
    if not license_id:
        yield "license_name: none-chosen"
    yield f"library_name: {'timm' if description.architecture.startswith('timm/') else 'pytorch'}"
    yield "pipeline_tag: image-classification"
    yield from ("tags:", "- image-classification", "- wordnet")
    if description.probability is Probability.SIGMOID:
        yield "- multi-label"
    if datasets:
        yield from ("datasets:", *(f"- {json.dumps(one)}" for one in datasets))
    measures = _finite(results)
    if results is None or not measures:
        return
    yield from ("metrics:", *(f"- {json.dumps(one.name)}" for one in measures))
    yield from ("model-index:", f"- name: {json.dumps(name)}", "  results:", "  - task:")
    yield from ("      type: image-classification", "    dataset:")
    yield from (f"      name: {json.dumps(results.source)}", "      type: imagefolder", "    metrics:")
    for one in measures:
        yield from (f"    - type: {json.dumps(one.name)}", f"      value: {one.value:.6g}")


def _classes(description: Description) -> Iterator[str]:
    yield from ("## Classes", "")
    yield f"Digest of the vocabulary (SHA-256 of its wnids, one per line): `{description.vocabulary or 'not known'}`."
    yield ""
    if description.wnids:
        shown = list(zip(description.wnids, description.names, strict=True))[:_SHOWN_CLASSES]
        yield from ("| output | wnid | name |", "|---:|---|---|")
        yield from (f"| {number} | {wnid} | {_cell(name)} |" for number, (wnid, name) in enumerate(shown))
        more = description.n_classes - len(shown)
        yield from ("", f"and {more:,} more, all in the header of the safetensors file." if more else "", "")


def _preprocessing(description: Description, *, calibrated: bool) -> Iterator[str]:
    size = description.image_size
    yield from ("## Preprocessing", "")
    yield f"RGB, {size} x {size} pixels: {_VIEWS[description.view.value]}. A checkpoint, safetensors and ONNX take"
    yield f"pixels as (pixel - mean) / std of pixels in [0, 1], with {description.input_range}."
    if description.upright:
        yield "Pictures are turned upright first, as their EXIF says."
    yield " ".join(
        f"{told[:1].upper()}{told[1:]}."
        for told in ("the outputs are logits", *probability_sentences(description, calibrated=calibrated))
    )
    if calibrated and description.probability is not Probability.SOFTMAX:
        yield "Slopes and offsets are `calibration.slope` and `calibration.offset` of the safetensors file, and `slope`"
        yield "and `offset` under `calibration` of the checkpoint; the other forms do not hold them."
    if description.norm_epsilon is not None:
        yield f"Batch normalisation adds {description.norm_epsilon:g} to the variance."
    yield ""


def _loading(description: Description, checkpoint: str) -> Iterator[str]:
    """Yield how each form is loaded."""
    name, n_classes = description.architecture, description.n_classes
    yield from (
        "## How to load",
        "",
        f"Write the form with `python -m mlimages_dataset.train convert RUN/{checkpoint} --to FORM`:",
        "",
    )
    yield from ("```python", "# --to safetensors --out model.safetensors")
    yield "from pathlib import Path"
    yield ""
    yield "from mlimages_dataset.train.weights.reading import read_weights"
    yield ""
    yield 'network = read_weights(Path("model.safetensors")).model()  # takes pixels in [-1, 1]'
    yield from ("```", "", "```python", "# --to onnx --out model.onnx")
    yield from ("import onnxruntime", "", 'session = onnxruntime.InferenceSession("model.onnx")')
    yield '(logits,) = session.run(["logits"], {"images": images})  # float32, (batch, 3, size, size), in [-1, 1]'
    yield "```"
    yield ""
    if name.startswith("timm/"):
        yield from ("```python", "# --to timm --out model.safetensors", "import timm", "")
        made = construction(WeightsForm.TIMM, name, n_classes, 'checkpoint_path="model.safetensors"')
        yield f"network = {made}.eval()"
        yield "```"
    elif name != "resnet101_released":
        yield from ("```python", "# --to torchvision --out model.pth", "import torch", "import torchvision", "")
        yield f"network = {construction(WeightsForm.TORCHVISION, name, n_classes)}.eval()"
        yield 'network.load_state_dict(torch.load("model.pth", weights_only=True))'
        yield "```"
    yield ""
    yield "The input of a file with torchvision's or timm's names is described in `NAME.json` beside it, or its header."
    yield ""


def _training(training: Training) -> Iterator[str]:
    yield from ("## Training", "", f"{training.epochs:,} epochs, {training.steps:,} steps.", "")
    yield from ("| data | SHA-256 |", "|---|---|")
    yield from (f"| {name} | `{digest}` |" for name, digest in training.digests.items())
    if any(name not in {VOCABULARY, WEIGHTS} for name in training.digests):
        yield from ("", "Digests of labels and images are of the files as they were when this card was written.")
    if training.missing:
        yield from ("", f"No digest, because the files are not there any more: {', '.join(training.missing)}.")
    yield from ("", "| setting | value |", "|---|---|")
    yield from (f"| {name} | {_cell(value)} |" for name, value in training.settings.items())
    yield ""


def _results(results: Results | None) -> Iterator[str]:
    yield from ("## Evaluation", "")
    if results is None:
        yield from ("It was not evaluated.", "")
        return
    images = "" if results.n_images is None else f" {results.n_images:,} images."
    yield from (f"On {results.source}.{images}", "", "| measure | value |", "|---|---:|")
    yield from (f"| {one.name} | {one.value:.4f} |" for one in _finite(results))
    yield ""
    for kind in dict.fromkeys(group.kind for group in results.groups):
        of_kind = [group for group in results.groups if group.kind == kind and group.n_classes]
        yield from (f"| {kind} | mean average precision | classes |", "|---|---:|---:|")
        yield from (f"| {_cell(one.group)} | {one.mean:.4f} | {one.n_classes:,} |" for one in of_kind[:_SHOWN_GROUPS])
        more = len(of_kind) - _SHOWN_GROUPS
        yield from ("", f"and {more:,} more.", "") if more > 0 else ("",)


def _licence(license_id: str) -> Iterator[str]:
    yield from ("## Licence", "")
    if license_id:
        yield f"The weights: {license_id}."
    else:
        yield "No licence has been chosen for these weights yet: without one they may not be passed on."
    yield "The training data have their own licences: ImageNet's photographs are for research only; the"
    yield "annotations of Open Images and of Tencent ML-Images are under CC BY 4.0; names and hierarchy of the classes"
    yield "are from WordNet 3.0, Copyright 2006 by Princeton University."
    yield ""


def _finite(results: Results | None) -> tuple[MeasuredValue, ...]:
    return tuple(one for one in results.measures if not math.isnan(one.value)) if results is not None else ()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
