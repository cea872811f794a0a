"""What speaks for and against each WordNet sense of a class name, as numbers for a log-linear ranking.

Legend: F features (`FEATURES`). A synset's *path* is the chain of first hypernyms from it to its top.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.vocab.wordnet import LEXICOGRAPHER_FILES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.vocab.wordnet import WordNet

SMOOTHING = 10.0
"""Synsets that a subtree must hold before its own density counts for more than that of the subtree above."""

MANY_HYPONYMS = 20
"""Hyponyms beyond which more of them say nothing new about a sense."""

NOUN_FILES = tuple(name for name in LEXICOGRAPHER_FILES if name.startswith("noun."))

FEATURES = (
    "in the vocabulary's ImageNet",
    "in the whole of ImageNet",
    "has hyponyms in the vocabulary's ImageNet",
    "log hyponyms in the vocabulary's ImageNet",
    "below a root",
    "first sense below a root",
    "log tagged occurrences",
    "first lemma of its synset",
    "proper name",
    "named individual",
    "sense of a base form where the name itself is a lemma",
    "log density of the source",
    "below the box parent",
    "above a box child",
    *NOUN_FILES,
)
"""Names of the features, shape (F,). Every one of them is readable behind 'because of' in a match's evidence."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One sense that a name may have.

    Attributes:
        synset: its number.
        lemma: the lower-case lemma by which it was found.
        is_base_form: whether the lemma is a base form of the name (`dart` of `darts`) and not the name itself.
    """

    synset: int
    lemma: str
    is_base_form: bool


class Neighbourhoods:
    """How dense a set of synsets lies around any synset, compared with its density in all of WordNet.

    Attributes:
        members: the synsets of the set.
        n_below: for each synset the number of members whose path leads through it, itself counted.
    """

    def __init__(self, wordnet: WordNet, members: Collection[int], everything: Neighbourhoods | None = None) -> None:
        self.members = frozenset(members)
        self._wordnet = wordnet
        self.n_below: Counter[int] = Counter()
        for synset in self.members:
            self.n_below.update(path(wordnet, synset))
        self._everything = everything or self
        self._overall = (len(self.members) + 1) / (len(wordnet) + 1)

    def n_hyponyms(self, synset: int) -> int:
        """Return the number of members below the synset."""
        return self.n_below[synset] - (synset in self.members)

    def log_density(self, synset: int) -> float:
        """Return the log of the members' density around the synset over their density in WordNet; 0 is average.

        The density of each subtree on the path is smoothed towards that of the subtree above it (`SMOOTHING`). The
        synset itself is left out of both counts: this is what its neighbours say.
        """
        own = synset in self.members
        density = self._overall
        for node in reversed(path(self._wordnet, synset)):
            n_members, n_synsets = self.n_below[node] - own, self._everything.n_below[node] - 1
            density = (n_members + SMOOTHING * density) / (n_synsets + SMOOTHING)
        return math.log(density / self._overall)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the senses of all names of one source are seen against.

    Attributes:
        wordnet: the noun synsets.
        concrete: numbers of the synsets below the roots.
        imagenet: the synsets in the vocabulary's ImageNet list.
        imagenet_all: the synsets in the whole of ImageNet.
        source: the senses of the source's unambiguous names.
    """

    wordnet: WordNet
    concrete: frozenset[int]
    imagenet: Neighbourhoods
    imagenet_all: frozenset[int]
    source: Neighbourhoods


def feature_matrix(
    candidates: Sequence[Candidate],
    around: Surroundings,
    box_parents: Collection[int] = (),
    box_children: Collection[int] = (),
) -> NDArray[np.float64]:
    """Return the features of all senses that one name may have, shape (len(candidates), F).

    WordNet lists the senses of a lemma by their tagged occurrences and those without any by descending file offset,
    which means nothing: of the order only the occurrences are used, and which concrete sense comes first.

    Args:
        candidates: the senses, in WordNet's order.
        around: what they are seen against.
        box_parents: synsets of the class's parents in Open Images' box hierarchy.
        box_children: synsets of its children there.
    """
    wordnet = around.wordnet
    above_children = {node for child in box_children for node in ancestors(wordnet, child)}
    first_concrete = next((c.synset for c in candidates if c.synset in around.concrete), None)
    name_is_lemma = any(not candidate.is_base_form for candidate in candidates)
    rows = []
    for candidate in candidates:
        synset = candidate.synset
        place, n_tagged = _place_and_occurrences(wordnet, candidate)
        n_hyponyms = min(around.imagenet.n_hyponyms(synset), MANY_HYPONYMS)
        rows.append(
            [
                synset in around.imagenet.members,
                synset in around.imagenet_all,
                n_hyponyms > 0,
                math.log1p(n_hyponyms),
                synset in around.concrete,
                synset == first_concrete,
                math.log1p(n_tagged),
                place == 0,
                wordnet.lemmas[synset][place][:1].isupper(),
                is_individual(wordnet, synset),
                candidate.is_base_form and name_is_lemma,
                around.source.log_density(synset),
                not ancestors(wordnet, synset).isdisjoint(box_parents),
                synset in above_children,
                *(wordnet.lexicographer_files[synset] == file for file in NOUN_FILES),
            ]
        )
    return np.array(rows, dtype=np.float64).reshape(len(candidates), len(FEATURES))


def path(wordnet: WordNet, synset: int) -> list[int]:
    """Return the synset and its first hypernyms up to the top, nearest first."""
    nodes = [synset]
    while parents := wordnet.parents(nodes[-1]):
        nodes.append(parents[0])
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
    """Return the place of the candidate's lemma in its synset and how often it is tagged with this sense."""
    lemmas, counts = wordnet.lemmas[candidate.synset], wordnet.counts[candidate.synset]
    places = [i for i, lemma in enumerate(lemmas) if lemma.lower() == candidate.lemma]
    return places[0], max(counts[i] for i in places)
