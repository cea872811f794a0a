"""Which WordNet synset a named class means, with the rule and the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from mlimages_dataset.vocab.normalisation import parse_name, spellings, squashed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlimages_dataset.vocab.classes import SourceClass
    from mlimages_dataset.vocab.wordnet import WordNet


class Rule(Enum):
    """What decided a match; the values stand in the `mapping` table."""

    ONLY_SENSE = "only sense"
    ONLY_CONCRETE_SENSE = "only concrete sense"
    BEST_SENSE = "best of several senses"
    NO_CONCRETE_SENSE = "no concrete sense"
    NOT_IN_WORDNET = "not in WordNet"
    EMPTY_NAME = "empty name"


@dataclass(frozen=True, slots=True)
class Match:
    """The synset that one class means.

    Attributes:
        source_class: the class.
        wnid: the synset; None where no synset is known to be meant.
        rule: what decided.
        evidence: one readable phrase: which lemma, which of how many senses, what decided.
        alternatives: the other candidate wnids, best first.
    """

    source_class: SourceClass
    wnid: str | None
    rule: Rule
    evidence: str
    alternatives: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchContext:
    """What the matcher may look at besides the name.

    Attributes:
        wordnet: the noun synsets.
        imagenet: wnids in the user's ImageNet list.
        imagenet_all: wnids of all synsets that ImageNet has images of.
        roots: wnids below which a sense is concrete.
        box_parents: for each source_id its parents' source_ids in Open Images' box hierarchy; may be empty.
    """

    wordnet: WordNet
    imagenet: frozenset[str]
    imagenet_all: frozenset[str]
    roots: tuple[str, ...]
    box_parents: Mapping[str, tuple[str, ...]]


def match_classes(classes: Sequence[SourceClass], context: MatchContext) -> list[Match]:
    """Return the match of each class, in the order of the classes."""
    compounds = _squashed_lemmas(context.wordnet)
    concrete = _below(context.wordnet, context.roots)
    return [_match(source_class, context, compounds, concrete) for source_class in classes]


def _match(
    source_class: SourceClass, context: MatchContext, compounds: Mapping[str, str], concrete: frozenset[int]
) -> Match:
    wordnet = context.wordnet
    name = parse_name(source_class.name)
    if not name.base:
        return Match(source_class, None, Rule.EMPTY_NAME, "the class has no name", ())
    lemmas = _lemmas(name.base, wordnet, compounds)
    candidates = tuple(dict.fromkeys(synset for lemma in lemmas for synset in wordnet.senses[lemma]))
    if not candidates:
        return Match(source_class, None, Rule.NOT_IN_WORDNET, f"'{name.base}' is no noun of WordNet", ())
    ranked = sorted(candidates, key=lambda s: (wordnet.wnids[s] in context.imagenet, s in concrete), reverse=True)
    best = ranked[0]
    n_concrete = sum(s in concrete for s in candidates)
    rule = (
        Rule.NO_CONCRETE_SENSE
        if n_concrete == 0
        else Rule.ONLY_SENSE
        if len(candidates) == 1
        else Rule.ONLY_CONCRETE_SENSE
        if n_concrete == 1 and best in concrete
        else Rule.BEST_SENSE
    )
    evidence = f"sense {candidates.index(best) + 1} of {len(candidates)} of '{lemmas[0]}'"
    return Match(source_class, wordnet.wnids[best], rule, evidence, tuple(wordnet.wnids[s] for s in ranked[1:]))


def _lemmas(base: str, wordnet: WordNet, compounds: Mapping[str, str]) -> tuple[str, ...]:
    """Return the lemmas that the first listed spelling of the name may be a form of; none if it is not in WordNet."""
    for form in spellings(base):
        if found := wordnet.base_forms(form):
            return found
    for form in spellings(base):
        for plural in (squashed(form), squashed(form).removesuffix("s")):
            if plural in compounds:
                return (compounds[plural],)
    return ()


def _squashed_lemmas(wordnet: WordNet) -> dict[str, str]:
    """Return the lemma behind each spelling without spaces and hyphens."""
    return {squashed(lemma): lemma for lemma in wordnet.senses if len(lemma) > 4}


def _below(wordnet: WordNet, roots: Sequence[str]) -> frozenset[int]:
    """Return the numbers of the synsets that have one of the roots among their ancestors or are one."""
    children: dict[int, list[int]] = {}
    for synset in range(len(wordnet)):
        for parent in wordnet.parents(synset):
            children.setdefault(parent, []).append(synset)
    reached = {wordnet.index_of_wnid[root] for root in roots}
    frontier = list(reached)
    while frontier:
        frontier = [child for synset in frontier for child in children.get(synset, ()) if child not in reached]
        reached.update(frontier)
    return frozenset(reached)
