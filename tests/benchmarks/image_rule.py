"""Print how much of COCO's hidden labels a teacher's predictions of each image restore at a precision of 0.9.

    python -m tests.benchmarks.image_rule [SHARED_DATA] [--plot docs/image-rule.png]

Teachers are simulated over COCO's complete labels. A teacher gives class j in an image the log-odds

    a * (d(j) * shown(j) + HARD * h + e) - b,     h, e standard normal, h one number for each image

and d(j) is fitted so that the average precision of class j over all images is as published. No tagger publishes all 80
average precisions, but detectors do (`DETECTED`), so class j has the log-odds of its detection AP, moved by one number
for all classes until their mean is the published mAP of a tagger on COCO. A second kind of teacher guesses by the
scene as well (`context`): to its log-odds, it adds what the other labels of the image say of j, so labels tell it
less than they tell a teacher whose errors are its own. a and b make the probabilities wrong, as those of networks are.

As in `rules_at_equal_recall`, half of the labels are hidden and one is kept in each image; rules are learned from one
half of the images and measured on the other. Only COCO's 80 classes count: a label is right if it was hidden.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import scipy.sparse as sp
from scipy.optimize import brentq
from scipy.special import expit, logit

from mlimages_dataset.augment.hidden_labels import with_hidden
from mlimages_dataset.augment.rule_fit import Examples, learned_rules
from mlimages_dataset.augment.rules import LabelRules, candidates
from mlimages_dataset.augment.seen import Predicted
from mlimages_dataset.augment.splits import draws_of
from mlimages_dataset.tables.confidences import of_a_model
from tests.benchmarks.plot import draw_reliability
from tests.benchmarks.rules_at_equal_recall import (
    matrix_of,
    pair_shares,
    precision_by_class,
    precision_over_recall,
    read_coco,
    reliability,
    strongest,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Scores = NDArray[np.float64]

TAGGERS = {0.886: "KMCL, TResNet-L", 0.866: "ASL, TResNet-L", 0.835: "CSRA, ResNet-101", 0.818: "ASL, TResNet-M at 224"}
"""Published mAP on COCO by tagger, as their repositories state them (mahdihosseini/KMCL, Alibaba-MIIL/ASL, CSRA)."""
QUALITIES = (0.3, 0.45, 0.6, 0.7, 0.818, 0.866)
WANTED, TIMES = 0.9, 3.0
HARD = 0.5
"""How much all classes of an image are easier or harder to see, against 1 of each class alone."""
CONTEXT = 0.5
_STEEP, _SHY = 0.7, 1.5
_COPIES = 2
_CLASSES = 80
# fmt: off
DETECTED = (
    55.163, 29.679, 43.803, 41.210, 62.448, 64.336, 60.758, 31.204, 23.780, 27.209, 66.221, 62.875, 37.812, 20.347,
    34.290, 62.110, 58.040, 55.578, 51.763, 58.846, 63.087, 71.485, 67.249, 67.055, 14.771, 36.458, 13.888, 31.650,
    36.261, 65.720, 21.717, 27.030, 48.437, 44.243, 25.311, 35.639, 51.707, 30.146, 46.154, 37.340, 32.960, 38.655,
    28.718, 15.482, 11.671, 37.838, 23.433, 16.897, 33.203, 29.048, 22.516, 21.549, 30.636, 48.812, 43.357, 33.682,
    26.140, 37.148, 24.629, 34.095, 27.075, 57.695, 53.729, 52.900, 59.216, 27.622, 45.196, 31.097, 49.810, 32.042,
    34.902, 35.062, 50.978, 13.491, 50.667, 36.559, 20.459, 42.890, 6.199, 19.187,
)
"""Average precision of each of COCO's 80 classes, in percent, of a published detector (DeFCN, ResNet-50, 39.0 in the
mean; the repository Megvii-BaseDetection/DeFCN): which classes are easy and which hard."""
# fmt: on


def average_precision(score: Scores, shown: NDArray[np.bool_]) -> float:
    """Return the mean precision at each image that shows a class, by descending score."""
    right = shown[np.argsort(-score, kind="stable")]
    return float((np.cumsum(right) / np.arange(1, len(right) + 1))[right].mean())


def average_precisions(mean: float) -> Scores:
    """Return the average precision of each class, with the wanted mean."""
    spread = logit(np.array(DETECTED) / 100)
    shift = brentq(lambda moved: expit(spread + moved).mean() - mean, -10, 10)
    return np.asarray(expit(spread + shift))


def scene(true: sp.csr_array) -> Scores:
    """Return what the other labels of each image say of each class, in standard deviations, shape (N, 80)."""
    share = np.asarray(true.mean(axis=0)).ravel()
    given, _ = pair_shares(true, true)
    lift = np.log((given + 0.002) / (share[None, :] + 0.002)) * (1 - np.eye(_CLASSES))
    said = true @ lift / np.sqrt(np.maximum(true.sum(axis=1), 1))[:, None]
    return np.asarray((said - said.mean(axis=0)) / said.std(axis=0))


def teacher(true: sp.csr_array, mean: float, seed: int, *, context: float = 0.0) -> sp.csr_array:
    """Return the probabilities of a simulated teacher, at least 0.01 as a table would list them, shape (N, 80)."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((true.shape[0], _CLASSES)) + HARD * rng.standard_normal((true.shape[0], 1))
    noise += context * scene(true) if context else 0.0
    shown = true.toarray() > 0
    found = np.empty_like(noise)
    for j, wanted in enumerate(average_precisions(mean)):
        one, of_class = noise[:, j], shown[:, j]

        def beyond(
            d: float, one: Scores = one, of_class: NDArray[np.bool_] = of_class, wanted: float = wanted
        ) -> float:
            return average_precision(one + d * of_class, of_class) - wanted

        d = 0.0 if beyond(0.0) > 0 else brentq(beyond, 0.0, 12.0, xtol=1e-2)
        at = one + d * of_class
        found[:, j] = _STEEP * 2 * (at - np.quantile(at, 1 - of_class.mean())) - _SHY
    score = of_a_model(expit(found)).astype(np.float64)
    return sp.csr_array(np.where(score >= 0.01, score, 0))


