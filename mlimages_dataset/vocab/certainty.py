"""How likely it is that a class means the synset that it was given.

A wnid that is the class's own id, and a decision of the user's, count as certain. For wnids that a list gives beside a
name, packaged decisions, readings and names with one sense, it is the share of those that agreed with an independent
answer: k of n give (k + 1) / (n + 2) (Laplace's rule of succession). For names that the matcher decides, it is a
logistic regression over the evidence of the match. ``scripts/fit_certainty.py`` prints these numbers, but that of
names read elsewhere, which ``tests/benchmarks/names_elsewhere.py`` prints, and writes ``data/certainty.csv``;
``docs/decisions/0016-certainty.md`` has them and their reliability.
"""

from __future__ import annotations

import csv
import functools
import math
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.vocab.sense_features import FEATURES

if TYPE_CHECKING:
    from numpy.typing import NDArray


def single(probability: float) -> float:
    """Return a number as a table of float32 gives it back."""
    return float(np.float32(probability))


STATED = 1.0
"""The class's id is the wnid, or the user decided it: it means that by definition."""
LISTED = single(0.94)
"""A list gives the wnid beside a name."""
CONTRADICTED = 0.5
"""A list gives a wnid that no sense of the name agrees with: one of them is wrong, and nothing says which."""
BY_HAND = single(0.993)
"""A packaged decision by hand: all 136 box classes are the synset that two public mappings agree on."""
READ_ALIKE = single(0.959)
"""Two readings of a name name one synset."""
READ_PARENT = single(0.860)
"""Two readings name one parent, or one of them a broader one, which counts."""
READ_JOINED = single(0.565)
"""Two readings differ, and a third is one of them."""
READ_ALONE = single(0.333)
"""Three readings differ."""
ONLY_SENSE = single(0.989)
"""The name has one sense, which is below a root, and nobody has read it."""
ONLY_ABSTRACT = single(0.618)
"""The name has one sense, which is below no root."""
ELSEWHERE = single(0.867)
"""A name that is no noun of WordNet was read in other collections as a synset, or as a kind of it."""
APART = single(0.318)
"""At most, where a list is of one kind and what a name was matched to is of another."""
HEAD_FACTOR = 0.64
"""Share of compounds that are a kind of their last word, relative to the probability of that word's sense."""

EVIDENCE = (
    "intercept",
    "log lead",
    "no other sense left",
    "log senses",
    "below a root",
    "log tagged occurrences",
    "first lemma of its synset",
    "log collections that read it so",
)
"""What the probability of a match depends on, shape (E,)."""


def grounds_of(n_senses: int, lead: float, features: NDArray[np.float64], n_collections: int = 0) -> tuple[float, ...]:
    """Return the evidence for the best sense of a name with several, shape (E,).

    Args:
        n_senses: the senses that were ranked; 1 if a rule ruled the others out.
        lead: of the best sense's score over the second's; of no account for one sense.
        features: of the best sense (`sense_features.FEATURES`), shape (F,).
        n_collections: other collections that mean it, or something below it, by the name.
    """
    root, tagged, first = (
        features[FEATURES.index(name)]
        for name in ("below a root", "log tagged occurrences", "first lemma of its synset")
    )
    alone = n_senses == 1
    read = math.log1p(n_collections)
    parts = (1, 0 if alone else math.log1p(lead), alone, math.log(n_senses), root, tagged, first, read)
    return tuple(map(float, parts))


def match_probability(grounds: tuple[float, ...]) -> float:
    """Return the probability of a match with some evidence, shape (E,)."""
    return single(1 / (1 + math.exp(-float(np.dot(grounds, _weights())))))


def probability_of(grounds: tuple[float, ...], n_collections: int, *, concrete: bool, apart: bool) -> float:
    """Return the probability of a match by name.

    Args:
        grounds: the evidence, shape (E,); empty for a name with one sense.
        n_collections: other collections that read it so.
        concrete: the synset is below a root.
        apart: the list is of one kind, and the synset of another.
    """
    if grounds:
        sure = match_probability(grounds)
    elif concrete:
        sure = ONLY_SENSE
    else:
        sure = ELSEWHERE if n_collections else ONLY_ABSTRACT
    return min(sure, APART) if apart else sure


@functools.lru_cache(maxsize=1)
def _weights() -> NDArray[np.float64]:
    """Return the fitted weight of each kind of evidence, shape (E,)."""
    lines = (files("mlimages_dataset.vocab") / "data" / "certainty.csv").read_text("utf-8").splitlines()
    weights = {row["evidence"]: float(row["weight"]) for row in csv.DictReader(lines)}
    return np.array([weights[name] for name in EVIDENCE])
