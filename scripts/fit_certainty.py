"""Fit the probability of a match to its evidence.

    python -m scripts.fit_certainty FOLDER [--write]

Run from the repository's root. Reads Open Images' class lists in the folder, the readings of ``vocab/data/senses.csv``
and the truths of ``tests/vocab``. Prints the weights, what the constants of `vocab.certainty` are counted from, and the
reliability of the probabilities under ten-fold cross-validation by name, so that no name judges itself. With
``--write``, writes the weights to ``vocab/data/certainty.csv``.

A match is right if its synset is the one that was read. Names are matched as parts of their whole collection, and in
small lists drawn from all collections, because a list's other names are evidence: once without and once with what other
collections read of them. Each name counts as one, however many lists have it.
"""

from __future__ import annotations

import csv
import io
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from sklearn.linear_model import LogisticRegression

from mlimages_dataset.vocab import matching
from mlimages_dataset.vocab.certainty import EVIDENCE
from mlimages_dataset.vocab.matching import MatchRule
from mlimages_dataset.vocab.near_names import head_of
from mlimages_dataset.vocab.sense_features import ancestors
from mlimages_dataset.vocab.wordnet import load_wordnet
from tests.vocab import certainty_truth as truth
from tests.vocab.read_lists import SMALL_TITLE, Listed, read_lists, with_read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.vocab.wordnet import WordNet

WEIGHTS = Path("mlimages_dataset/vocab/data/certainty.csv")
N_FOLDS = 10
N_BINS = 10
STRENGTH = 10.0
"""Inverse of the L2 penalty."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A name with several senses that was matched and read."""

    group: str
    name: str
    grounds: NDArray[np.float64]
    right: bool


def judged(one: Listed) -> Iterator[Judged]:
    """Yield the read names of a list that have several senses, with the evidence for their match."""
    for named, match in zip(
        matching.named_senses(one.classes, one.context.wordnet),
        matching.match_classes(one.classes, one.context),
        strict=True,
    ):
        reading = one.truth.get(named.source_class.source_id)
        if reading is not None and match.grounds:
            yield Judged(one.name, named.name.base, np.array(match.grounds), match.wnid == reading.wnid)


def only_abstract(one: Listed) -> Iterator[tuple[str, bool]]:
    """Yield the read names of a list that have one sense, below no root, and whether it is right."""
    for match in matching.match_classes(one.classes, one.context):
        reading = one.truth.get(match.source_class.source_id)
        if reading is not None and match.wnid and not match.alternatives and match.rule is MatchRule.ABSTRACT_SENSE:
            yield reading.name.lower(), match.wnid == reading.wnid


def heads(one: Listed) -> Iterator[tuple[float, bool]]:
    """Yield for each compound of a list that was read as narrower the probability of its head, and whether it is right.

    It is right if it is the parent that was read, or above that.
    """
    wordnet = one.context.wordnet
    lost = [match.source_class for match in matching.match_classes(one.classes, one.context) if match.wnid is None]
    compounds = [
        replace(row, name=head)
        for row in lost
        if row.source_id in one.truth
        and one.truth[row.source_id].relation == "narrower"
        and (head := head_of(row.name, wordnet))
    ]
    for match in matching.match_classes(compounds, one.context) if compounds else ():
        if match.wnid:
            read = wordnet.index_of_wnid[one.truth[match.source_class.source_id].wnid]
            yield match.probability, wordnet.index_of_wnid[match.wnid] in ancestors(wordnet, read)


def fit(names: Sequence[Judged]) -> NDArray[np.float64]:
    """Return the weights of the evidence, shape (E,)."""
    model = LogisticRegression(C=STRENGTH, fit_intercept=False, max_iter=1000)
    model.fit(np.stack([one.grounds for one in names]), [one.right for one in names], sample_weight=shares(names))
    return np.asarray(model.coef_[0], np.float64)


