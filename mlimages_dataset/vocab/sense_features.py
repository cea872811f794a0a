"""Features of each WordNet sense of a class name, for a log-linear ranking.

Legend: F features (`FEATURES`). A synset's *path* is the chain of first hypernyms from it to its top.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.vocab.wordnet import WordNet

SMOOTHING = 2.0
"""Weight of the prior: the number of expected members at which the observed number counts as much as the expected."""

EMPHASIS, EMPHASIS_A_NAT, EMPHASIS_OF_A_KIND = 1.5, 2.0, 4.0
"""How much more the density of a small source counts than that of the large ones that the weights were fitted to: at
least, for each nat by which the source is narrower than WordNet, and at most, where it is of one kind (decision 2)."""

_ANIMAL, _FOOD = "noun.animal", "noun.food"
"""The lexicographer files of names that may be an animal or its meat: they do not say which a source is about."""

_MEAT_A_NAT, _FEW = 4.0, 0.5
"""What meat is ahead by for each nat by which a source has more foods than animals, each with a few added."""

MANY_HYPONYMS = 20
"""Number of hyponyms above which more of them add no evidence for a sense."""

FEATURES = (
    "in ImageNet",
    "has hyponyms in ImageNet",
    "log hyponyms in ImageNet",
    "below a root",
    "log tagged occurrences",
    "first lemma of its synset",
    "proper name",
    "sense of a base form where the name itself is a lemma",
    "log hyponyms in the source",
    "log density of the source",
    "food of which another sense is the plant",
)
"""Names of the features, shape (F,), as they appear after 'because of' in a match's evidence."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One sense that a name may have.

    Attributes:
        synset: its number.
        lemma: the lower-case lemma by which it was found.
        is_base_form: whether the lemma is a base form of the name (`dart` for `darts`) and not the name itself.
    """

    synset: int
    lemma: str
    is_base_form: bool


class Neighbourhoods:
    """The density of a set of synsets around any synset, compared with its density in all of WordNet.

    Attributes:
        shares: degree of membership of each synset of the set, in (0, 1].
        below: for each synset the summed membership of the synsets whose path leads through it, itself included.
    """

    def __init__(self, wordnet: WordNet, shares: Mapping[int, float], everything: Neighbourhoods | None = None) -> None:
        self.shares = shares
        self.below: defaultdict[int, float] = defaultdict(float)
        for synset, share in shares.items():
            for node in path(wordnet, synset):
                self.below[node] += share
        self._wordnet = wordnet
        self._everything = everything or self
        self._overall = sum(shares.values()) / len(wordnet)

    def of(self, shares: Mapping[int, float]) -> Neighbourhoods:
        """Return another set of synsets, compared with the same density."""
        return Neighbourhoods(self._wordnet, shares, self._everything)

    def information(self) -> float:
        """Return how narrow the set is: near 0 if it is spread over WordNet, 4 to 5 if its members are all birds.

        It is the share p of members below one synset times log(p / share of all synsets there), where that is most.
        `SMOOTHING` members that are elsewhere are added, so that a few names alone make no kind.
        """
        total, n_synsets, everything = sum(self.shares.values()) + SMOOTHING, len(self._wordnet), self._everything.below
        parts = [(below / total, everything[node] / n_synsets) for node, below in self.below.items() if below > 1]
        return max((share * math.log(share / expected) for share, expected in parts), default=0.0)

    def n_hyponyms(self, synset: int) -> float:
        """Return the summed membership of the synsets below one."""
        return max(self.below.get(synset, 0.0) - self.shares.get(synset, 0.0), 0.0)

    def log_density(self, synset: int) -> float:
        """Return the log of the members' density around the synset over their density in WordNet; 0 is average.

        From the top down, each subtree is expected to be as dense as the one above it, and the ratio of members found
        to members expected is smoothed towards 1 (a Poisson rate under a gamma prior of `SMOOTHING`), so a set of few
        members has little effect. The synset itself does not count, only its neighbours.
        """
        own = self.shares.get(synset, 0.0)
        below, below_in_all = self.below, self._everything.below
        log_ratio = 0.0
        for node in reversed(path(self._wordnet, synset)):
            expected = self._overall * math.exp(log_ratio) * (below_in_all[node] - 1)
            found = max(below.get(node, 0.0) - own, 0.0)
            log_ratio += math.log((found + SMOOTHING) / (expected + SMOOTHING))
        return log_ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The context in which the senses of all names of one source are ranked.

    Attributes:
        wordnet: the noun synsets.
        concrete: numbers of the synsets below the roots.
        imagenet: the synsets in ImageNet.
        source: the senses of the source's names, each with the probability that a name means it.
        emphasis: how much the density of the source counts, relative to a large source.
        meat: what the meat of an animal is ahead of the animal by, because of the source's other names.
    """

    wordnet: WordNet
    concrete: frozenset[int]
    imagenet: Neighbourhoods
    source: Neighbourhoods
    emphasis: float = 1.0
    meat: float = 0.0

    def with_ranked(
        self, names: Sequence[Sequence[Candidate]], weights: NDArray[np.float64], known: Mapping[int, float]
    ) -> Surroundings:
        """Return the context in which the senses of ambiguous names have the probabilities that they have in this one.

        Args:
            names: the senses of each.
            weights: weights of the features, shape (F,).
            known: the synsets that the source's other names mean.
        """
        shares = dict(known)
        for candidates in names:
            for candidate, probability in zip(
                candidates, softmax(feature_matrix(candidates, self) @ weights), strict=True
            ):
                shares[candidate.synset] = max(shares.get(candidate.synset, 0.0), float(probability))
        return replace(self, source=self.source.of(shares))

    def with_emphasis(self) -> Surroundings:
        """Return the context of a small source, whose density counts the more the narrower it is."""
        emphasis = EMPHASIS_A_NAT * self.source.information()
        return replace(self, emphasis=min(max(emphasis, EMPHASIS), EMPHASIS_OF_A_KIND))

    def with_meat(self) -> Surroundings:
        """Return the context of a small source, where meat is ahead if more of its other names are foods than animals.

        A chicken among dishes is meat.
        """
        animals, foods = (self._share_of(file) for file in (_ANIMAL, _FOOD))
        return replace(self, meat=max(_MEAT_A_NAT * math.log((foods + _FEW) / (animals + _FEW)), 0.0))

    def _share_of(self, file: str) -> float:
        """Return the summed membership of the source's synsets of a lexicographer file."""
        return sum(
            share for synset, share in self.source.shares.items() if self.wordnet.lexicographer_files[synset] == file
        )

    def doubt(self, candidates: Sequence[Candidate], best: int, *, is_read: bool) -> str:
        """Return in words why the best sense of a name is less sure than its lead says; empty if it is not.

        Args:
            candidates: the senses of the name.
            best: the one that came first.
            is_read: whether it was read elsewhere.
        """
        if self.meat > 0 and is_animal_or_meat(candidates, self.wordnet):
            is_animal = self.wordnet.lexicographer_files[best] == _ANIMAL
            return "; more names of the list are foods than animals" if is_animal else ""
        apart = self.emphasis >= EMPHASIS_OF_A_KIND and self.source.log_density(best) < 0
        return "; nearly all other names of the list are of another kind" if apart and not is_read else ""


