"""The commands `convert` and `card`: this module alone of its package names a run's files and a vocabulary's."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_type_hints

from mlimages_dataset.core.documents import parse_json
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.listed import first_of
from mlimages_dataset.core.locations import Location, location, relative
from mlimages_dataset.loaders.views import EvaluationView
from mlimages_dataset.tables.files import file_digest, listing_digest, read_lines, write_bytes
from mlimages_dataset.tables.parquet import read_table, table_parts
from mlimages_dataset.tables.schemas import CATEGORIES
from mlimages_dataset.train.checkpoint import best_path, found_checkpoint, read_checkpoint
from mlimages_dataset.train.config import Run
from mlimages_dataset.train.inputs import read_classes
from mlimages_dataset.train.logs import LOG_FILE, read_log
from mlimages_dataset.train.stage import RUN_FILE
from mlimages_dataset.train.weights.card import (
    VOCABULARY,
    WEIGHTS,
    GroupPrecision,
    MeasuredValue,
    Results,
    Training,
    model_card,
)
from mlimages_dataset.train.weights.description import WeightsForm, with_classes
from mlimages_dataset.train.weights.files import description_path
from mlimages_dataset.train.weights.reading import Said, from_checkpoint, read_weights
from mlimages_dataset.train.weights.writing import write_weights
from mlimages_dataset.vocab.folder import categories_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlimages_dataset.train.weights.reading import NetworkWeights
    from mlimages_dataset.train.weights.writing import Written

_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A conversion: the source, and the form of the result.

    Attributes:
        source: the weights, see `read_weights`.
        form: form of the result.
        out: the file to write.
        said: the user's description of the source.
        vocabulary: folder of the vocabulary whose classes the network predicts; None for the one that the run names.
        order: file of wnids, one per line, in the order of the network's outputs, where that is not the vocabulary's.
        opset: of ONNX; None for the exporter's own.
        keep_epsilon: see `write_weights`.
        overwrite: replace the file.
    """

    source: Location
    form: WeightsForm
    out: Path
    said: Said
    vocabulary: Location | None = None
    order: Location | None = None
    opset: int | None = None
    keep_epsilon: bool = False
    overwrite: bool = False


def convert(conversion: Conversion) -> tuple[NetworkWeights, Written]:
    """Write weights in another form, and return what was read and what was written.

    Raises:
        UsageError: a file is not there or stands already, the weights are not what is said of them, or the form cannot
            hold them.
        DataError: a file is damaged.
    """
    out = conversion.out
    for path in (out, description_path(out)):
        if path.exists() and not conversion.overwrite:
            raise UsageError("it is there already", where=path, remedy="name another --out, or pass --overwrite")
    run = _run_of(conversion.source)
    weights = _named(read_weights(conversion.source, conversion.said, view=run.view), conversion, run)
    written = write_weights(weights, conversion.form, out, opset=conversion.opset, keep_epsilon=conversion.keep_epsilon)
    return weights, written


@dataclass(frozen=True, slots=True)
class _RunFacts:
    """Facts in a run's folder besides its checkpoints; None for missing ones."""

    vocabulary: Location | None = None
    view: EvaluationView | None = None


def _run_of(source: Location) -> _RunFacts:
    """Return what the run tells whose folder, or whose checkpoint, a place is."""
    if not isinstance(source, Path):
        return _RunFacts()
    for folder in (source, *source.parents[:2]):
        if (folder / RUN_FILE).is_file():
            try:
                data = parse_json((folder / RUN_FILE).read_text(encoding="utf-8"))["data"]
                vocabulary = data["vocabulary"]
                return _RunFacts(
                    None if vocabulary is None else location(vocabulary), EvaluationView(data["validation_view"])
                )
            except (KeyError, TypeError, ValueError):
                return _RunFacts()
    return _RunFacts()


