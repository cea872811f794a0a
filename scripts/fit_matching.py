"""Fit the weights by which the matcher ranks the senses of a name, and write them to ``vocab/data/matching.csv``.

    python -m scripts.fit_matching FOLDER

Run from the repository's root. Reads the published lists in the folder and ``tests/vocab/data/hand_matched.csv``, and
prints the accuracy of ten-fold cross-validation by name.

The model is a conditional logit: P(sense | name) is proportional to exp(weights . features(sense)). The loss is the
weighted negative log-likelihood of the right senses plus an L2 penalty. Most known names mean an ImageNet synset,
because that is what published vocabularies hold, and "the sense in ImageNet" would look infallible: each such name is
seen a second time with its right sense taken out of ImageNet.
"""

from __future__ import annotations

import csv
import zlib
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from scipy.optimize import minimize

from mlimages_dataset.vocab.matching import named_senses, surroundings
from mlimages_dataset.vocab.sense_features import FEATURES, feature_matrix
from mlimages_dataset.vocab.wordnet import load_wordnet
from tests.vocab import matching_truth as truth

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from tests.vocab.matching_truth import KnownSource

WEIGHTS = Path("mlimages_dataset/vocab/data/matching.csv")
N_FOLDS = 10
N_ROUNDS = 4
"""Fits, each on features of the source's density that the weights before it gave; they settle within three."""
PENALTY = 4.0
"""L2 penalty on a weight, per unit of its feature's spread."""
BINARY_SPREAD = 0.5
"""Spread that a yes-or-no feature counts as having: its own would leave rare features unpenalised."""
HIDDEN_SHARE = 0.2
"""Importance of an ImageNet name with its right sense hidden, relative to the name itself."""

IMPORTANCE = {
    truth.PUBLISHED_IMAGENET: 1.0,
    truth.PUBLISHED_OTHER: 3.0,
    truth.CONSENSUS: 3.0,
    truth.COCO: 3.0,
    truth.BY_HAND_NEW: 3.0,
    truth.BY_HAND_SEVERAL: 1.0,
    truth.BY_HAND_ABSTRACT: 0.5,
}
"""Importance of a name by what is known of it: there are many names of the first kind, and few like those to come."""

MEMBERSHIP = FEATURES.index("in ImageNet")


@dataclass(frozen=True, slots=True)
class Name:
    """An ambiguous name of which the right senses are known; N senses, F features.

    Attributes:
        truth: the truth set.
        name: the name, in lower case.
        features: shape (N, F).
        right: whether each sense is right, shape (N,).
        importance: its share in the loss.
    """

    truth: str
    name: str
    features: NDArray[np.float64]
    right: NDArray[np.bool_]
    importance: float


def training_names(source: KnownSource, weights: NDArray[np.float64]) -> list[Name]:
    """Return the ambiguous names of a source whose right sense is among their candidates.

    Args:
        source: the class list and what is known of it.
        weights: of an earlier round, for what the other names of the source mean; shape (F,).
    """
    senses = named_senses(source.classes, source.context.wordnet)
    around = surroundings(senses, source.context, weights)
    names = []
    for known in source.known:
        one = senses[known.position]
        right = np.array([source.context.wordnet.wnids[c.synset] in known.wnids for c in one.allowed])
        if len(right) > 1 and right.any():
            features = feature_matrix(one.allowed, around)
            names.append(Name(known.truth, one.name.base, features, right, IMPORTANCE[known.truth]))
    return names


def without_their_imagenet(names: Iterable[Name]) -> list[Name]:
    """Return the names that mean an ImageNet synset, as they would look if ImageNet did not hold it."""
    hidden = []
    for name in names:
        if name.features[name.right, MEMBERSHIP].any():
            features = name.features.copy()
            features[name.right, MEMBERSHIP] = 0
            importance = HIDDEN_SHARE * name.importance
            hidden.append(replace(name, truth=f"{name.truth}, hidden", features=features, importance=importance))
    return hidden


def fit(names: Sequence[Name]) -> NDArray[np.float64]:
    """Return the weights that minimise the penalised loss over the names, shape (F,)."""
    features = np.concatenate([name.features for name in names])
    spread = np.where(np.isin(features, (0, 1)).all(axis=0), BINARY_SPREAD, features.std(axis=0))
    scaled = features / spread
    right = np.concatenate([name.right for name in names])
    importance = np.array([name.importance for name in names])
    n_senses = np.array([len(name.right) for name in names])
    starts = np.cumsum(n_senses) - n_senses
    owner = np.repeat(np.arange(len(names)), n_senses)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = scaled @ weights
        odds = np.exp(scores - np.maximum.reduceat(scores, starts)[owner])
        right_odds = np.where(right, odds, 0)
        total, right_total = np.add.reduceat(odds, starts), np.add.reduceat(right_odds, starts)
        slope = (odds / total[owner] - right_odds / right_total[owner]) * importance[owner]
        value = -(importance * np.log(right_total / total)).sum() + PENALTY * weights @ weights / 2
        return float(value), scaled.T @ slope + PENALTY * weights

    best = minimize(loss, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B")
    return np.asarray(best.x / spread)


def cross_validated(names: Sequence[Name]) -> dict[str, list[bool]]:
    """Return for each truth set whether each name came out right under weights that were fitted without it."""
    outcomes: defaultdict[str, list[bool]] = defaultdict(list)
    for fold in range(N_FOLDS):
        weights = fit([name for name in names if _fold(name) != fold])
        for name in names:
            if _fold(name) == fold:
                outcomes[name.truth].append(bool(name.right[np.argmax(name.features @ weights)]))
    return dict(outcomes)


def _fold(name: Name) -> int:
    return zlib.crc32(name.name.encode()) % N_FOLDS


@click.command()
@click.argument("shared_data", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(shared_data: Path) -> None:
    """Fit, cross-validate and write the weights."""
    sources = truth.known_sources(shared_data, load_wordnet())
    weights = np.zeros(len(FEATURES))
    for _ in range(N_ROUNDS):
        names = [name for source in sources for name in training_names(source, weights)]
        names += without_their_imagenet(names)
        weights = fit(names)
    for known, outcomes in cross_validated(names).items():
        print(f"{known:45} {np.mean(outcomes):6.1%} of {len(outcomes)}")
    with WEIGHTS.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["feature", "weight"])
        writer.writerows((feature, f"{weight:.2f}") for feature, weight in zip(FEATURES, weights, strict=True))
    print(WEIGHTS.read_text("utf-8"))


if __name__ == "__main__":
    main()
