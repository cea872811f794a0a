"""Nouns of WordNet near a name that is none: slips of the pen, and the noun that a longer name is about."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from rapidfuzz import process
from rapidfuzz.distance import OSA

from mlimages_dataset.vocab.hierarchy import ROOTS
from mlimages_dataset.vocab.normalisation import parse_name, spellings
from mlimages_dataset.vocab.sense_features import ancestors

if TYPE_CHECKING:
    from collections.abc import Sequence

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
_NO_THING_WORDS = re.compile(
    rf"(?:(?:{_NEGATIVE}|non|null|void|empty|blank|background|foreground|positive|neg|pos|neutral|normal|abnormal|ok|okay"
    r"|good|bad|valid|invalid|regular|irregular|anomaly|outlier|unknown|undefined|uncertain|other|others|misc|temp)\b\W*)+"
)
"""Names of classes that say whether, how well or how surely something is there, or where, but not what it is."""
_NOTHING_THERE = re.compile(rf"(?:(?:{_NEGATIVE}|null|void|empty|blank|background|neg)\b\W*)+")
_LOOKS = re.compile(
    r"(?:(?:and|or|very|small|tiny|little|medium|big|large|huge|tall|short|long|thick|thin|high|low|male|female|adult"
    r"|juvenile|immature|baby|young|old|new|used|fresh|clean|dirty|wet|dry|full|empty|open|closed|broken|black|white"
    r"|gr[ae]y|brown|red|green|blue|yellow|pink|purple|left|right|front|rear|back|side|top|bottom|good|bad|normal"
    r"|other|unknown|positive|regular)\b\W*)+"
)
"""Words that say how a thing looks, how old or of which sex it is, or from where it is seen, but not what it is."""
_LOOKS_LAST = re.compile(rf"(?<=\w) (?:{_LOOKS.pattern})$")
"""Such words behind a noun, as lists write them: a `banana red` is a banana, and a `car front` is of a car."""
_OF_AN_ANIMAL = re.compile(r"(?<=\w)(?: (?:male|female|adult|subadult|juvenile|immature))+$")
"""Words behind the name of an animal that say which of them are seen: a red fox juvenile is a red fox."""
_UNIT = (
    "ml|cl|dl|l|ltr|lit(?:er|re)s?|mg|g|gr|grams?|kg|kgs|kilos?|oz|fl ?oz|ounces?|lbs?|pounds?|pcs?|pieces?|packs?|pk"
    "|ct|count|mm|cm"
)
_AMOUNT = rf"(?:(?:\d+ ?x ?)?\d+(?:[.,/]\d+)? ?-?(?:{_UNIT})(?: ?x ?\d+)?|x ?\d+|\d+ ?x|(?:pack|box|case|set) of \d+)"
_AMOUNTS = re.compile(rf"{_AMOUNT}(?:[ ,-]+{_AMOUNT})*\.?")
_AMOUNT_BESIDE = re.compile(rf"^{_AMOUNTS.pattern} (?:of )?(?=\S)|(?<=\w)[ ,-]+{_AMOUNTS.pattern}$")
"""How much of a thing there is, before or behind its name: `500 g pasta`, `milk 1.5l`, `cola 6 x 330ml`."""
_FOOD, _BODY, _MADE = "noun.food", "noun.body", "noun.artifact"
_OF_A_BODY = frozenset({"noun.animal", "noun.location"})
_NO_FOODS = frozenset({_BODY, "noun.object", "noun.phenomenon", "noun.substance"})
"""Files of WordNet whose things are not made of what a food before their name says: a chicken nugget is no lump."""
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

_JOIN = re.compile(r"\s*[;&+|/]\s*|,(?=\S)|\s+(?:and|or)\s+")
"""What joins the names of several things: `dog & cat`, `cat;dog`."""
_COPY = re.compile(
    r"^copy (?:\(?\d+\)? )?of (?P<source>.*\S)$|^(?P<name>.*?[^\s_-])(?:[\s_]*-[\s_]*|[\s_]+)copy(?:[\s_]*\(?\d+\)?)?$",
    re.IGNORECASE,
)
"""How file managers name a copy: `cat - Copy (2)`, `cat copy`, `Copy of cat`."""
_NUMBER = re.compile(r"\W*\d+\W*")
_LETTER = re.compile(r"[^\W\d_]")
_NO_LETTERS = re.compile(r"[\W_]+")
_LONG_WORD, _SWAPPED_WORD = 6, 5
"""Letters of a word in which one that differs, or two in each other's place, are a slip and no other word."""
_LONG_NAME, _SHORT_NAME, _SHORTEST = 8, 5, 3
"""Letters of a name that one other letter leaves the same; below which it is another name with any slip; and below
which it is none."""
_DOUBLED = re.compile(r"(.)\1+")
_SOUNDS = ((re.compile("ph"), "f"), (re.compile("[aeiouy]"), ""), (_DOUBLED, r"\1"))
"""What leaves of a name the consonants that are heard, each once."""
_ENDINGS = ("ed", "ing", "ly", "y", "en", "ish", "ous", "ful", "less")
"""Endings of English words that are no nouns: `checked` is no slip of `checker`, nor `cloudy` of `cloud`."""