def _named(weights: NetworkWeights, conversion: Conversion, run: _RunFacts) -> NetworkWeights:
    """Return weights whose description names the classes of the vocabulary, where there is one.

    Raises:
        UsageError: the weights have another number of classes, or are of another vocabulary.
    """
    if conversion.order is not None and conversion.vocabulary is None:
        raise UsageError("--order without a vocabulary", remedy="pass --vocabulary, the folder of the one to order by")
    if conversion.vocabulary is None:
        place = run.vocabulary
        if weights.description.wnids or place is None or not categories_file(place).is_file():
            return weights
        if read_classes(place).digest != weights.description.vocabulary:
            return weights  # the folder has changed since
    else:
        place = conversion.vocabulary
    classes = read_classes(place)
    names = tuple(read_table(categories_file(place), CATEGORIES)["name"].to_pylist())
    told = weights.description
    if told.n_classes != len(classes):
        raise UsageError(
            f"its head has {told.n_classes:,} classes, but the vocabulary has {len(classes):,}",
            where=weights.path,
            remedy="name the vocabulary that it was trained with, or fine-tune it to this one (finetune)",
        )
    if told.vocabulary not in {"", classes.digest}:
        raise UsageError(
            f"it was trained with another vocabulary (digest {told.vocabulary[:12]}, not {classes.digest[:12]})",
            where=weights.path,
            remedy="name the vocabulary that it was trained with",
        )
    if conversion.order is not None:
        weights = _ordered(weights, conversion.order, classes.wnids)
    return dataclasses.replace(weights, description=with_classes(told, classes.digest, classes.wnids, names))


def _ordered(weights: NetworkWeights, order: Location, wnids: tuple[str, ...]) -> NetworkWeights:
    """Return weights whose outputs come in the order of a vocabulary's classes.

    Raises:
        UsageError: the file lists other classes than the vocabulary has.
    """
    listed = [line.split()[0] for line in read_lines(order) if line.strip()]
    differing = sorted(set(listed) ^ set(wnids))
    if differing or len(listed) != len(wnids):
        raise UsageError(
            f"it lists {len(listed):,} classes, but the vocabulary has {len(wnids):,}"
            + (f"; only one of them has {first_of(differing, _SHOWN)}" if differing else ""),
            where=order,
            remedy="list each class of the vocabulary once, in the order of the network's outputs",
        )
    place = {wnid: number for number, wnid in enumerate(listed)}
    rows = [place[wnid] for wnid in wnids]
    head = {name: weights.state[name][rows] for name in ("head.weight", "head.bias")}
    calibration = {name: value if name == "counts" else value[rows] for name, value in weights.calibration.items()}
    library = weights.library
    if library is not None:
        library = dataclasses.replace(library, state={**library.state, **head})
    return dataclasses.replace(weights, state={**weights.state, **head}, calibration=calibration, library=library)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardRequest:
    """A request for a model card.

    Attributes:
        run: the run's folder.
        out: the file to write.
        evaluation: what `evaluate --json` printed; None for the last evaluation in the run's log.
        name: of the model; None for the folder's.
        license_id: of the weights; empty where nobody chose one.
        datasets: Hugging Face ids of what it was trained on.
        overwrite: replace the file.
    """

    run: Path
    out: Path
    evaluation: Path | None = None
    name: str | None = None
    license_id: str = ""
    datasets: tuple[str, ...] = ()
    overwrite: bool = False


def write_card(request: CardRequest) -> Path:
    """Write the model card of a run, and return its checkpoint: the best one if there is one.

    Raises:
        UsageError: there is no such run, or the card is there already.
        DataError: a file is damaged.
    """
    if request.out.exists() and not request.overwrite:
        raise UsageError("it is there already", where=request.out, remedy="name another --out, or pass --overwrite")
    if not (request.run / RUN_FILE).is_file():
        raise UsageError(f"holds no {RUN_FILE}", where=request.run, remedy="name the folder of a run")
    best = best_path(request.run)
    path = best if best.is_file() else found_checkpoint(request.run)
    checkpoint = read_checkpoint(path)
    run = _run_of(request.run)
    said = Said(view=run.view)
    wanted = Conversion(source=path, form=WeightsForm.CHECKPOINT, out=request.out, said=said)
    weights = _named(from_checkpoint(path, checkpoint, said), wanted, run)
    if request.evaluation is None:
        results = _logged_results(request.run, checkpoint.progress.total_steps)
    else:
        results = _evaluated_results(request.evaluation, path)
    settings = _settings(request.run)
    digests, missing = _data_digests(settings)
    places = {name for name, kind in _setting_kinds() if kind == Location | None}
    text = model_card(
        request.name or request.run.resolve().name,
        weights.description,
        Training(
            steps=checkpoint.progress.total_steps,
            epochs=checkpoint.progress.epoch,
            digests={
                VOCABULARY: checkpoint.vocabulary,
                WEIGHTS: file_digest(path),
                **digests,
            },
            missing=missing,
            settings={
                name: value
                for name, value in settings.items()
                if name not in places and not name.startswith(("data.", "execution."))
            },
        ),
        results,
        checkpoint=relative(path, request.run),
        calibrated=bool(weights.calibration),
        license_id=request.license_id,
        datasets=request.datasets,
    )
    write_bytes(request.out, text.encode())
    return path