def feature_matrix(candidates: Sequence[Candidate], around: Surroundings) -> NDArray[np.float64]:
    """Return the features of all senses that one name may have, shape (len(candidates), F).

    WordNet lists the senses of a lemma by their tagged occurrences, and those without any by descending file offset,
    which means nothing. So the occurrences are features, not the order.

    Args:
        candidates: the senses.
        around: the context of the source.
    """
    wordnet = around.wordnet
    name_is_lemma = any(not candidate.is_base_form for candidate in candidates)
    files = [wordnet.lexicographer_files[candidate.synset] for candidate in candidates]
    rows = []
    for candidate, file in zip(candidates, files, strict=True):
        synset = candidate.synset
        place, n_tagged = _place_and_occurrences(wordnet, candidate)
        in_imagenet = min(around.imagenet.n_hyponyms(synset), MANY_HYPONYMS)
        in_source = min(around.source.n_hyponyms(synset), MANY_HYPONYMS)
        rows.append(
            [
                synset in around.imagenet.shares,
                in_imagenet > 0,
                math.log1p(in_imagenet),
                synset in around.concrete,
                math.log1p(n_tagged),
                place == 0,
                wordnet.lemmas[synset][place][:1].isupper(),
                candidate.is_base_form and name_is_lemma,
                math.log1p(in_source),
                around.emphasis * around.source.log_density(synset),
                file == _FOOD and "noun.plant" in files,
            ]
        )
    return np.array(rows, dtype=np.float64).reshape(len(candidates), len(FEATURES))


def is_animal_or_meat(candidates: Sequence[Candidate], wordnet: WordNet) -> bool:
    """Return whether some senses of a name are animals and others food."""
    return {wordnet.lexicographer_files[candidate.synset] for candidate in candidates} >= {_ANIMAL, _FOOD}


def meat_scores(candidates: Sequence[Candidate], around: Surroundings) -> NDArray[np.float64]:
    """Return what each sense of a name that may be an animal or its meat is ahead by, shape (S,); 0 of other names."""
    files = np.array([around.wordnet.lexicographer_files[candidate.synset] for candidate in candidates])
    return np.where(files == _FOOD, around.meat * is_animal_or_meat(candidates, around.wordnet), 0.0)


def path(wordnet: WordNet, synset: int) -> list[int]:
    """Return the synset and its first hypernyms up to the top, nearest first."""
    nodes, above = [], wordnet.first_parents
    while synset >= 0:
        nodes.append(synset)
        synset = above[synset]
    return nodes


def ancestors(wordnet: WordNet, synset: int) -> set[int]:
    """Return the synset and everything above it along every parent."""
    found, frontier = {synset}, [synset]
    while frontier:
        frontier = [parent for node in frontier for parent in wordnet.parents(node) if parent not in found]
        found.update(frontier)
    return found


def is_individual(wordnet: WordNet, synset: int) -> bool:
    """Return whether the synset is a named individual (a person, a city, a ship) and not a class."""
    return bool(wordnet.instance_hypernyms[synset])


def _place_and_occurrences(wordnet: WordNet, candidate: Candidate) -> tuple[int, int]:
    """Return the position of the candidate's lemma in its synset, and how often it is tagged with this sense."""
    lemmas, counts = wordnet.lemmas[candidate.synset], wordnet.counts[candidate.synset]
    places = [i for i, lemma in enumerate(lemmas) if lemma.lower() == candidate.lemma]
    return places[0], max(counts[i] for i in places)
