"""Nouns of WordNet near a name that is none: slips of the pen, and the noun that a longer name is about."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rapidfuzz import process
from rapidfuzz.distance import OSA

from mlimages_dataset.vocab.hierarchy import ROOTS
from mlimages_dataset.vocab.normalisation import parse_name
from mlimages_dataset.vocab.sense_features import ancestors

if TYPE_CHECKING:
    from mlimages_dataset.vocab.wordnet import WordNet

_LETTERS_PER_SLIP = 3.5
"""Letters of a name for each that may be wrong, missing, too much or in the place of another."""
_MOST_SLIPS = 2
_WORDS_OF_ABSENCE = "no|not|never|none|nor|neither|nothing|nil|without|absent|lacking"
_NEGATIVE = f"{_WORDS_OF_ABSENCE}|zero|0|missing|lack|negative|false"
_NOT = re.compile(rf"\b(?:{_WORDS_OF_ABSENCE}|except|excluding|unless|(?:all|every\w*|any\w*) but)\b|\bnon[- ]?\S+$")
"""What says that something is not there; `non-` before an adjective (`non-stick pan`) says nothing of what follows."""
_NONE_OF = re.compile(
    r"^(?:missing|zero|0|negative) (?!(?:turn|gravity|waste|emission|(?:person|people|child|cat|dog|pet)s? "
    r"(?:poster|sign|notice|report))\b)|^false (?:positive|negative|alarm|detection)s?\b|^lack\b"
)
"""What says so at the beginning of a name alone: `missing safety vest`, but not `missing person poster`."""
_PROHIBITION = re.compile(
    r"^no[ -](?:\w+ing|entry|entrance|access|stopping|u[ -]turn|(?:left|right)[ -]turn|vehicle|pedestrian)s? "
    r"(?:sign|signal|symbol|zone|area|notice|poster|sticker|label)s?$"
)
"""Things that forbid: `no parking sign`; `no stop sign` is the absence of one."""
_THERE = "any|at all|here|there|is|present|seen|shown|visible|in|the|image|photo|picture"
_ONLY_NOT = re.compile(rf"(?:(?:{_NEGATIVE}|non|{_THERE})\b\W*)+")
"""Words that say nothing but that something is or is not there."""
_SOME_NEGATIVE = re.compile(rf"\b(?:{_NEGATIVE}|non)\b")
_EITHER = re.compile(r"\bor\b|/")
_MEASURE = re.compile(
    r"^(?:an? )?(?:bunch|bundle|chunk|cluster|couple|crowd|flock|group|heap|herd|pack|pair|piece|pile|row|set|slice"
    r"|stack)(?:e?s)? of "
)
"""What counts the things that the noun behind it names: a pair of sunglasses is sunglasses."""
_PREPOSITION = "of|with|without|in|on|at|for|from|by|near|under|over|behind"
_APART = re.compile(rf" (?:{_PREPOSITION}|inside|outside|holding|wearing) |, ")
"""What ends the noun that a longer name is about: `cup of tea`, `cat, domestic`."""
_NO_THING = re.compile(rf"^(?:{_PREPOSITION}|inside|outside) | (?:inside|outside|indoors|outdoors|in|out|on|off)$")
"""A name that is about a place or a state and no thing: `on rails`, `church inside`."""


def says_absence(words: str) -> bool:
    """Return whether words beside a name say only that the thing is not there: `dog (absent)`, `dog, none`.

    >>> says_absence("not present"), says_absence("no collar"), says_absence("visible")
    (True, False, False)
    """
    return bool(_ONLY_NOT.fullmatch(words)) and bool(_SOME_NEGATIVE.search(words))


def denies(name: str, wordnet: WordNet) -> bool:
    """Return whether a name that is no noun says what is not there."""
    parsed = parse_name(name)
    return says_absence(parsed.qualifier) or (_says_not(parsed.base) and not wordnet.base_forms(parsed.base))


def _says_not(name: str) -> bool:
    """Return whether a name without brackets says what is not there, and not only what is not beside it."""
    about, *rest = _APART.split(_MEASURE.sub("", name))
    denied = bool(_NONE_OF.search(about) or _NOT.search(about)) and not _PROHIBITION.match(about)
    return denied or any(map(says_absence, rest))


def near_misses(name: str, wordnet: WordNet, n: int = 3) -> tuple[tuple[str, str], ...]:
    """Return up to n nouns of WordNet that a name may be a slip of, the nearest first, each with a wnid below a root.

    They begin like the name. A name that is a noun itself has none, nor has one that says what is not there.
    """
    base = parse_name(name).base
    if wordnet.base_forms(base) or denies(name, wordnet):
        return ()
    most = min(int(len(base) / _LETTERS_PER_SLIP), _MOST_SLIPS)
    lemmas = [lemma for lemma in wordnet.senses if lemma[:1] == base[:1]] if most else []
    close = process.extract(base, lemmas, scorer=OSA.distance, limit=None, score_cutoff=most)
    roots = {wordnet.index_of_wnid[root] for root in ROOTS if root in wordnet.index_of_wnid}
    found = []
    for lemma, *_ in close:
        concrete = [synset for synset in wordnet.senses[lemma] if not roots.isdisjoint(ancestors(wordnet, synset))]
        if concrete:
            found.append((lemma, wordnet.wnids[concrete[0]]))
        if len(found) == n:
            break
    return tuple(found)


def head_of(name: str, wordnet: WordNet) -> str:
    """Return the longest end of a name, but the whole, that is a noun of WordNet; empty where there is none.

    In English the head of a compound stands last: a coffee mug is a mug; what follows a preposition or a comma belongs
    to it (`bottle of beer`), unless the first noun only counts (`bunch of grapes`). Words in brackets after a noun are
    its head too: what they contradict is of their kind (`Jaguar (car)`). A name that says what is not there has none
    (`no helmet`), nor has one that says which of several is (`dog or cat`).
    """
    parsed = parse_name(name)
    if says_absence(parsed.qualifier):
        return ""
    if parsed.qualifier and wordnet.base_forms(parsed.base):
        return parsed.qualifier if wordnet.base_forms(parsed.qualifier) else ""
    about = _APART.split(_MEASURE.sub("", parsed.base))[0]
    if _says_not(parsed.base) or _EITHER.search(about) or _NO_THING.search(parsed.base):
        return ""
    words = about.split(" ")
    ends = (" ".join(words[at:]) for at in range(about == parsed.base, len(words)))
    return next((end for end in ends if wordnet.base_forms(end)), "")