def says_absence(words: str) -> bool:
    """Return whether words beside a name say only that the thing is not there: `dog (absent)`, `dog, none`.

    >>> says_absence("not present"), says_absence("no collar"), says_absence("visible")
    (True, False, False)
    """
    return bool(_ONLY_NOT.fullmatch(words)) and bool(_SOME_NEGATIVE.search(words))


def says_nothing(name: str) -> bool:
    """Return whether a name says nothing of what is shown, though WordNet may have it: `negative` is no film here.

    >>> says_nothing("background"), says_nothing("not ok"), says_nothing("background music")
    (True, True, False)
    """
    return bool(_NO_THING_WORDS.fullmatch(name))


def says_nothing_is_there(name: str) -> bool:
    """Return whether a name of those that say nothing of what is shown says that nothing is: pictures were looked at.

    >>> [says_nothing_is_there(one) for one in ("background", "none", "empty", "no label", "unknown", "not ok")]
    [True, True, True, False, False, False]
    """
    return bool(_NOTHING_THERE.fullmatch(name))


def says_how(words: str) -> bool:
    """Return whether words in brackets say how a thing looks or how much it is, and nothing of the sense of its name.

    >>> says_how("small"), says_how("black and white"), says_how("2 x 330ml"), says_how("small of the back")
    (True, True, True, False)
    """
    return bool(_LOOKS.fullmatch(words) or _AMOUNTS.fullmatch(words))


def without_amount(name: str) -> str:
    """Return a parsed name without how much of it there is; a name that is nothing else as it is.

    >>> [without_amount(one) for one in ("milk 2l", "500 g pasta", "cola 6 x 330ml", "pack of 6 eggs", "boeing 747")]
    ['milk', 'pasta', 'cola', 'eggs', 'boeing 747']
    """
    plain = name
    while (shorter := _AMOUNT_BESIDE.sub("", plain)) != plain:
        plain = shorter
    return plain


def denies(name: str, wordnet: WordNet) -> bool:
    """Return whether a name that is no noun says what is not there."""
    parsed = parse_name(name)
    return says_absence(parsed.qualifier) or (_says_not(parsed.base) and not wordnet.base_forms(parsed.base))


def _says_not(name: str) -> bool:
    """Return whether a name without brackets says what is not there, and not only what is not beside it."""
    about, *rest = _APART.split(_MEASURE.sub("", name))
    denied = bool(_NONE_OF.search(about) or _NOT.search(about)) and not _PROHIBITION.match(about)
    return denied or any(map(says_absence, rest))


def joined(name: str, wordnet: WordNet) -> tuple[str, ...]:
    """Return the things that a name names, if it joins nouns and is none itself: (dog, cat) of `dog & cat`.

    Nouns that share a last word name one thing: a salt and pepper shaker.
    """
    base = parse_name(name).base
    parts = tuple(filter(None, _JOIN.split(base)))
    are_nouns = all(len(part) > 1 and wordnet.base_forms(part) for part in parts)
    if len(parts) < 2 or not are_nouns or _is_noun(base, wordnet):  # noqa: PLR2004 - two are joined
        return ()
    _, *words = parts[-1].split()
    shared = any(_is_noun(f"{part} {words[-1]}", wordnet) for part in parts[:-1] if words)
    return () if shared else parts


def original(name: str, wordnet: WordNet) -> str:
    """Return the noun that a name says it is a copy of, as file managers write copies; empty if it is none."""
    source = _copied(name)
    is_copy = bool(source) and not _is_noun(parse_name(name).base, wordnet)
    return source if is_copy and wordnet.base_forms(parse_name(source).base) else ""