def estimates(known: sp.csr_array, rules: LabelRules, seen: sp.csr_array | None) -> Scores:
    """Return the rules' estimate of each unknown class, shape (N, 80), 0 where they add nothing."""
    found, scores = candidates(known, rules, None if seen is None else Predicted.of_matrix(seen)), np.zeros(known.shape)
    likely = found.evidence > 0
    scores[found.image[likely], rules.consequents[found.consequent[likely]]] = expit(found.logit[likely])
    return np.where(known.toarray() > 0, 0, scores)


def added(scores: Scores, least: float, known: sp.csr_array, true: sp.csr_array) -> tuple[float, float]:
    """Return precision and recall of the unknown labels with at least an estimate."""
    chosen = (scores >= least) & (known.toarray() == 0)
    right = int((chosen & (true.toarray() > 0)).sum())
    return right / max(1, int(chosen.sum())), right / (true.nnz - known.nnz)


def picture_alone(seen: sp.csr_array, known: sp.csr_array, true: sp.csr_array) -> Scores:
    """Return scikit-learn's isotonic estimate of each class from the teacher's probability alone, fitted on half."""
    from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415 - a peer, for this figure only

    score, unknown, shown = seen.toarray(), known.toarray() == 0, true.toarray() > 0
    found, half = np.zeros(score.shape), np.arange(len(score)) % 2 == 0
    for j in range(_CLASSES):
        for fit, apply in ((half, ~half), (~half, half)):
            rows = fit & unknown[:, j]
            model = IsotonicRegression(out_of_bounds="clip").fit(score[rows, j], shown[rows, j])
            found[apply, j] = model.predict(score[apply, j])
    return np.where(unknown, found, 0)


def best_recall(scores: Scores, known: sp.csr_array, true: sp.csr_array) -> float:
    """Return the highest recall at the wanted precision, with the best limit there is."""
    recall, precision = precision_over_recall(scores, known, true)
    return float(recall[np.flatnonzero(precision >= WANTED)].max(initial=0.0))


