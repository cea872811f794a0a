"""What the words in brackets after a name say of its senses: `Mouse (computer mouse)`, `Bus (vehicle)`, `Jaguar (car)`.

A sense agrees with them if they name it or something above it, or if one of its synonyms has a word of theirs. Where
none does, senses agree whose parents, then whose ancestors have such a word, then parts of bodies with one (`Palm
(hand)`). Before all but the first of these, the words and the name together may be a noun for a kind of its senses:
`Racket (tennis)`. If no sense agrees, those of the same lexicographer file are likelier, but no more than that: a horse
(cage) is no gymnastic horse, though both are artifacts. If there is none either and the words name one thing of another
kind, they contradict the name, unless they say where, when or with what it is met (`Giraffe (zoo)`, `Groom (horses)`).
Words that say how it looks (`Dog (small)`, `near_names.says_how`) say nothing of its senses.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlimages_dataset.vocab.sense_features import ancestors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mlimages_dataset.vocab.sense_features import Candidate
    from mlimages_dataset.vocab.wordnet import WordNet

_LEAST_STEM = 4
"""Letters of a word in brackets that begins a word of a synonym (`music`, `musical`)."""
_KINDS = frozenset({"noun.animal", "noun.artifact", "noun.body", "noun.food", "noun.plant"})
"""Lexicographer files of what has a shape of its own."""
_BODY = "noun.body"
"""The lexicographer file of parts of bodies."""
_MADE = ("n06566077", "n06282651", "n06589574", "n06613686", "n08058098", "n08246613")
"""Software, language, publication, film, company, band: what is often named after an animal or a plant."""
_PLACES = ("n04341686", "n03315023", "n00027167")
"""Structure, facility, location: where a thing is met."""


def agreeing(
    candidates: Sequence[Candidate], name: str, words: str, meant: Sequence[Candidate], wordnet: WordNet
) -> tuple[Candidate, ...]:
    """Return the senses of a name that agree with the words in brackets after it.

    Args:
        candidates: the senses of the name.
        name: the name before the brackets.
        words: those in brackets.
        meant: the senses that the words have themselves, the likeliest first; may be empty.
        wordnet: the noun synsets.
    """
    synsets = {one.synset for one in meant}
    above = {one.synset: ancestors(wordnet, one.synset) for one in candidates}
    tiers: tuple[Callable[[int], bool], ...] = (
        lambda one: not above[one].isdisjoint(synsets) or _have_a_word([one], words, name, wordnet),
        lambda one: _have_a_word(wordnet.parents(one), words, name, wordnet),
        lambda one: _have_a_word(above[one], words, name, wordnet),
        lambda one: bool(meant) and _file(one, wordnet) == _file(meant[0].synset, wordnet) == _BODY,
    )
    for agrees in tiers:
        if found := tuple(one for one in candidates if agrees(one.synset)):
            return found
    return ()


def of_the_file(candidates: Sequence[Candidate], meant: Sequence[Candidate], wordnet: WordNet) -> tuple[Candidate, ...]:
    """Return the senses of a name in the lexicographer file of the likeliest sense that the words in brackets have."""
    file = _file(meant[0].synset, wordnet) if meant else ""
    return tuple(one for one in candidates if _file(one.synset, wordnet) == file)


def are_below(candidates: Iterable[Candidate], meant: Iterable[Candidate], wordnet: WordNet) -> bool:
    """Return whether a sense of a name is one that the words in brackets have, or below it."""
    synsets = {one.synset for one in meant}
    return any(not ancestors(wordnet, one.synset).isdisjoint(synsets) for one in candidates)


def contradict(meant: Sequence[Candidate], wordnet: WordNet) -> bool:
    """Return whether words in brackets with which no sense agrees say that the name means none of them."""
    if not meant or meant[0].is_base_form:
        return False
    above = ancestors(wordnet, meant[0].synset)
    if _file(meant[0].synset, wordnet) in _KINDS:
        return above.isdisjoint(_numbers(_PLACES, wordnet))
    return not above.isdisjoint(_numbers(_MADE, wordnet))


def _have_a_word(synsets: Iterable[int], words: str, name: str, wordnet: WordNet) -> bool:
    """Return whether a lemma of the synsets has a word that is none of the name and that a word in brackets begins."""
    beginnings = tuple(word for word in re.findall(r"\w+", words) if len(word) >= _LEAST_STEM)
    theirs = {word for s in synsets for lemma in wordnet.lemmas[s] for word in re.findall(r"\w+", lemma.lower())}
    return any(word.startswith(beginnings) for word in theirs - set(name.split()))


def _file(synset: int, wordnet: WordNet) -> str:
    return wordnet.lexicographer_files[synset]


def _numbers(wnids: Iterable[str], wordnet: WordNet) -> set[int]:
    return {wordnet.index_of_wnid[wnid] for wnid in wnids if wnid in wordnet.index_of_wnid}
