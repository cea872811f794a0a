"""Finds the WordNet synset that a named class means, with the rule and the evidence.

A name's candidates are the noun senses of the lemmas that it spells (`normalisation`) or inflects. Words in brackets
after the name and Open Images' box hierarchy rule some out. A log-linear model over the features of `sense_features`
ranks the rest; ``scripts/fit_matching.py`` fitted its weights (``data/matching.csv``).
``docs/decisions/0002-matching.md`` says why it is a model, and how accurate it is on new names.
"""

from __future__ import annotations

import csv
import functools
import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from enum import Enum
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.vocab.brackets import agreeing, are_below, contradict, of_the_file
from mlimages_dataset.vocab.certainty import ELSEWHERE, grounds_of, probability_of
from mlimages_dataset.vocab.elsewhere import kind_read, synset_read, with_read
from mlimages_dataset.vocab.morphology import base_forms
from mlimages_dataset.vocab.near_names import head_of, says_absence, says_how, says_nothing
from mlimages_dataset.vocab.normalisation import ParsedName, parse_name, spellings, squashed
from mlimages_dataset.vocab.sense_features import (
    EMPHASIS,
    FEATURES,
    Candidate,
    Neighbourhoods,
    Surroundings,
    ancestors,
    feature_matrix,
    is_animal_or_meat,
    is_individual,
    meat_scores,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.sources.classes import SourceClass
    from mlimages_dataset.vocab.elsewhere import ReadElsewhere
    from mlimages_dataset.vocab.wordnet import WordNet

_READ_SHARE = 0.5
"""How much all features but those of the list count for a name that was read elsewhere (decision 2)."""
_OF_THE_LIST = np.array([one.endswith(" the source") for one in FEATURES])
"""Whether a feature is of the list, shape (F,)."""
_SMALL_LIST = 200
"""Names of a small list, whose density counts more than that of the large ones that the weights were fitted to."""
_ROUNDS = 2
"""How often the names of a small list are ranked as context for each other (decision 2)."""
_OF_THE_FILE_SCORE = 7.0
"""Score of a sense for sharing a lexicographer file, and no more, with the words in brackets (decision 2)."""
_PARTS = re.compile(r"[,;/]")
"""What separates words in brackets."""
_MIN_SQUASHED = 5
"""Least letters of a lemma to be found without its spaces and hyphens; shorter ones would match by accident."""


class MatchRule(Enum):
    """What decided a match, or why there is none; the values appear in the `mapping` table."""

    ONLY_SENSE = "only sense"
    QUALIFIER = "words in brackets"
    CONTRADICTED = "contradicted by the words in brackets"
    ABSENT = "says what is not there"
    NO_THING = "names no thing"
    BOX_HIERARCHY = "box hierarchy"
    UNDER_PARENT = "parent in the list"
    AS_SPELLED = "name as spelled"
    READ_ELSEWHERE = "name in other collections"
    IN_IMAGENET = "only sense in ImageNet"
    ONLY_CONCRETE_SENSE = "only concrete sense"
    LIKELIEST_SENSE = "likeliest sense"
    ABSTRACT_SENSE = "abstract sense"
    NAMED_PERSON = "surname of a named person"
    NOT_IN_WORDNET = "not in WordNet"
    EMPTY_NAME = "empty name"


@dataclass(frozen=True, slots=True)
class Match:
    """The synset that one class means.

    Attributes:
        source_class: the class.
        wnid: the synset; None if there is no match.
        rule: what decided, or why there is no synset.
        evidence: one readable phrase: which lemma, which of how many senses, what decided, by what margin.
        alternatives: the other candidate wnids, best first.
        probability: that the class means the synset (`certainty`); 0 if there is none.
        grounds: what the probability is computed from (`certainty.EVIDENCE`); empty for a name with one sense or none.
        below_parent: whether the synset is below what the class's column `parent` may mean.
    """

    source_class: SourceClass
    wnid: str | None
    rule: MatchRule
    evidence: str
    alternatives: tuple[str, ...]
    probability: float = 0.0
    grounds: tuple[float, ...] = ()
    below_parent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchContext:
    """Evidence for matching besides the names.

    Attributes:
        wordnet: the noun synsets.
        imagenet: wnids in the user's ImageNet list.
        imagenet_all: wnids of all synsets that ImageNet has images of; used if `imagenet` is empty.
        roots: wnids below which a sense is concrete.
        box_parents: for each source_id its parents' source_ids in Open Images' box hierarchy; may be empty.
        read: what names mean in other collections; may be empty.
    """

    wordnet: WordNet
    imagenet: frozenset[str]
    imagenet_all: frozenset[str]
    roots: tuple[str, ...]
    box_parents: Mapping[str, tuple[str, ...]]
    read: Mapping[ParsedName, ReadElsewhere] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class NamedSenses:
    """A class with the senses its name may have.

    Attributes:
        source_class: the class.
        name: its parsed name.
        candidates: the senses, in WordNet's order; without named persons that are found by their surname only.
        surnames: the senses left out: named persons found by one word of their name.
        allowed: the candidates that `narrowed_by` leaves; all of them if no rule applied.
        narrowed_by: the rule that ruled out the other candidates, if any; all of them where brackets contradict them.
        favoured: synsets of candidates that the words in brackets speak for, without ruling out the others.
    """

    source_class: SourceClass
    name: ParsedName
    candidates: tuple[Candidate, ...]
    surnames: tuple[int, ...]
    allowed: tuple[Candidate, ...]
    narrowed_by: MatchRule | None = None
    favoured: frozenset[int] = frozenset()


def match_classes(
    classes: Sequence[SourceClass], context: MatchContext, decided: Mapping[str, str] = MappingProxyType({})
) -> list[Match]:
    """Return the match of each class, in the order of the classes.

    The box hierarchy and the column `parent` decide last: of senses of which some are below a parent, only those stay.
    A class of the list that is a parent is decided before those below it.

    Args:
        classes: the classes to match.
        context: evidence besides the names.
        decided: wnids of the source's other classes by source_id, known without matching; evidence for the rest.
    """
    number = context.wordnet.index_of_wnid
    known = {source_id: number[wnid] for source_id, wnid in decided.items() if wnid in number}
    senses = named_senses(classes, context.wordnet)
    around = surroundings(senses, context, _weights(), frozenset(known.values()))
    read = [synset_read(named, context.read, around) for named in senses]
    matches = [_match(named, around, of_name) for named, of_name in zip(senses, read, strict=True)]
    by_name = known | {m.source_class.source_id: number[m.wnid] for m in matches if m.wnid}
    synset_of_id = dict(by_name)
    for i in _parents_first(classes):
        one = classes[i]
        boxes = {by_name[parent] for parent in context.box_parents.get(one.source_id, ()) if parent in by_name}
        narrower = _narrowed(senses[i], boxes, MatchRule.BOX_HIERARCHY, context.wordnet)
        listed = _parents_of(one, synset_of_id, context.wordnet)
        narrower = _narrowed(narrower, listed, MatchRule.UNDER_PARENT, context.wordnet)
        if narrower is not senses[i]:
            matches[i] = _match(narrower, around, read[i])
        if (wnid := matches[i].wnid) and one.parent:
            synset = synset_of_id[one.source_id] = number[wnid]
            below = not (ancestors(context.wordnet, synset) - {synset}).isdisjoint(listed)
            matches[i] = replace(matches[i], below_parent=below)
    return matches


def _parents_first(classes: Sequence[SourceClass]) -> list[int]:
    """Return the places of classes, each behind that of the class that its column `parent` names, if it is there."""
    place = {one.source_id: i for i, one in enumerate(classes)}
    ordered: dict[int, None] = {}
    for i in range(len(classes)):
        chain: dict[int, None] = {}
        at: int | None = i
        while at is not None and at not in ordered and at not in chain:  # parents may form a cycle
            chain[at] = None
            at = place.get(classes[at].parent)
        ordered |= dict.fromkeys(reversed(chain))
    return list(ordered)


def _parents_of(one: SourceClass, synset_of_id: Mapping[str, int], wordnet: WordNet) -> set[int]:
    """Return what a class's column `parent` may mean: a wnid, what another class means, or each sense of a noun."""
    if not one.parent:
        return set()
    if one.parent in synset_of_id:
        return {synset_of_id[one.parent]}
    if one.parent in wordnet.index_of_wnid:
        return {wordnet.index_of_wnid[one.parent]}
    forms = spellings(parse_name(one.parent).base)
    lemmas = next((found for form in forms if (found := wordnet.base_forms(form))), ())
    return {synset for lemma in lemmas for synset in wordnet.senses[lemma]}


def named_senses(classes: Sequence[SourceClass], wordnet: WordNet) -> list[NamedSenses]:
    """Return the candidate senses of each class, in the order of the classes."""
    compounds = _lemmas_of_squashed(wordnet)
    named = []
    for source_class in classes:
        name = parse_name(source_class.name)
        found = _candidates(name.base, wordnet, compounds)
        surnames = tuple(c.synset for c in found if _is_surname(c, wordnet))
        candidates = tuple(c for c in found if c.synset not in surnames)
        whole = NamedSenses(source_class, name, candidates, surnames, candidates)
        if says_nothing(name.base):
            whole = replace(whole, allowed=(), narrowed_by=MatchRule.NO_THING)
        elif name.qualifier:
            whole = _qualified(whole, compounds, wordnet)
        named.append(whole)
    return named


def surroundings(
    senses: Sequence[NamedSenses],
    context: MatchContext,
    weights: NDArray[np.float64],
    decided: Collection[int] = (),
) -> Surroundings:
    """Return the context in which all senses of one source are ranked.

    A source's names explain each other: most names are unambiguous or nearly so, and show which parts of WordNet the
    source is about. The ambiguous ones are first ranked with only the unambiguous ones as context; then each sense is
    part of the context with its probability. In a small source these are ranked again in that context, and names that
    may be an animal or its meat are no part of it: a chicken among foods is meat, though a duck is there too.

    Args:
        senses: the candidates of all names of the source.
        context: evidence besides the names.
        weights: weights of the features, shape (F,).
        decided: synsets that other classes of the source are known to mean.
    """
    wordnet, number = context.wordnet, context.wordnet.index_of_wnid
    everything = Neighbourhoods(wordnet, dict.fromkeys(range(len(wordnet)), 1.0))
    imagenet = {number[wnid]: 1.0 for wnid in context.imagenet or context.imagenet_all if wnid in number}
    unambiguous = {named.allowed[0].synset: 1.0 for named in senses if len(named.allowed) == 1}
    unambiguous |= dict.fromkeys(decided, 1.0)
    around = Surroundings(
        wordnet=wordnet,
        concrete=_below(wordnet, context.roots),
        imagenet=Neighbourhoods(wordnet, imagenet, everything),
        source=Neighbourhoods(wordnet, unambiguous, everything),
    )
    unclear = [named.allowed for named in senses if len(named.allowed) > 1]
    if len(senses) + len(decided) > _SMALL_LIST:
        return around.with_ranked(unclear, weights, unambiguous)
    unclear = [candidates for candidates in unclear if not is_animal_or_meat(candidates, wordnet)]
    around = replace(around, emphasis=EMPHASIS)
    for _ in range(_ROUNDS):
        around = around.with_ranked(unclear, weights, unambiguous).with_emphasis()
    return around.with_meat()


def _qualified(named: NamedSenses, compounds: Mapping[str, tuple[str, ...]], wordnet: WordNet) -> NamedSenses:
    """Return the class with the senses that agree with the words in brackets, which have senses of their own."""
    base, qualifier = named.name.base, named.name.qualifier
    if says_absence(qualifier):
        return replace(named, allowed=(), narrowed_by=MatchRule.ABSENT)
    parts = [part for one in _PARTS.split(qualifier) if (part := one.strip())]
    meant = _candidates(qualifier, wordnet, compounds)
    of_parts = meant or tuple(one for part in parts for one in _candidates(part, wordnet, compounds))
    joined = () if are_below(named.candidates, of_parts, wordnet) else _joined(named, parts, wordnet)
    if joined:
        of_joined = {one.synset for one in joined}
        candidates = (*joined, *(one for one in named.candidates if one.synset not in of_joined))
        return replace(named, candidates=candidates, allowed=joined, narrowed_by=MatchRule.QUALIFIER)
    if says_how(qualifier):
        return named
    agreed = agreeing(named.candidates, base, qualifier, of_parts, wordnet)
    favoured = () if agreed else of_the_file(named.candidates, of_parts, wordnet)
    if not agreed and not favoured and named.candidates and contradict(meant, wordnet):
        return replace(named, allowed=(), narrowed_by=MatchRule.CONTRADICTED)
    if not agreed or len(agreed) == len(named.candidates):
        return replace(named, favoured=frozenset(one.synset for one in favoured))
    return replace(named, allowed=agreed, narrowed_by=MatchRule.QUALIFIER)


def _joined(named: NamedSenses, parts: Sequence[str], wordnet: WordNet) -> tuple[Candidate, ...]:
    """Return the kinds of a name's senses that words in brackets make with it: `Racket (tennis)`, `Bat (baseball)`."""
    senses = {one.synset for one in named.candidates}
    lemmas = [
        (lemma, form) for form in (f"{part} {named.name.base}" for part in parts) for lemma in wordnet.base_forms(form)
    ]
    found = {
        synset: Candidate(synset, lemma, is_base_form=lemma != form)
        for lemma, form in lemmas
        for synset in wordnet.senses[lemma]
        if not senses.isdisjoint(ancestors(wordnet, synset))
    }
    return tuple(found.values())


def _narrowed(named: NamedSenses, above: Collection[int], rule: MatchRule, wordnet: WordNet) -> NamedSenses:
    """Return the class with only those allowed senses that lie below one of `above`; the same if all or none do."""
    if not above:
        return named
    below = tuple(c for c in named.allowed if not (ancestors(wordnet, c.synset) - {c.synset}).isdisjoint(above))
    if not below or len(below) == len(named.allowed):
        return named
    return replace(named, allowed=below, narrowed_by=rule)


def _as_spelled(named: NamedSenses, around: Surroundings) -> NamedSenses:
    """Return the class with only the sense of its name as spelled, if it has one below a root; else unchanged.

    `glasses` is one synset, spectacles: senses of `glass` are meant only if the plural is not itself a lemma. Games
    (`dominoes`) and named places (`Alps`) are left to the ranking, since class lists use plurals for the things too.
    """
    exact = [c for c in named.candidates if not c.is_base_form]
    if len(exact) != 1 or exact[0] not in named.allowed or len(named.allowed) == 1:
        return named
    one = exact[0]
    if one.lemma not in spellings(named.name.base) or one.synset not in around.concrete:
        return named
    if is_individual(around.wordnet, one.synset):
        return named
    return replace(named, allowed=(one,), narrowed_by=MatchRule.AS_SPELLED)


def _match(named: NamedSenses, around: Surroundings, read: ReadElsewhere | None = None) -> Match:
    if not named.candidates and read is not None and not read.broader:
        return Match(named.source_class, read.wnid, MatchRule.READ_ELSEWHERE, read.evidence, (), ELSEWHERE)
    if not named.allowed:
        return _unmatched(named, around.wordnet)
    there = set() if read is None else ancestors(around.wordnet, around.wordnet.index_of_wnid[read.wnid])
    named = _as_spelled(named if read is None else with_read(named, read, there, around.wordnet), around)
    features = feature_matrix(named.allowed, around)
    ahead = 0.0 if read is None or read.broader else read.score_in(around.emphasis)
    scores = _scores(named, features, there, ahead) + meat_scores(named.allowed, around)
    order = np.argsort(-scores, kind="stable")
    best = named.allowed[order[0]]
    ranked = [named.allowed[i].synset for i in order]
    ranked += [c.synset for c in named.candidates if c.synset not in ranked]
    if read is not None and read.broader and around.wordnet.wnids[best.synset] == read.wnid:
        evidence = kind_read(named, read, around.wordnet)
        return Match(named.source_class, None, MatchRule.READ_ELSEWHERE, evidence, ())
    rule = _rule(named, around, best.synset)
    wnids = [around.wordnet.wnids[synset] for synset in ranked]
    evidence = _lemma_evidence(named, best, around.wordnet)
    if named.narrowed_by:
        evidence += f"; {len(named.allowed)} of {len(named.candidates)} senses agree with the {named.narrowed_by.value}"
    lead = 0.0
    if len(order) > 1:
        lead = float(scores[order[0]] - scores[order[1]])
        evidence += _ranking_evidence(features[order[0]] - features[order[1]], lead, wnids[1])
    evidence += "; it is of the kind of the words in brackets" if best.synset in named.favoured else ""
    n_read = len(read.where) if read is not None and best.synset in there else 0
    if read is not None and n_read:
        evidence += f"; {read.evidence}"
    if rule is MatchRule.ABSTRACT_SENSE:
        evidence += "; it reaches no root"
    evidence += (doubt := around.doubt(named.allowed, best.synset, is_read=n_read > 0))
    grounds = grounds_of(len(order), lead, features[order[0]], n_read) if len(named.candidates) > 1 else ()
    sure = probability_of(grounds, n_read, concrete=best.synset in around.concrete, apart=bool(doubt))
    return Match(named.source_class, wnids[0], rule, evidence, tuple(wnids[1:]), sure, grounds)


def _scores(
    named: NamedSenses, features: NDArray[np.float64], there: Collection[int], ahead: float
) -> NDArray[np.float64]:
    """Return the score of each allowed sense, shape (S,), by features, shape (S, F); those read elsewhere are ahead."""
    shares = np.where(_OF_THE_LIST, 1, _READ_SHARE) if there else 1
    favoured = [(_OF_THE_FILE_SCORE * (one.synset in named.favoured), one.synset in there) for one in named.allowed]
    scores: NDArray[np.float64] = features @ (_weights() * shares) + np.array(favoured) @ (1, ahead)
    return scores


def _unmatched(named: NamedSenses, wordnet: WordNet) -> Match:
    base = named.name.base
    if not base:
        return Match(named.source_class, None, MatchRule.EMPTY_NAME, "the class has no name", ())
    if named.narrowed_by is MatchRule.NO_THING:
        return Match(named.source_class, None, MatchRule.NO_THING, f"{base!r} says nothing of what is shown", ())
    if named.narrowed_by is MatchRule.ABSENT:
        return Match(named.source_class, None, MatchRule.ABSENT, f"the words in brackets say: no {base}", ())
    if named.candidates:
        others = tuple(wordnet.wnids[one.synset] for one in named.candidates)
        first = wordnet.name(named.candidates[0].synset)
        evidence = f"'{base}' is {others[0]} ({first}) in WordNet, which is no {named.name.qualifier}"
        return Match(named.source_class, None, MatchRule.CONTRADICTED, evidence, others)
    if named.surnames:
        people = tuple(wordnet.wnids[synset] for synset in named.surnames)
        evidence = f"'{base}' names only people in WordNet, such as {wordnet.lemmas[named.surnames[0]][-1]}"
        return Match(named.source_class, None, MatchRule.NAMED_PERSON, evidence, people)
    head = head_of(named.source_class.name, wordnet)
    evidence = f"'{base}' is no noun of WordNet" + (f", only its head '{head}' is" if head else "")
    return Match(named.source_class, None, MatchRule.NOT_IN_WORDNET, evidence, ())


def _rule(named: NamedSenses, around: Surroundings, best: int) -> MatchRule:
    """Return the simplest rule that explains why `best` came first among the candidates."""
    concrete = [c.synset for c in named.candidates if c.synset in around.concrete]
    if best not in around.concrete:
        return MatchRule.ABSTRACT_SENSE
    if len(named.candidates) == 1:
        return MatchRule.ONLY_SENSE
    if named.narrowed_by:
        return named.narrowed_by
    if [c.synset for c in named.candidates if c.synset in around.imagenet.shares] == [best]:
        return MatchRule.IN_IMAGENET
    return MatchRule.ONLY_CONCRETE_SENSE if concrete == [best] else MatchRule.LIKELIEST_SENSE


def _lemma_evidence(named: NamedSenses, best: Candidate, wordnet: WordNet) -> str:
    senses = wordnet.senses[best.lemma]
    read_as = "" if best.lemma == named.name.base else f" for '{named.name.base}'"
    place = f"sense {senses.index(best.synset) + 1} of {len(senses)} of" if len(senses) > 1 else "the only sense of"
    return f"{place} '{best.lemma}'{read_as} ({wordnet.lexicographer_files[best.synset]})"


def _ranking_evidence(difference: NDArray[np.float64], lead: float, runner_up: str) -> str:
    """Return the phrase for a lead over `runner_up`; `difference` is that of their features, shape (F,)."""
    shares = difference * _weights()
    reasons = [FEATURES[i] for i in np.argsort(-shares, kind="stable")[:2] if shares[i] > 0]
    because = f" because of: {', '.join(reasons)}" if reasons else ""
    return f"; {lead:.1f} ahead of {runner_up}{because}"


def _candidates(base: str, wordnet: WordNet, compounds: Mapping[str, tuple[str, ...]]) -> tuple[Candidate, ...]:
    """Return the senses of the lemmas that a parsed name may mean, those of the name as spelled first."""
    lemmas, spelled = _lemmas(base, wordnet, compounds)
    found: dict[int, Candidate] = {}
    for lemma in lemmas:
        for synset in wordnet.senses[lemma]:
            found.setdefault(synset, Candidate(synset, lemma, is_base_form=lemma != spelled))
    return tuple(found.values())


def _lemmas(base: str, wordnet: WordNet, compounds: Mapping[str, tuple[str, ...]]) -> tuple[tuple[str, ...], str]:
    """Return the lemmas of which the closest listed spelling may be a form, and that spelling."""
    forms = spellings(base)
    for form in forms:
        if lemmas := wordnet.base_forms(form):
            return lemmas, form
    for form in forms:
        for solid in base_forms(squashed(form), compounds, wordnet.exceptions):
            return compounds[solid], compounds[solid][0]
    return (), base


@functools.lru_cache(maxsize=1)
def _weights() -> NDArray[np.float64]:
    """Return the fitted weight of each feature, shape (F,)."""
    lines = (files("mlimages_dataset.vocab") / "data" / "matching.csv").read_text("utf-8").splitlines()
    weights = {row["feature"]: float(row["weight"]) for row in csv.DictReader(lines)}
    return np.array([weights[feature] for feature in FEATURES])


def _is_surname(candidate: Candidate, wordnet: WordNet) -> bool:
    """Return whether the sense is a named person found by one word: as class names, such words are brands or places."""
    person = wordnet.lexicographer_files[candidate.synset] == "noun.person"
    return person and is_individual(wordnet, candidate.synset) and " " not in candidate.lemma


def _lemmas_of_squashed(wordnet: WordNet) -> dict[str, tuple[str, ...]]:
    """Return the lemmas of each spelling without spaces and hyphens."""
    lemmas: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    for lemma in wordnet.senses:
        if len(solid := squashed(lemma)) >= _MIN_SQUASHED:
            lemmas[solid] += (lemma,)
    return dict(lemmas)


def _below(wordnet: WordNet, roots: Sequence[str]) -> frozenset[int]:
    """Return the numbers of the roots and of all synsets below them; roots that WordNet lacks are ignored."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for synset in range(len(wordnet)):
        for parent in wordnet.parents(synset):
            children[parent].append(synset)
    reached = {wordnet.index_of_wnid[root] for root in roots if root in wordnet.index_of_wnid}
    frontier = list(reached)
    while frontier:
        frontier = [child for synset in frontier for child in children[synset] if child not in reached]
        reached.update(frontier)
    return frozenset(reached)
