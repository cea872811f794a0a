"""The commands `convert` and `card` of `python -m mlimages_dataset.train`; torch is imported when they run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.locations import location
from mlimages_dataset.core.path_options import LocalPath
from mlimages_dataset.loaders.views import EvaluationView
from mlimages_dataset.train.weights.description import InputRange, Probability, WeightsForm

if TYPE_CHECKING:
    import enum
    from pathlib import Path


def _choice(options: type[enum.Enum]) -> click.Choice[str]:
    return click.Choice([option.value for option in options])


@click.command()
@click.argument("source")
@click.option("--to", "form", type=_choice(WeightsForm), required=True, help="Form to write.")
@click.option("--out", type=LocalPath(dir_okay=False), required=True, help="The file to write.")
@click.option(
    "--architecture", metavar="NAME", help="Architecture, if the file does not name it: resnet50, timm/resnet50, ..."
)
@click.option(
    "--mean", help="Mean of the pixels in [0, 1] that the weights were trained on, such as 0.485,0.456,0.406."
)
@click.option("--std", help="Standard deviation of these pixels, such as 0.229,0.224,0.225.")
@click.option(
    "--epsilon", type=click.FloatRange(min=0, min_open=True), help="Epsilon of the weights' batch normalisation."
)
@click.option(
    "--probability", type=_choice(Probability), help="How logits become probabilities, if the file does not say it."
)
@click.option(
    "--image-size", type=click.IntRange(min=1), help="Side of the images in pixels, if the file does not say it."
)
@click.option(
    "--view",
    type=_choice(EvaluationView),
    help="The part of a picture that was evaluated, if the file does not say it.",
)
@click.option("--vocabulary", metavar="PLACE", help="Folder of the vocabulary whose classes the network predicts.")
@click.option("--order", metavar="FILE", help="The network's classes, one wnid per line, where not as in --vocabulary.")
@click.option("--opset", type=click.IntRange(min=1), help="Version of ONNX's operators.")
@click.option("--keep-epsilon", is_flag=True, help="Keep the variances; the user of the file must set the epsilon.")
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
    """Write the weights of SOURCE in another form, and check that both give the same logits.

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
            form=WeightsForm(form),
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
@click.argument("run", type=LocalPath(file_okay=False))
@click.option("--out", type=LocalPath(dir_okay=False), required=True, help="The file to write.")
@click.option("--evaluation", metavar="FILE", type=LocalPath(), help="The output of evaluate --json.")
@click.option("--name", help="Name of the model; by default the folder's name.")
@click.option("--license", "license_id", default="", help="Licence of the weights, such as cc-by-4.0.")
@click.option(
    "--dataset", "datasets", multiple=True, help="Hugging Face id of a data set that it was trained on; repeatable."
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
            f"--mean {mean} --std {std} is not a range of colours",
            remedy="give three numbers each, such as 0.5,0.5,0.5",
        ) from error


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))
