"""The linear SVM of 15,420 rows, 2,048 features and 257 classes, beside scikit-learn's LinearSVC (liblinear).

OMP_NUM_THREADS=2 python -m tests.benchmarks.linear_svm_speed --folder DIR

The rows are like pooled features of a network: each class is a point of a latent space with Gaussian spread, a random
layer with ReLU makes 2,048 features that are zero more often than not, and each row is divided by its norm. All
contenders have the same rows, cost, objective (a regularised bias, squared hinge) and threads, and their own default
tolerances. liblinear has two solvers of this objective; both run. The objectives are computed from the weights by the
same lines in double precision.
"""

from __future__ import annotations

import functools
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import torch
from sklearn.svm import LinearSVC

from mlimages_dataset.train.linear_svm import Problem, fit
from tests.benchmarks.measurement import Contender, contest, machine, table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = tuple[NDArray[np.float32], NDArray[np.int64]]

_LATENT, _NOISE, _THRESHOLD = 128, 0.3, 0.5


def features_of_classes(
    n_classes: int, each: int, n_features: int, *, seed: int = 0, spread: float = 1.0, normalised: bool = False
) -> Rows:
    """Return features, float32, shape (K each, D), and the class of each row, int64; see the module.

    Args:
        n_classes: K.
        each: rows of each class.
        n_features: D.
        seed: another one draws other features.
        spread: standard deviation within a class in the latent space, in which that between classes is 1.
        normalised: divide each row by its norm.
    """
    chance = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_classes), each)
    latent = chance.standard_normal((n_classes, _LATENT))[labels]
    latent += spread * chance.standard_normal(latent.shape)
    inner = latent @ (chance.standard_normal((_LATENT, n_features)) / _LATENT**0.5)
    noise = _NOISE * chance.standard_normal(inner.shape)
    features = np.maximum(inner + noise - _THRESHOLD, 0).astype(np.float32)
    if normalised:
        features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features, labels


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="For the contenders' objectives.")
@click.option("--classes", default=257, show_default=True)
@click.option("--each", default=60, show_default=True, help="Rows of each class.")
@click.option("--features", default=2048, show_default=True)
@click.option("--spread", default=1.0, show_default=True, help="Within classes, of that between them.")
@click.option("--cost", default=1.0, show_default=True)
@click.option("--repeat", type=click.IntRange(min=1), default=1, show_default=True)
def main(*, folder: Path, classes: int, each: int, features: int, spread: float, cost: float, repeat: int) -> None:
    """Print the times of all, their ratios, their objectives, and the accuracy on rows that were not learnt from."""
    rows = functools.partial(_rows, classes, each, features, spread)
    contenders = [
        Contender("linear_svm", functools.partial(_ours, rows, cost)),
        Contender("LinearSVC, dual", functools.partial(_theirs, rows, cost, dual=True)),
        Contender("LinearSVC, primal", functools.partial(_theirs, rows, cost, dual=False)),
    ]
    click.echo(f"{machine()}, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '')}")
    task = f"SVM, {features:,} features, {classes} classes"
    found = contest(task, classes * each, "rows", contenders, folder, repeat=repeat)
    click.echo(table(found))
    for number, one in enumerate(contenders):
        told = json.loads((folder / f"contender-{number}" / "told.json").read_text())
        click.echo(f"{one.name}: objective {told['objective']:.4f}, accuracy {told['accuracy']:.4f}")


def _rows(classes: int, each: int, features: int, spread: float) -> tuple[Rows, Rows]:
    """Return the rows to learn from, and as many others of the same classes."""
    all_rows, labels = features_of_classes(classes, 2 * each, features, spread=spread, normalised=True)
    first = np.arange(len(labels)) % (2 * each) < each
    return (all_rows[first], labels[first]), (all_rows[~first], labels[~first])


def _ours(rows: functools.partial[tuple[Rows, Rows]], cost: float, out: Path) -> float:
    (features, labels), test = rows()
    begin = time.perf_counter()
    svm = fit(Problem(torch.from_numpy(features), torch.from_numpy(labels), int(labels.max()) + 1), cost)
    seconds = time.perf_counter() - begin
    _tell(out, svm.weights.double().numpy().T, (features, labels), test, cost)
    return seconds


def _theirs(rows: functools.partial[tuple[Rows, Rows]], cost: float, out: Path, *, dual: bool) -> float:
    (features, labels), test = rows()
    wide = features.astype(np.float64)  # liblinear's own type: its conversion is not measured
    begin = time.perf_counter()
    svm = LinearSVC(C=cost, dual=dual).fit(wide, labels)
    seconds = time.perf_counter() - begin
    _tell(out, np.concatenate([svm.coef_, svm.intercept_[:, None]], axis=1), (features, labels), test, cost)
    return seconds


def _tell(out: Path, weights: NDArray[np.float64], train: Rows, test: Rows, cost: float) -> None:
    def scores(features: NDArray[np.float32]) -> NDArray[np.float64]:
        return features.astype(np.float64) @ weights[:, :-1].T + weights[:, -1]

    signs = np.where(train[1][:, None] == np.arange(len(weights)), 1, -1)
    squares = np.maximum(0, 1 - signs * scores(train[0])) ** 2
    told = {
        "objective": float((weights**2).sum() / 2 + cost * squares.sum()),
        "accuracy": float((scores(test[0]).argmax(axis=1) == test[1]).mean()),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