def shares(names: Sequence[Judged]) -> NDArray[np.float64]:
    """Return the weight of each, by which every name counts as one, shape (N,)."""
    often = Counter(one.name for one in names)
    return np.array([1 / often[one.name] for one in names])


def cross_validated(names: Sequence[Judged]) -> NDArray[np.float64]:
    """Return the probability of each match by weights that were fitted without its name, shape (N,)."""
    fold = np.array([zlib.crc32(one.name.encode()) % N_FOLDS for one in names])
    grounds = np.stack([one.grounds for one in names])
    found = np.zeros(len(names))
    for k in range(N_FOLDS):
        weights = fit([one for one, at in zip(names, fold, strict=True) if at != k])
        found[fold == k] = 1 / (1 + np.exp(-grounds[fold == k] @ weights))
    return found


def print_reliability(names: Sequence[Judged], estimated: NDArray[np.float64], title: str) -> None:
    """Print a reliability table of ten bins, and Brier scores beside that of a constant guess."""
    right, weight = np.array([one.right for one in names]), shares(names)
    base = np.average(right, weights=weight)
    score, constant = (np.average((guess - right) ** 2, weights=weight) for guess in (estimated, base))
    print(f"{title}: {len({one.name for one in names}):,} names, {base:.3f} right")
    print(f"  Brier score {score:.3f}, of a constant guess {constant:.3f}")
    bins = np.minimum((estimated * N_BINS).astype(int), N_BINS - 1)
    for k in np.unique(bins):
        here = bins == k
        mean, share = (np.average(value[here], weights=weight[here]) for value in (estimated, right))
        print(f"  {k / N_BINS:.1f}-{(k + 1) / N_BINS:.1f}  {weight[here].sum():6.0f}  {mean:.3f}  {share:.3f}")


def print_constants(shared_data: Path, lists: Sequence[Listed], wordnet: WordNet) -> None:
    """Print what each constant of `vocab.certainty` is counted from."""
    counts = {f"readings: {kind}": n for kind, n in truth.readings_beside_other_answers(shared_data, wordnet).items()}
    counts["box classes by hand"] = truth.box_classes_by_hand(shared_data)
    counts["wnids of COCO's and VOC's lists"] = truth.listed_wnids_beside_readings(wordnet)
    counts["one sense, below a root"] = truth.names_with_one_sense(wordnet)
    abstract = dict(pair for one in lists for pair in only_abstract(one))
    counts["one sense, below no root"] = Counter(abstract.values())
    for what, n in counts.items():
        print(f"{what}: {n[True]} of {n.total()}, {truth.rule_of_succession(n):.3f}")
    compounds = [pair for one in lists for pair in heads(one)]
    expected, found = sum(sure for sure, _ in compounds), sum(right for _, right in compounds)
    print(f"compounds of the kind of their head: {found} of {len(compounds)}, factor {found / expected:.2f}")


@click.command()
@click.argument("shared_data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--write", is_flag=True, help="Replace the packaged weights.")
def main(*, shared_data: Path, write: bool) -> None:
    """Fit and cross-validate the weights."""
    wordnet = load_wordnet()
    lists = list(read_lists(shared_data, wordnet))
    names = [name for one in lists for name in (*judged(one), *judged(with_read(one)))]
    estimated = cross_validated(names)
    small = np.array([one.group == SMALL_TITLE for one in names])
    print_reliability(names, estimated, "all lists")
    print_reliability([one for one in names if one.group == SMALL_TITLE], estimated[small], SMALL_TITLE)
    weights = io.StringIO()
    writer = csv.writer(weights, lineterminator="\n")
    writer.writerow(["evidence", "weight"])
    writer.writerows((what, f"{weight:.2f}") for what, weight in zip(EVIDENCE, fit(names), strict=True))
    print(weights.getvalue())
    if write:
        WEIGHTS.write_text(weights.getvalue(), encoding="utf-8")
    print_constants(shared_data, lists, wordnet)


if __name__ == "__main__":
    main()
