"""Numbered checks of a vocabulary (V1xx) and its hierarchy (H2xx), in the manner of goodmami/wn's validator.

Each check is a function that yields the subjects that fail; the first line of its docstring is the message.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import VocabularyError
from mlimages_dataset.sources.classes import own_wnid
from mlimages_dataset.vocab.hierarchy import ROOTS, closure_matrix, tree_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlimages_dataset.vocab.vocabulary import Vocabulary
    from mlimages_dataset.vocab.wordnet import WordNet


@dataclass(frozen=True, slots=True)
class Violation:
    """One violation of one check."""

    code: str
    message: str
    subject: str

    def __str__(self) -> str:
        return f"{self.code} {self.message} {self.subject}"


def v101(vocabulary: Vocabulary, network: WordNet) -> Iterator[str]:
    """Two categories share a wnid."""
    counts = Counter(category.wnid for category in vocabulary.categories)
    return (wnid for wnid, count in counts.items() if count > 1)


def v102(vocabulary: Vocabulary, network: WordNet) -> Iterator[str]:
    """A category is neither a noun synset of WordNet 3.0 nor a class of a list."""
    own = {own_wnid(row.source, row.source_id) for row in vocabulary.mapping}
    return (c.wnid for c in vocabulary.categories if c.wnid not in network.index_of_wnid and c.wnid not in own)


def v103(vocabulary: Vocabulary, network: WordNet) -> Iterator[str]:
    """A category has no name."""
    return (c.wnid for c in vocabulary.categories if not c.name.strip())


def v104(vocabulary: Vocabulary, network: WordNet) -> Iterator[str]:
    """A source's class is in the mapping twice."""
    counts = Counter((row.source, row.source_id) for row in vocabulary.mapping)
    return (f"{source} {source_id}" for (source, source_id), count in counts.items() if count > 1)


def v105(vocabulary: Vocabulary, network: WordNet) -> Iterator[str]:
    """A class is mapped to a category that does not exist."""
    n = len(vocabulary)
    return (f"{row.source} {row.source_id}" for row in vocabulary.mapping if not -1 <= row.class_index < n)


def v106(vocabulary: Vocabulary, network: WordNet) -> Iterator[str]:
    """A class is mapped to a category of another synset."""
    for row in vocabulary.mapping:
        if 0 <= row.class_index < len(vocabulary) and vocabulary.categories[row.class_index].wnid != row.wnid:
            yield f"{row.source} {row.source_id}"


def v107(vocabulary: Vocabulary, network: WordNet) -> Iterator[str]:
    """A mapping row gives no rule or no evidence."""
    return (f"{row.source} {row.source_id}" for row in vocabulary.mapping if not (row.rule and row.evidence))


def v108(vocabulary: Vocabulary, network: WordNet) -> Iterator[str]:
    """A category has a negative number of images."""
    return (c.wnid for c in vocabulary.categories if c.images < 0)


def h201(vocabulary: Vocabulary, network: WordNet) -> Iterator[str]:
    """A parent is not a category."""
    n = len(vocabulary)
    return (c.wnid for c in vocabulary.categories if any(not 0 <= p < n for p in c.parents) or not -1 <= c.parent < n)


def h202(vocabulary: Vocabulary, network: WordNet) -> Iterator[str]:
    """The parents form a cycle."""
    try:
        closure_matrix([category.parents for category in vocabulary.categories])
    except VocabularyError as error:
        yield error.what


def h203(vocabulary: Vocabulary, network: WordNet) -> Iterator[str]:
    """A category without parents is not one of the four roots."""
    return (c.wnid for c in vocabulary.categories if not c.parents and c.wnid not in ROOTS)


def h204(vocabulary: Vocabulary, network: WordNet) -> Iterator[str]:
    """The primary parent is not one of the parents, or is given although there are none."""
    return (c.wnid for c in vocabulary.categories if c.parent not in (c.parents or (-1,)))


def h205(vocabulary: Vocabulary, network: WordNet) -> Iterator[str]:
    """The root or the depth does not follow from the primary parents."""
    root, depth = tree_of([category.parent for category in vocabulary.categories])
    for i, category in enumerate(vocabulary.categories):
        if (category.root, category.depth) != (root[i], depth[i]):
            yield category.wnid


def h206(vocabulary: Vocabulary, network: WordNet) -> Iterator[str]:
    """A parent is not a nearest ancestor: another category is between them."""
    closure = vocabulary.closure
    for c, category in enumerate(vocabulary.categories):
        above = {p: set(closure.indices[closure.indptr[p] : closure.indptr[p + 1]].tolist()) for p in category.parents}
        if any(p in above[q] for p in category.parents for q in category.parents if p != q):
            yield vocabulary.categories[c].wnid


_STRUCTURE: tuple[Callable[[Vocabulary, WordNet], Iterator[str]], ...] = (
    v101, v102, v103, v104, v105, v106, v107, v108, h201,
)  # fmt: skip
_GRAPH = (h202, h203, h204)
_ACYCLIC = (h205, h206)


def validate(vocabulary: Vocabulary, network: WordNet) -> list[Violation]:
    """Return every violation; checks of the graph run only if earlier checks found its parents valid."""
    findings: list[Violation] = []
    for group in (_STRUCTURE, _GRAPH, _ACYCLIC):
        for check in group:
            message = (check.__doc__ or "").splitlines()[0].rstrip(".") + ":"
            findings += [Violation(check.__name__.upper(), message, found) for found in check(vocabulary, network)]
        if any(finding.code in {"H201", "H202", "H204"} for finding in findings):
            break
    return findings