def draw(
    lines: dict[str, list[tuple[float, float]]], pairs: float, reliable: list[tuple[float, float, int]], path: Path
) -> None:
    """Draw recall over the teacher's quality, and the reliability, into a PNG file."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only the end of a run needs it

    figure = Figure(figsize=(10, 4.2), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    for name, line in lines.items():
        left.plot(*zip(*line, strict=True), "o-", label=name)
    left.axhline(pairs, color="#8c959f", linestyle="-", label="pairs, CO > 0.9")
    left.axhline(TIMES * pairs, color="#8c959f", linestyle=":", label=f"{TIMES:g} times that")
    left.set_xlabel("mAP of the simulated teacher on COCO")
    left.set_ylabel(f"Recall of the hidden labels at precision {WANTED}")
    left.set_ylim(0)
    left.legend(frameon=False, fontsize=8)
    draw_reliability(right, reliable, of="mAP 0.818")
    figure.savefig(path, dpi=110)


@click.command()
@click.argument("shared_data", type=click.Path(path_type=Path), default=Path("../shared/data"))
@click.option("--plot", type=click.Path(path_type=Path), help="Write the curves there.")
@click.option("--quality", "qualities", type=float, multiple=True, default=QUALITIES, help="mAP of a teacher.")
def main(shared_data: Path, plot: Path | None, qualities: tuple[float, ...]) -> None:
    """Compare the rules."""
    ids, labels = read_coco(shared_data / "coco" / "train_full.txt")
    true, draws = matrix_of(labels), draws_of(ids, "rules at equal recall")
    learn = (draws >> np.uint64(63)) == 0
    hidden = [matrix_of(with_hidden(labels, draws_of(ids, f"hide {copy}"), 0.5)) for copy in range(_COPIES)]
    known, truth = hidden[0][~learn], true[~learn]
    unrelated = sp.csr_array(np.eye(_CLASSES, dtype=bool))
    share, _ = pair_shares(true[learn], true[learn])
    precision, pairs = added(strongest(known, share), np.nextafter(0.9, 1), known, truth)
    click.echo(f"{learn.sum():,} images learned from, {known.shape[0]:,} measured, {truth.nnz - known.nnz:,} hidden")
    click.echo(f"pairs, CO > 0.9: precision {precision:.4f}, recall {pairs:.2%}")
    click.echo("| teacher | mAP | precision | recall | times the pairs' | scikit-learn's isotonic, picture alone |")
    click.echo("|---|---|---|---|---|---|")
    lines: dict[str, list[tuple[float, float]]] = {}
    reliable: list[tuple[float, float, int]] = []
    by_class = ""
    for name, context in (("errors of its own", 0.0), ("guesses by the scene too", CONTEXT)):
        for mean in qualities:
            seen = teacher(true, mean, seed=1, context=context)
            examples = Examples(
                sp.csr_array(sp.vstack([one[learn] for one in hidden])),
                sp.csr_array(sp.vstack([true[learn]] * _COPIES)),
                np.tile(draws[learn] % np.uint64(5) == 0, _COPIES),
                _COPIES,
                sp.csr_array(sp.vstack([seen[learn]] * _COPIES)),
            )
            rules, _ = learned_rules(examples, unrelated, WANTED)
            found = estimates(known, rules, seen[~learn])
            precision, recall = added(found, rules.least, known, truth)
            lines.setdefault(name, []).append((mean, recall))
            alone = best_recall(picture_alone(seen[~learn], known, truth), known, truth)
            figures = f"{precision:.3f} | {recall:.2%} | {recall / pairs:.1f} | {alone:.2%}"
            click.echo(f"| {name} | {mean:.3f} | {figures} |")
            if mean == 0.818 and not context:
                every, _ = learned_rules(examples, unrelated, 0.0)
                reliable = reliability(estimates(known, every, seen[~learn]), known, truth)
                by_class = precision_by_class((found >= rules.least) & (known.toarray() == 0), truth)
    click.echo(f"mAP 0.818, wanted {WANTED}: {by_class}")
    for estimate, right, number in reliable:
        click.echo(f"estimated {estimate:.3f}, right {right:.3f}, {number:,} labels")
    if plot is not None:
        draw(lines, pairs, reliable, plot)


if __name__ == "__main__":
    main()