def _settings(run: Path) -> dict[str, str]:
    """Return a run's settings as text by dotted name.

    Raises:
        DataError: the file is damaged.
    """
    path = run / RUN_FILE
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        flat = {
            f"{name}.{key}" if key else name: value
            for name, section in content.items()
            for key, value in (section.items() if isinstance(section, dict) else [("", section)])
        }
    except (AttributeError, ValueError) as error:
        raise DataError("is no whole run file", where=path, remedy="name the folder of another run") from error
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in flat.items()}


def _setting_kinds() -> Iterator[tuple[str, object]]:
    """Yield the dotted name and the type of each setting of a run's sections."""
    for name, section in get_type_hints(Run).items():
        if dataclasses.is_dataclass(section):
            yield from ((f"{name}.{key}", kind) for key, kind in get_type_hints(section).items())


def _data_digests(settings: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return digests of the images and labels that a run names, as they are now, and which are not there any more."""
    found, missing = {}, []
    for name in ("labels", "validation_labels", "images"):
        place, shown = settings.get(f"data.{name}", "null"), name.replace("_", " ")
        if place == "null":
            continue
        folder = location(place)
        if not folder.is_dir():
            missing.append(shown)
        elif name == "images":
            found["images (names and sizes)"] = listing_digest(folder)
        else:
            lines = [f"{relative(part, folder)} {file_digest(part)}" for part in table_parts(folder)]
            found[shown] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return found, tuple(missing)


def _logged_results(run: Path, steps: int) -> Results | None:
    """Return the evaluation of a run's log after so many steps; None where there is none."""
    log = run / LOG_FILE
    lines = read_log(log) if log.is_file() else []
    found = [line for line in lines if line.get("kind") == "evaluation" and line.get("step") == steps]
    if not found:
        return None
    values = {name: value for name, value in found[-1].items() if name not in {"kind", "step", "time", "epoch"}}
    measures = tuple(
        MeasuredValue(name, float("nan") if value is None else float(value)) for name, value in values.items()
    )
    return Results(n_images=None, measures=measures, source=f"the run's validation images, after step {steps:,}")


def _evaluated_results(path: Path, checkpoint: Path) -> Results:
    """Return what `evaluate --json` printed of a checkpoint.

    Raises:
        UsageError: there is no such file, or it is of another checkpoint.
        DataError: it is something else.
    """
    if not path.is_file():
        raise UsageError("there is no such file", where=path, remedy="write it with evaluate --json")
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        if content["checkpoint_sha256"] != file_digest(checkpoint):
            raise UsageError(
                "belongs to another checkpoint", where=path, remedy=f"write it with: evaluate {checkpoint} --json"
            )
        by_k = [
            MeasuredValue(f"{name}@{scores['k']}", _number(scores[name]))
            for scores in content["instance"]
            for name in ("precision", "recall", "f1")
        ]
        groups = tuple(
            GroupPrecision(group["kind"], group["group"], _number(group["mean"]), group["n_classes"])
            for group in content["groups"]
        )
        return Results(
            n_images=int(content["n_images"]),
            measures=(*by_k, MeasuredValue("mean average precision", _number(content["mean_average_precision"]))),
            groups=groups,
            source="the images of the evaluation",
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError("is not what evaluate --json prints", where=path, remedy="write it again") from error


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