def _copied(name: str) -> str:
    """Return the name that a name says it is a copy of, or of whose copy; empty if it says neither."""
    source = ""
    while found := _COPY.match(" ".join((source or name).split())):
        source = found["source"] or found["name"]
    return source


def _is_noun(base: str, wordnet: WordNet) -> bool:
    return any(map(wordnet.base_forms, spellings(base)))


def near_misses(name: str, wordnet: WordNet, n: int = 3) -> tuple[tuple[str, str], ...]:
    """Return up to n nouns of WordNet that a name may be a slip of, the nearest first, with the wnid of each.

    The wnid is empty where several senses of the noun lie below a root; nouns without any are left out. They begin like
    the name; numbers are no part of it. They sound like it, or differ from a long name in one letter. A name that is a
    noun itself has none, nor has one that says nothing or what is not there, joins several nouns, or is that of a copy.
    """
    base = parse_name(name).base
    if wordnet.base_forms(base) or says_nothing(base) or without_amount(base) != base:
        return ()
    if denies(name, wordnet) or joined(name, wordnet) or original(name, wordnet):
        return ()
    base = _NUMBER.sub(" ", base).strip()
    most = min(int(len(base) / _LETTERS_PER_SLIP), _MOST_SLIPS)
    if wordnet.base_forms(base):
        most = 0
    lemmas = wordnet.lemmas_of_letter.get(base[:1], [])
    close = process.extract(base, lemmas, scorer=OSA.distance, limit=None, score_cutoff=most)
    likely = (lemma for lemma, *_ in close if _may_be_meant(base, lemma, wordnet))
    found = ((lemma, senses) for lemma in likely if (senses := _concrete(lemma, wordnet)))
    return tuple(
        (lemma, wordnet.wnids[senses[0]] if len(senses) == 1 else "") for lemma, senses in itertools.islice(found, n)
    )


def _may_be_meant(base: str, noun: str, wordnet: WordNet) -> bool:
    """Return whether a name may be a slip of a noun that is near, and is no other word: inflected, or of a language.

    A noun of one word that names a person or place only is not meant.
    """
    plain = _NO_LETTERS.sub("", base)
    if plain == _NO_LETTERS.sub("", noun):
        return len(plain) >= _SHORTEST
    if len(plain) < _SHORT_NAME or (" " not in noun and _is_named(noun, wordnet)) or _is_inflected(base, noun):
        return False
    is_long = len(plain) >= _LONG_NAME and base[-2:] == noun[-2:] and OSA.distance(base, noun) == 1
    return is_long or _sounds(plain) == _sounds(_NO_LETTERS.sub("", noun))


def _is_inflected(word: str, noun: str) -> bool:
    return any(word.endswith(end) and not noun.endswith(end) and sorted(word) != sorted(noun) for end in _ENDINGS)


def _is_named(noun: str, wordnet: WordNet) -> bool:
    """Return whether all senses of a noun below a root are single persons, places or things."""
    return all(wordnet.instance_hypernyms[sense] for sense in _concrete(noun, wordnet))


def _sounds(word: str) -> str:
    """Return the first letter of a word and the consonants behind it that are heard.

    >>> _sounds("elefant") == _sounds("elephant"), _sounds("girrafe") == _sounds("giraffe")
    (True, True)
    """
    heard = word[1:]
    for letters, sound in _SOUNDS:
        heard = letters.sub(sound, heard)
    return word[:1] + heard


def _concrete(lemma: str, wordnet: WordNet) -> list[int]:
    """Return the senses of a lemma that lie below a root."""
    roots = {wordnet.index_of_wnid[root] for root in ROOTS if root in wordnet.index_of_wnid}
    return [synset for synset in wordnet.senses[lemma] if not roots.isdisjoint(ancestors(wordnet, synset))]


def has_concrete_sense(name: str, wordnet: WordNet) -> bool:
    """Return whether a noun has a sense that lies below a root and has kinds, so that it can be a parent."""
    return not all(_is_named(lemma, wordnet) for lemma in wordnet.base_forms(parse_name(name).base))


def food_sense(name: str, head: str, wordnet: WordNet) -> str:
    """Return the wnid of the food that a part of the body is behind a food's name; empty if it is none, or several.

    >>> from mlimages_dataset.vocab.wordnet import load_wordnet
    >>> load_wordnet().name(load_wordnet().index_of_wnid[food_sense("lamb leg", "leg", load_wordnet())])
    'leg'
    """
    before = parse_name(name).base.removesuffix(head).split()
    of = _files(before[-1], wordnet) if before else set()
    if _FOOD not in of or _MADE in of or _BODY not in _files(head, wordnet):  # a coffee cup is no punch
        return ""
    senses = {one for lemma in wordnet.base_forms(head) for one in _concrete(lemma, wordnet)}
    foods = [one for one in senses if wordnet.lexicographer_files[one] == _FOOD]
    return wordnet.wnids[foods[0]] if len(foods) == 1 else ""


