"""Print how often added labels are right at equal recall, by the rule that adds them, on COCO with hidden labels.

    python -m tests.benchmarks.rules_at_equal_recall [SHARED_DATA] [--plot docs/rules.png]

Half of the labels are hidden, one is kept in each image. Rules are learned from one half of the images, drawn by hash,
and measured on the other. Only COCO's 80 classes count: a label is right if it was hidden. The plots show precision
over recall, and how often labels are right by their estimate (reliability).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from scipy.special import expit

from mlimages_dataset.augment.hidden_labels import with_hidden
from mlimages_dataset.augment.rule_fit import Examples, learned_rules, lowest_limit
from mlimages_dataset.augment.rules import LabelRules, candidates
from mlimages_dataset.augment.splits import draws_of
from mlimages_dataset.tables.label_columns import LabelColumns
from tests.benchmarks.plot import draw_reliability

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Scores = NDArray[np.float64]

RECALLS = (0.06, 0.12, 0.233)
PRECISIONS = (*np.arange(0.2, 0.9, 0.05), 0.9, 0.93, 0.95, 0.97)
"""Of each class, that limits of its own are to give."""
ENOUGH = 30
"""Added labels of a class from which its precision is told."""
WANTED = 0.9
_CLASSES = 80
_COPIES = 4
_FINE = 1000
"""Points of a curve that is drawn."""
_Z = 1.959963984540054


def read_coco(path: Path) -> tuple[pa.StringArray, LabelColumns]:
    """Return the images' names and their labels."""
    lines = [line.strip().split(",") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    labels = [sorted({int(word) for word in words.split()}) for _, words in lines]
    offsets = np.concatenate(([0], np.cumsum([len(one) for one in labels]))).astype(np.int32)
    classes = np.array([c for one in labels for c in one], np.int32)
    columns = LabelColumns(offsets, classes, np.ones(len(classes), np.float32), np.zeros(len(classes), np.uint8))
    return pa.array([name for name, _ in lines]), columns


def matrix_of(labels: LabelColumns) -> sp.csr_array:
    """Return 1 at each label, shape (N, 80)."""
    ones = np.ones(len(labels.class_index))
    return sp.csr_array((ones, (labels.images, labels.class_index)), shape=(len(labels), _CLASSES))


def pair_shares(known: sp.csr_array, true: sp.csr_array) -> tuple[Scores, Scores]:
    """Return CO(i, j) of complete labels, and the lower end of its 95 % Wilson interval, each of shape (80, 80)."""
    images = np.asarray(known.sum(axis=0)).ravel()[:, None].clip(min=1)
    share = (known.T @ true).toarray() / images
    spread = _Z * np.sqrt(share * (1 - share) / images + _Z**2 / (4 * images**2))
    bound = (share + _Z**2 / (2 * images) - spread) / (1 + _Z**2 / images)
    return share * (1 - np.eye(_CLASSES)), bound * (1 - np.eye(_CLASSES))


def strongest(known: sp.csr_array, shares: Scores) -> Scores:
    """Return the highest share of the known antecedents of each class, shape (N, 80)."""
    found = np.zeros(known.shape)
    for i in range(_CLASSES):
        rows = known.indices == i
        images = np.repeat(np.arange(known.shape[0]), np.diff(known.indptr))[rows]
        found[images] = np.maximum(found[images], shares[i])
    return found


def estimates(known: sp.csr_array, rules: LabelRules) -> Scores:
    """Return the rules' estimate of each class, shape (N, 80), 0 where they say nothing."""
    found, scores = candidates(known, rules), np.zeros(known.shape)
    likely = found.evidence > 0
    scores[found.image[likely], rules.consequents[found.consequent[likely]]] = expit(found.logit[likely])
    return scores


def scores_by_rule(examples: Examples, known: sp.csr_array, rules: LabelRules) -> dict[str, Scores]:
    """Return what each rule says of unseen images, shape (N, 80) each; `rules` are those of the regression."""
    first = slice(0, examples.known.shape[0] // examples.copies)
    kept, true = examples.known[first], examples.true[first]
    share, bound = pair_shares(true, true)
    missing = sp.csr_array(true - kept)
    asked = (kept.T @ (1 - kept.toarray())).clip(min=1)
    of_missing = (kept.T @ missing).toarray() / asked
    base = np.asarray(missing.sum(axis=0)).ravel() / (1 - kept.toarray()).sum(axis=0)
    lift = of_missing.clip(1e-6, 1 - 1e-6)
    odds = np.log(lift / (1 - lift)) - np.log(base / (1 - base))
    return {
        "pairs, as in the paper": strongest(known, share),
        "pairs, lower bound (Wilson)": strongest(known, bound),
        "pairs, of what is missing": strongest(known, of_missing),
        "noisy-or of several antecedents": 1 - np.exp(known @ np.log1p(-of_missing.clip(max=0.999))),
        "naive Bayes": expit(known @ odds + np.log(base / (1 - base))),
        "regression": estimates(known, rules),
    }


def precision_over_recall(scores: Scores, known: sp.csr_array, true: sp.csr_array) -> tuple[Scores, Scores]:
    """Return recall and precision after each added label, the likeliest first."""
    unknown = known.toarray() == 0
    order = np.argsort(-scores[unknown], kind="stable")
    right = np.cumsum(true.toarray()[unknown][order])
    return right / (true.nnz - known.nnz), right / np.arange(1, len(right) + 1)


def limits_by_class(rules: LabelRules, examples: Examples, precision: float) -> Scores:
    """Return the lowest limit of each class that gives it a precision on the held-out images, shape (80,).

    It is above 1 where none does.
    """
    known, true = (one[examples.held_out] for one in (examples.known, examples.true))
    scores, asked, shown = estimates(known, rules), known.toarray() == 0, true.toarray() > 0
    found = np.full(_CLASSES, 2.0)
    for j in range(_CLASSES):
        rows = asked[:, j] & (scores[:, j] > 0)
        least, _, _ = lowest_limit(scores[rows, j], shown[rows, j], precision)
        found[j] = 2.0 if least is None else least
    return found


def with_limits_by_class(
    scores: Scores, rules: LabelRules, examples: Examples, known: sp.csr_array, true: sp.csr_array
) -> tuple[Scores, Scores]:
    """Return recall and precision if each class has the limit that gives it one precision, by ascending recall."""
    unknown, shown, points = known.toarray() == 0, true.toarray() > 0, []
    for precision in PRECISIONS:
        chosen = unknown & (scores >= limits_by_class(rules, examples, precision))
        right = (chosen & shown).sum()
        points.append((right / (true.nnz - known.nnz), right / max(1, chosen.sum())))
    recall, found = zip(*sorted(points), strict=True)
    return np.array(recall), np.array(found)


def precision_by_class(chosen: NDArray[np.bool_], true: sp.csr_array) -> str:
    """Return in one line how the precision of added labels, shape (N, 80), differs between classes."""
    added, right = chosen.sum(axis=0), (chosen & (true.toarray() > 0)).sum(axis=0)
    share = np.sort((right / added.clip(min=1))[added >= ENOUGH])
    if not len(share):
        return f"no class with {ENOUGH} added labels"
    low, middle, high = np.quantile(share, (0.25, 0.5, 0.75))
    below = ", ".join(f"{(share < one).sum()} below {one}" for one in (0.9, 0.8, 0.7))
    return (
        f"{len(share)} classes with {ENOUGH} added labels: precision {share[0]:.2f} to {share[-1]:.2f}, quartiles "
        f"{low:.2f}, {middle:.2f}, {high:.2f}; {below}"
    )


def line_of(recall: Scores, precision: Scores) -> str:
    """Return precision at the recalls, and the highest recall at the wanted precision."""
    at = [np.interp(one, recall, precision, left=np.nan, right=np.nan) for one in RECALLS]
    enough = np.flatnonzero(precision >= WANTED)
    best = recall[enough[-1]] if len(enough) else 0.0
    return " | ".join([*(f"{one:.3f}" for one in at), f"{best:.2%}"])


def reliability(scores: Scores, known: sp.csr_array, true: sp.csr_array) -> list[tuple[float, float, int]]:
    """Return mean estimate, share of right labels and number of labels in tenths of the estimate."""
    unknown = (known.toarray() == 0) & (scores > 0)
    estimate, right = scores[unknown], true.toarray()[unknown]
    tenth = np.minimum((estimate * 10).astype(int), 9)
    return [
        (float(estimate[tenth == n].mean()), float(right[tenth == n].mean()), int((tenth == n).sum()))
        for n in range(10)
        if (tenth == n).any()
    ]


def draw(curves: dict[str, tuple[Scores, Scores]], reliable: list[tuple[float, float, int]], path: Path) -> None:
    """Draw the curves and the reliability into a PNG file."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only the end of a run needs it

    figure = Figure(figsize=(10, 4.2), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    for name, (recall, precision) in curves.items():
        if len(recall) < _FINE:
            continue
        shown = np.unique(np.geomspace(200, np.searchsorted(recall, 0.4), 200).astype(int))
        left.plot(recall[shown], precision[shown], label=name, linewidth=2 if name == "regression" else 1)
    left.set_xlabel("Recall of the hidden labels")
    left.set_ylabel("Precision of the added labels")
    left.legend(frameon=False, fontsize=8)
    draw_reliability(right, reliable, of="regression")
    figure.savefig(path, dpi=110)


@click.command()
@click.argument("shared_data", type=click.Path(path_type=Path), default=Path("../shared/data"))
@click.option("--plot", type=click.Path(path_type=Path), help="Write the curves there.")
def main(shared_data: Path, plot: Path | None) -> None:
    """Compare the rules."""
    ids, labels = read_coco(shared_data / "coco" / "train_full.txt")
    true, draws = matrix_of(labels), draws_of(ids, "rules at equal recall")
    learn = (draws >> np.uint64(63)) == 0
    hidden = [matrix_of(with_hidden(labels, draws_of(ids, f"hide {copy}"), 0.5)) for copy in range(_COPIES)]
    examples = Examples(
        sp.csr_array(sp.vstack([one[learn] for one in hidden])),
        sp.csr_array(sp.vstack([true[learn]] * _COPIES)),
        np.tile(draws[learn] % np.uint64(5) == 0, _COPIES),
        _COPIES,
    )
    known, truth = hidden[0][~learn], true[~learn]
    unrelated = sp.csr_array(np.eye(_CLASSES, dtype=bool))
    rules, _ = learned_rules(examples, unrelated, 0.0)
    every = scores_by_rule(examples, known, rules)
    curves = {name: precision_over_recall(scores, known, truth) for name, scores in every.items()}
    curves["regression, a limit by class"] = with_limits_by_class(every["regression"], rules, examples, known, truth)
    click.echo(f"{learn.sum():,} images learned from, {known.shape[0]:,} measured, {truth.nnz - known.nnz:,} hidden")
    click.echo("| rule | " + " | ".join(f"at {one:g}" for one in RECALLS) + f" | recall at precision {WANTED} |")
    click.echo("|---|" + "---|" * (len(RECALLS) + 1))
    for name, curve in curves.items():
        click.echo(f"| {name} | {line_of(*curve)} |")
    wanted, _ = learned_rules(examples, unrelated, WANTED)
    limits = {
        "one limit": (estimates(known, wanted), np.full(_CLASSES, wanted.least)),
        "a limit by class": (every["regression"], limits_by_class(rules, examples, WANTED)),
    }
    for name, (scores, limit) in limits.items():
        chosen = (known.toarray() == 0) & (scores >= limit)
        right = int((chosen & (truth.toarray() > 0)).sum())
        told = f"precision {right / max(1, int(chosen.sum())):.3f}, recall {right / (truth.nnz - known.nnz):.2%}"
        click.echo(f"wanted {WANTED}, {name}: {told}; {precision_by_class(chosen, truth)}")
    reliable = reliability(every["regression"], known, truth)
    for estimate, share, number in reliable:
        click.echo(f"estimated {estimate:.3f}, right {share:.3f}, {number:,} labels")
    if plot is not None:
        draw(curves, reliable, plot)


if __name__ == "__main__":
    main()
