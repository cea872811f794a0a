"""How often the class names of lists get the meaning that a reader gave them before the program had seen any.

    python -m tests.benchmarks.names_of_lists [tests/vocab/data/names_of_users.csv]

`tests/vocab/data/names_of_lists.csv` has names of public collections and of kinds of users, `names_of_users.csv` those
of 48 lists as people write them for pictures of their own. No weight was fitted to them. `meaning` are the synsets that
fit (`none` where no category is right; empty for names that only give context), and `parents` are nouns that a name may
be kept under. A name is right if it got a synset that fits; or none, where that fits or where all that fit reach no
root; with `attach` also if it was kept below a parent that fits.
"""

from __future__ import annotations

import csv
import itertools
import operator
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

import mlimages_dataset as ml
from mlimages_dataset.vocab.hierarchy import ROOTS
from mlimages_dataset.vocab.sense_features import ancestors
from mlimages_dataset.vocab.wordnet import WordNet, load_wordnet

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = Path(__file__).parents[1] / "vocab" / "data" / "names_of_lists.csv"


def is_right(meaning: str, parents: str, wnid: str, wordnet: WordNet) -> bool:
    """Return whether a class got a meaning that fits.

    Args:
        meaning: wnids that fit, and `none`.
        parents: wnids of nouns that it may be kept under.
        wnid: what it got; empty for no category.
        wordnet: the noun synsets.
    """
    number = wordnet.index_of_wnid
    roots = {number[root] for root in ROOTS}
    synsets = [one for one in meaning.split() if one != "none"]
    if not wnid:
        return "none" in meaning or all(roots.isdisjoint(ancestors(wordnet, number[one])) for one in synsets)
    broader = {above for one in (*synsets, *parents.split()) for above in ancestors(wordnet, number[one])}
    return wnid in synsets or (bool(parents or "none" in meaning) and number[wnid] in broader)


def main(path: Path) -> None:
    """Print the share of right names of each list in a file, without and with `attach`."""
    wordnet = load_wordnet()
    with path.open(encoding="utf-8") as file:
        names = sorted(csv.DictReader(file), key=operator.itemgetter("list"))
    print(f"{'list':24}{'names':>6}{'right':>9}{'with attach':>13}")
    counted = []
    for title, group in itertools.groupby(names, key=operator.itemgetter("list")):
        rows = list(group)
        frame, judged = pd.DataFrame(rows)[["id", "name"]], [row for row in rows if row["meaning"] or row["parents"]]
        counts = [len(judged)]
        for attach in (False, True):
            built = ml.build_vocabulary(imagenet="packaged:imagenet11k.txt", classes={title: frame}, attach=attach)
            wnid_of = {row.source_id: row.wnid for row in built.mapping if row.source == title and row.is_kept}
            counts.append(
                sum(is_right(row["meaning"], row["parents"], wnid_of.get(row["id"], ""), wordnet) for row in judged)
            )
        counted.append(counts)
        print(_line(title, counts))
    print(_line("all", [sum(column) for column in zip(*counted, strict=True)]))


def _line(title: str, counts: Sequence[int]) -> str:
    n, alone, attached = counts
    return f"{title:24}{n:6}{alone / n:9.1%}{attached / n:13.1%}"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else NAMES)
