"""The commands `convert` and `card` of `python -m mlimages_dataset.train`; torch is imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.locations import location
from mlimages_dataset.loaders.views import EvaluationView
from mlimages_dataset.train.weights.description import Form, InputRange, Probability

if TYPE_CHECKING:
    import enum


def _choice(options: type[enum.Enum]) -> click.Choice[str]:
    return click.Choice([option.value for option in options])


@click.command()
@click.argument("source")
@click.option("--to", "form", type=_choice(Form), required=True, help="What to write.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
@click.option("--architecture", metavar="NAME", help="Of weights that do not say it: resnet50, timm/resnet50, ...")
@click.option("--mean", help="Of the pixels in [0, 1] that the weights were trained on, such as 0.485,0.456,0.406.")
@click.option("--std", help="What these were divided by, such as 0.229,0.224,0.225.")
@click.option("--epsilon", type=click.FloatRange(min=0, min_open=True), help="Of the weights' batch normalisation.")
@click.option("--probability", type=_choice(Probability), help="Of logits whose file does not say it.")
@click.option("--image-size", type=click.IntRange(min=1), help="Side of the images in pixels, likewise.")
@click.option("--view", type=_choice(EvaluationView), help="The part of a picture that was evaluated, likewise.")
@click.option("--vocabulary", metavar="PLACE", help="Folder of the vocabulary whose classes the network tells.")
@click.option("--order", metavar="FILE", help="The network's classes, a wnid a line, where not as in --vocabulary.")
@click.option("--opset", type=click.IntRange(min=1), help="Version of ONNX's operators.")
@click.option("--keep-epsilon", is_flag=True, help="Change no variance; the receiver sets the epsilon.")
@click.option("--overwrite", is_flag=True, help="Replace the file.")
def convert(
    source: str,
    *,
    form: str,
    out: Path,
    architecture: str | None,
    mean: str | None,
    std: str | None,
    epsilon: float | None,
    probability: str | None,
    image_size: int | None,
    view: str | None,
    vocabulary: str | None,
    order: str | None,
    opset: int | None,
    keep_epsilon: bool,
    overwrite: bool,
) -> None:
    """Write the weights of SOURCE in another form, run both, and compare their logits.

    SOURCE is a run's folder, a checkpoint, a safetensors file, a state dict of torchvision or timm, or the prefix of a
    TensorFlow checkpoint.

    \b
    Examples:
      python -m mlimages_dataset.train convert run --to onnx --out model.onnx
      python -m mlimages_dataset.train convert resnet50.pth --architecture resnet50 --to checkpoint --out resnet50.pt
    """  # noqa: D301 - click wants the backspace itself
    from mlimages_dataset.train.weights.reading import Said  # noqa: PLC0415 - torch would cost --help seconds
    from mlimages_dataset.train.weights.stage import Conversion  # noqa: PLC0415 - as above
    from mlimages_dataset.train.weights.stage import convert as work  # noqa: PLC0415 - as above

    said = Said(
        architecture=architecture,
        input_range=_input_range(mean, std),
        norm_epsilon=epsilon,
        probability=None if probability is None else Probability(probability),
        image_size=image_size,
        view=None if view is None else EvaluationView(view),
    )
    weights, written = work(
        Conversion(
            source=location(source),
            form=Form(form),
            out=out,
            said=said,
            vocabulary=None if vocabulary is None else location(vocabulary),
            order=None if order is None else location(order),
            opset=opset,
            keep_epsilon=keep_epsilon,
            overwrite=overwrite,
        )
    )
    for note in weights.notes:
        click.echo(f"{weights.path}: {note}", err=True)
    told = weights.description
    click.echo(f"{told.architecture}, {told.n_classes:,} classes: logits differ by at most {written.difference:.1e}")
    click.echo("\n".join([f"{written.path} is written", *written.receive]))


@click.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
@click.option("--evaluation", metavar="FILE", type=click.Path(path_type=Path), help="What evaluate --json printed.")
@click.option("--name", help="Of the model; by default the folder's.")
@click.option("--license", "license_id", default="", help="Of the weights, such as cc-by-4.0.")
@click.option(
    "--dataset", "datasets", multiple=True, help="Hugging Face id of what it was trained on; may be repeated."
)
@click.option("--overwrite", is_flag=True, help="Replace the file.")
def card(
    run: Path,
    *,
    out: Path,
    evaluation: Path | None,
    name: str | None,
    license_id: str,
    datasets: tuple[str, ...],
    overwrite: bool,
) -> None:
    """Write the model card of RUN: its classes, data, preprocessing, measures, licence, and how to load it.

    \b
    Example:
      python -m mlimages_dataset.train evaluate run/checkpoints/best.pt --images shards --labels labels/val \\
          --vocabulary vocabulary --json > evaluation.json
      python -m mlimages_dataset.train card run --evaluation evaluation.json --license cc-by-4.0 --out README.md
    """  # noqa: D301 - click wants the backspace itself
    from mlimages_dataset.train.weights.stage import CardRequest, write_card  # noqa: PLC0415 - as above

    request = CardRequest(
        run=run,
        out=out,
        evaluation=evaluation,
        name=name,
        license_id=license_id,
        datasets=datasets,
        overwrite=overwrite,
    )
    click.echo(f"{out} is written, of {write_card(request)}")


def _input_range(mean: str | None, std: str | None) -> InputRange | None:
    """Return the range that the options give; None for none.

    Raises:
        UsageError: one is missing, or is not three numbers.
    """
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise UsageError("--mean and --std belong together", remedy="pass both")
    try:
        return InputRange(_numbers(mean), _numbers(std))
    except ValueError as error:
        raise UsageError(
            f"--mean {mean} --std {std} is no range of colours", remedy="give three numbers each, such as 0.5,0.5,0.5"
        ) from error


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))
