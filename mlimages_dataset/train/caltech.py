"""How well features separate classes: a linear SVM on some images of each class, measured on the others.

Wu et al. 2019, section 5.2 and table 4, with the 2,048 pooled features of ResNet-101 on Caltech-256. The text states
neither the split nor the SVM's cost, so all that decides the result is a parameter here and is told with it.

Legend: N images, D features, K classes.
"""

from __future__ import annotations

import enum
import hashlib
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from mlimages_dataset.core.config import check_at_least, check_positive
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.listed import first_of
from mlimages_dataset.train.linear_svm import Problem, fit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from mlimages_dataset.core.decoding import Json

TABLE_4 = {
    "trained on ImageNet from scratch": 86.0,
    "trained on Tencent ML-Images from scratch": 83.6,
    "pre-trained on Tencent ML-Images, fine-tuned on ImageNet (layer-wise adaptive rates)": 86.5,
}
"""Published accuracy on Caltech-256 in percent: https://arxiv.org/abs/1901.01703, table 4."""
_CLUTTER = "clutter"
_NAMED = 4


class Few(enum.StrEnum):
    """What becomes of a class without enough images to learn from and one more to measure on."""

    REFUSE = "refuse"
    USE = "use"
    """Half of its images are learnt from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """Everything but the features that decides the result.

    Attributes:
        per_class: images of each class to learn from; the others are measured on.
        splits: how often images are drawn.
        seed: another one draws other images.
        costs: liblinear's C; of several, each split takes the one with the best accuracy in cross-validation.
        folds: of the cross-validation.
        normalised: each image's features are divided by their Euclidean norm.
        clutter: Caltech-256's class without an object (`257.clutter`) is a class like others; else it is left out.
        few: what becomes of classes with too few images.
        tolerance: relative gap at which the objective of a class counts as least; see `linear_svm`.
    """

    per_class: int = 60
    splits: int = 5
    seed: int = 0
    costs: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
    folds: int = 5
    normalised: bool = True
    clutter: bool = False
    few: Few = Few.REFUSE
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        for name, least in (("per_class", 1), ("splits", 1), ("seed", 0), ("folds", 2)):
            check_at_least(name, getattr(self, name), least)
        check_positive("tolerance", self.tolerance)
        if not self.costs or len(set(self.costs)) < len(self.costs):
            raise ValueError("costs has none, or one twice")
        for cost in self.costs:
            check_positive("costs", cost)


@dataclass(frozen=True, slots=True, eq=False)
class Collection:
    """Images with their classes and features.

    Attributes:
        names: of the classes, K.
        classes: of each image, int64, shape (N,).
        features: float32, shape (N, D).
    """

    names: tuple[str, ...]
    classes: NDArray[np.int64]
    features: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SplitResult:
    """What one draw gave.

    Attributes:
        cost: the cost that was taken.
        cross_validation: accuracy of each cost of the protocol in the folds; empty for a single cost.
        trained: images learnt from.
        tested: images measured on.
        accuracy: share of these whose class was found.
        mean_class_accuracy: mean over the classes of this share.
        objective: sum of the SVM's objectives over the classes.
        relative_gap: the largest of its classes.
    """

    cost: float
    cross_validation: tuple[float, ...]
    trained: int
    tested: int
    accuracy: float
    mean_class_accuracy: float
    objective: float
    relative_gap: float


@dataclass(frozen=True, slots=True)
class TransferResult:
    """What all draws gave, with everything that decided it.

    Attributes:
        protocol: the parameters.
        n_classes: K.
        n_features: D.
        few: classes with too few images, each with its number of images.
        splits: of each draw.
    """

    protocol: Protocol
    n_classes: int
    n_features: int
    few: dict[str, int]
    splits: tuple[SplitResult, ...]

    def measures(self) -> dict[str, tuple[float, float | None]]:
        """Return mean and standard deviation (n - 1) over the splits of both accuracies; none of a single split."""
        values = {
            "accuracy": [split.accuracy for split in self.splits],
            "mean_class_accuracy": [split.mean_class_accuracy for split in self.splits],
        }
        return {
            name: (statistics.fmean(those), statistics.stdev(those) if len(those) > 1 else None)
            for name, those in values.items()
        }

    def to_json(self) -> dict[str, Json]:
        """Return the result, its parameters and the published figures."""
        return {
            "parameters": {**asdict(self.protocol), "costs": list(self.protocol.costs), "few": self.protocol.few.value},
            "classes": self.n_classes,
            "features": self.n_features,
            "classes_with_few_images": dict(self.few),
            **{name: {"mean": mean, "std": spread} for name, (mean, spread) in self.measures().items()},
            "splits": [{**asdict(split), "cross_validation": list(split.cross_validation)} for split in self.splits],
            "published": {"source": "Wu et al. 2019, table 4, accuracy in percent on Caltech-256", **TABLE_4},
        }

    def lines(self) -> list[str]:
        """Return the result as lines, after the parameters and before the published figures."""
        protocol = self.protocol
        chosen = ", ".join(f"{cost:g}" for cost in protocol.costs)
        if len(protocol.costs) > 1:
            taken = ", ".join(f"{split.cost:g}" for split in self.splits)
            chosen = f"of {chosen} by {protocol.folds}-fold cross-validation: {taken}"
        shares = (
            f"{100 * mean:6.2f} %"
            + ("" if spread is None else f" ± {100 * spread:.2f}")
            + f"  {name.replace('_', ' ')}"
            for name, (mean, spread) in self.measures().items()
        )
        clutter, norm = ("with" if protocol.clutter else "without"), ("" if protocol.normalised else "not ")
        first = self.splits[0]
        return [
            f"{self.n_classes:,} classes, {clutter} clutter; {self.n_features:,} features, {norm}normalised",
            f"{protocol.per_class} images a class to learn from: {first.trained:,}; {first.tested:,} to measure on",
            f"{len(self.splits)} splits, seed {protocol.seed}",
            f"cost {chosen}",
            f"objectives at most {max(split.relative_gap for split in self.splits):.1e} above the least, relatively",
            *(f"few images: {name} has {n:,}; half are learnt from" for name, n in self.few.items()),
            *shares,
            "published (Wu et al. 2019, table 4; split and cost not stated):",
            *(f"{value:6.1f} %  {name}" for name, value in TABLE_4.items()),
        ]


def without_clutter(collection: Collection) -> Collection:
    """Return a collection without the class of clutter, if it has one."""
    kept = [number for number, name in enumerate(collection.names) if not is_clutter(name)]
    place = np.full(len(collection.names), -1)
    place[kept] = np.arange(len(kept))
    rows = place[collection.classes] >= 0
    names = tuple(collection.names[number] for number in kept)
    return Collection(names, place[collection.classes[rows]], collection.features[rows])


def is_clutter(name: str) -> bool:
    """Return whether a class is Caltech-256's clutter.

    >>> is_clutter("257.clutter"), is_clutter("056.dog")
    (True, False)
    """
    return name.rpartition(".")[2].lower() == _CLUTTER


def check_sizes(sizes: dict[str, int], protocol: Protocol, *, where: object) -> dict[str, int]:
    """Return the classes that have too few images, each with its number of images.

    Args:
        sizes: images of each class by its name, without clutter where it is left out.
        protocol: the parameters.
        where: the collection, for messages.

    Raises:
        DataError: there are fewer than two classes, a class has fewer than two images, or it has too few and the
            protocol refuses such.
    """
    if len(sizes) < 2:  # noqa: PLR2004 - two can be told apart
        what = f"has pictures in {len(sizes)} folders of classes"
        raise DataError(what, where=where, remedy="name a folder with one sub-folder of pictures per class")
    few = {name: n for name, n in sizes.items() if n <= protocol.per_class}
    single = {name: n for name, n in few.items() if n < 2}  # noqa: PLR2004 - one to learn from, one to measure on
    refused = few if protocol.few is Few.REFUSE else single
    if refused:
        told = first_of((f"{name} has {n}" for name, n in refused.items()), _NAMED)
        wanted = protocol.per_class + 1 if protocol.few is Few.REFUSE else 2
        remedy = "take fewer per class, or pass --few use to learn from half of these" if refused != single else ""
        raise DataError(
            f"{len(refused):,} of {len(sizes):,} classes have fewer than {wanted} usable images ({told})",
            where=where,
            remedy=remedy or "add images, or remove these classes",
        )
    return few


def measure(
    collection: Collection,
    protocol: Protocol,
    *,
    few: dict[str, int],
    device: torch.device,
    tell: Callable[[str], None] | None = None,
) -> TransferResult:
    """Return how well a linear SVM on the features finds the classes of images that it has not seen.

    Args:
        collection: the images, without those that are left out.
        protocol: the parameters.
        few: classes with too few images, see `check_sizes`.
        device: where to compute.
        tell: is called with a sentence after each split.
    """
    features = torch.from_numpy(collection.features).to(device)
    if protocol.normalised:
        features = torch.nn.functional.normalize(features)  # zeros stay zeros
    classes = torch.from_numpy(collection.classes).to(device)
    results = []
    for split in range(protocol.splits):
        taken = drawn(collection, protocol, split)
        results.append(_of_split(features, classes, taken, len(collection.names), protocol))
        if tell is not None:
            share = f"accuracy {100 * results[-1].accuracy:.2f} %, cost {results[-1].cost:g}"
            tell(f"split {split + 1} of {protocol.splits}: {share}")
    return TransferResult(protocol, len(collection.names), features.shape[1], few, tuple(results))


def drawn(collection: Collection, protocol: Protocol, split: int) -> NDArray[np.int64]:
    """Return the place of each image among those of its class that are learnt from, -1 for the others, shape (N,).

    The draw of a class depends on its name, its images, the seed and the split, not on other classes.
    """
    place = np.full(len(collection.classes), -1, np.int64)
    for number, name in enumerate(collection.names):
        rows = np.flatnonzero(collection.classes == number)
        wanted = protocol.per_class if len(rows) > protocol.per_class else len(rows) // 2
        digest = int.from_bytes(hashlib.sha256(name.encode(errors="surrogateescape")).digest()[:8], "big")
        order = np.random.default_rng([protocol.seed, split, digest]).permutation(rows)
        place[order[:wanted]] = np.arange(wanted)
    return place


def _of_split(
    features: Tensor, classes: Tensor, places: NDArray[np.int64], n_classes: int, protocol: Protocol
) -> SplitResult:
    place = torch.from_numpy(places).to(features.device)
    train, test = place >= 0, place < 0
    accuracies: tuple[float, ...] = ()
    if len(protocol.costs) > 1:
        accuracies = _cross_validated(features[train], classes[train], place[train], n_classes, protocol)
    # Of equal accuracies the smallest cost is taken.
    cost = min(zip([-one for one in accuracies] or [0.0], protocol.costs, strict=True))[1]
    svm = fit(Problem(features[train], classes[train], n_classes), cost, tolerance=protocol.tolerance)
    truth = classes[test]
    right = (svm.classes(features[test]) == truth).double()
    of_class = torch.zeros(n_classes, dtype=torch.float64, device=right.device).index_add_(0, truth, right)
    sizes = torch.bincount(truth, minlength=n_classes)
    return SplitResult(
        cost=cost,
        cross_validation=accuracies,
        trained=int(train.sum()),
        tested=len(truth),
        accuracy=float(right.mean()),
        mean_class_accuracy=float((of_class / sizes).mean()),
        objective=float(svm.objectives.sum()),
        relative_gap=float(svm.relative_gaps.max()),
    )


def _cross_validated(
    features: Tensor, classes: Tensor, place: Tensor, n_classes: int, protocol: Protocol
) -> tuple[float, ...]:
    """Return the accuracy of each cost: each image is classified once, by what was learnt from the other folds."""
    right = dict.fromkeys(protocol.costs, 0)
    for fold in range(protocol.folds):
        held = place % protocol.folds == fold
        problem, svm = Problem(features[~held], classes[~held], n_classes), None
        for cost in sorted(protocol.costs):
            svm = fit(problem, cost, tolerance=protocol.tolerance, start=svm)
            right[cost] += int((svm.classes(features[held]) == classes[held]).sum())
    return tuple(right[cost] / len(classes) for cost in protocol.costs)


def finite(features: NDArray[np.float32], ids: Sequence[str], *, where: object) -> NDArray[np.float32]:
    """Return features, or raise a `DataError` if some are not finite."""
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise DataError(
            f"{len(bad):,} of {len(ids):,} images have features that are not finite, the first {ids[bad[0]]}",
            where=where,
            remedy="compute them with --precision float32, or take another checkpoint: this one may have diverged",
        )
    return features