def _files(noun: str, wordnet: WordNet) -> set[str]:
    """Return the files of WordNet in which the senses of a noun below a root are."""
    senses = (sense for lemma in wordnet.base_forms(noun) for sense in _concrete(lemma, wordnet))
    return {wordnet.lexicographer_files[sense] for sense in senses}


def _fits(words: Sequence[str], wordnet: WordNet) -> bool:
    """Return whether the noun behind a first word can be of it: no lump of metal is of chicken, nor a chest."""
    head = _files(" ".join(words[1:]), wordnet)
    others = _NO_FOODS | _OF_A_BODY if _BODY in head else _NO_FOODS
    return not (head and head <= others and _FOOD in _files(words[0], wordnet))


def likely_slip(name: str, near: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Return the one of the `near_misses` of a name that it is surely a slip of; two empty texts if there is none.

    Each word of the name is a word of that noun, but for two letters that are swapped, one of a long word that is
    doubled, or a doubled one or a vowel too few, or any other one within a longer word.
    """
    base = parse_name(name).base
    slips = [one for one in near if _slips_only(base, one[0])]
    return slips[0] if len(slips) == 1 else ("", "")


def _slips_only(base: str, noun: str) -> bool:
    words, meant = base.split(" "), noun.split(" ")
    pairs = [(a, b) for a, b in zip(words, meant, strict=False) if a != b]
    return bool(pairs) and len(words) == len(meant) and all(_is_slip(a, b) for a, b in pairs)


def _is_slip(word: str, meant: str) -> bool:
    swapped = sorted(word) == sorted(meant)
    is_long = max(len(word), len(meant)) >= (_SWAPPED_WORD if swapped else _LONG_WORD)
    within = swapped or word[-1] == meant[-1]
    is_doubled = len(word) > len(meant) and _DOUBLED.sub(r"\1", word) == _DOUBLED.sub(r"\1", meant)
    alike = is_doubled or (len(word) < len(meant) and _sounds(word) == _sounds(meant))
    longer = len(word) >= _LONG_NAME and word[-2:] == meant[-2:]
    is_slip = is_long and within and (swapped or alike or longer)
    return is_slip and word.isalpha() and OSA.distance(word, meant) == 1


def head_of(name: str, wordnet: WordNet) -> str:
    """Return the longest end of a name, but the whole, that is a noun of WordNet; empty where there is none.

    In English the head of a compound stands last: a coffee mug is a mug; what follows a preposition or a comma belongs
    to it (`bottle of beer`), unless the first noun only counts (`bunch of grapes`). Words in brackets after a noun are
    its head too: what they contradict is of their kind (`Jaguar (car)`). A name that says what is not there has none
    (`no helmet`), nor has one that names several things (`dog or cat`). That of a copy is what it is a copy of.
    """
    if noun := original(name, wordnet):
        return parse_name(noun).base
    if joined(name, wordnet):
        return ""
    parsed = parse_name(_copied(name) or name)
    if says_absence(parsed.qualifier):
        return ""
    if parsed.qualifier and wordnet.base_forms(parsed.base):
        return parsed.qualifier if wordnet.base_forms(parsed.qualifier) else ""
    about = _APART.split(_MEASURE.sub("", without_amount(parsed.base)))[0]
    seen = _LOOKS_LAST.sub("", _OF_AN_ANIMAL.sub("", about))
    about = about if says_how(seen) else seen
    if _says_not(parsed.base) or _EITHER.search(about) or _NO_THING.search(parsed.base):
        return ""
    words = about.split(" ")
    return _noun_at_end(words, int(about == parsed.base), wordnet)


def _noun_at_end(words: Sequence[str], first: int, wordnet: WordNet) -> str:
    """Return the longest end that is a noun, from a word on; empty if none is, or none fits the food before."""
    for at in range(first, len(words)):
        end = " ".join(words[at:])
        if _LETTER.search(end) and wordnet.base_forms(end):
            return end if at == 0 or _fits(words[at - 1 :], wordnet) else ""
    return ""
