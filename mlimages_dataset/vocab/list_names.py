"""Names that lists write in their own way, as dictionaries write them: `grizzly+bear`, `vehicle.car`, `sofa, couch`.

A name that is no noun of WordNet is read in another way if that is a noun. What only some names of a list could mean by
accident (dots, plus signs, one number at the end) is read so if several of its names are written alike, and numbers
that count the classes (`001.Bobolink`, `class_02_cat`, `dog_3`) if most of its names have one.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from mlimages_dataset.vocab.certainty import single
from mlimages_dataset.vocab.elsewhere import read_elsewhere
from mlimages_dataset.vocab.matching import MatchRule, match_classes
from mlimages_dataset.vocab.near_names import denies, head_of
from mlimages_dataset.vocab.normalisation import parse_name, spellings, without_shelf
from mlimages_dataset.vocab.sense_features import ancestors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mlimages_dataset.sources.classes import SourceClass
    from mlimages_dataset.vocab.matching import Match, MatchContext
    from mlimages_dataset.vocab.wordnet import WordNet

_LEAST_ALIKE = 3
"""Names of a list that are written alike."""
_COUNTED = re.compile(r"^(?P<before>[A-Za-z]*[-_ ]?)(?P<number>\d+)(?P<after>[._):-]+ ?| (?=\S))(?P<name>[^\W\d].*)$")
_COUNTS_LAST = re.compile(r"^(?P<name>.*[^\W\d])[-_ ](?P<number>\d+)$")
_SPARSE = 2
"""Numbers at the end count a list's names if they span less than this times as many: `boeing-747` is no count."""
_KNOWN_SHARE = 0.5
"""Share of names that are English nouns, or end in one, up to which all matches of a list are unsure."""
_LEAST_NAMES = 5
"""Names of a list of which such a share says something."""
_NUMBER = re.compile(r"[-_ ]\d+$")
_PLUS = re.compile(r"(?<=\w\w)\+(?=\w\w)")
_PATH = re.compile(r"^(?P<top>[\w-]{2,})\.(?:[\w-]+\.)*(?P<name>[^\W\d][\w-]*)$")
_SIDE = re.compile(r"^(?P<name>.*\w)[/_ -](?P<side>indoor|outdoor)$", re.IGNORECASE)
_SPECIES = re.compile(r"^(?P<name>.*\S)\s*[(\[](?P<latin>[A-Z][a-z]+ [a-z]+)[)\]]$")
_LATIN = re.compile(r"[A-Z][a-z]+ [a-z]+")
_WORDS = re.compile(r"[^\W\d_]{2,}(?:[ _-][^\W\d_]{2,})+")
_SQUARE = re.compile(r"^(?P<name>.*\S)\s*\[(?P<words>[^\[\]]+)\]$")
_APART = re.compile(r"^(?P<first>[^()]*\S)(?: - |\s*: )(?P<second>\S[^()]*)$")


def matches_of_list(
    classes: Sequence[SourceClass], context: MatchContext, decided: Mapping[str, str]
) -> dict[str, Match]:
    """Return the match of each class by source_id; its class has the name as it was read.

    Args:
        classes: of one list, each id once.
        context: evidence besides the names.
        decided: wnids of the list's other classes by source_id, known without matching.
    """
    named = _with_species(_as_scenes(classes), context.wordnet)
    found = {match.source_class.source_id: match for match in match_classes(named, context, decided)} if named else {}
    lost = [one for one in named if found[one.source_id].rule is MatchRule.NOT_IN_WORDNET]
    names = _as_dictionaries_write([one.name for one in lost], [one.name for one in classes], context.wordnet)
    again = [replace(one, name=name) for one, name in zip(lost, names, strict=True) if name != one.name]
    if again:
        meant = {**decided, **{source_id: match.wnid for source_id, match in found.items() if match.wnid}}
        found |= {match.source_class.source_id: match for match in match_classes(again, context, meant)}
    return _doubted(found, context)


def _doubted(found: Mapping[str, Match], context: MatchContext) -> dict[str, Match]:
    """Return the matches of a list, none surer than the share of its names that are nouns, where that is small.

    The list is then of another language (a `Hut` is a hat), or its names are those of models and brands. Most
    names of several words mean the same in these too.
    """
    strange = sum(
        match.rule is MatchRule.NOT_IN_WORDNET and not head_of(match.source_class.name, context.wordnet)
        for match in found.values()
    )
    known = 1 - strange / max(len(found), 1)
    if len(found) < _LEAST_NAMES or known > _KNOWN_SHARE:
        return dict(found)
    told = f"; {strange} of {len(found)} names of the list are no English nouns"
    return {
        source_id: match
        if _is_clear(match, context)
        else replace(match, probability=single(min(match.probability, known)), evidence=match.evidence + told)
        for source_id, match in found.items()
    }


def _is_clear(match: Match, context: MatchContext) -> bool:
    """Return whether the name of a match has several words, which mean that in any list.

    They are the scientific name of a species, or were read so in other collections, or have one sense and not only
    capitals at the beginning, as those of models have (the aeroplane `Tiger Moth`).
    """
    name = match.source_class.name
    if match.wnid is None or not _WORDS.fullmatch(name):
        return False
    read = read_elsewhere(parse_name(name), context.read)
    if read is not None and read.wnid == match.wnid and not read.broader:
        return True
    words = re.split(r"[ _-]", name)
    is_spelled_so = any(word.islower() for word in words[1:]) or _is_species(
        " ".join(words), match.wnid, context.wordnet
    )
    return match.rule is MatchRule.ONLY_SENSE and is_spelled_so


def _is_species(name: str, wnid: str, wordnet: WordNet) -> bool:
    """Return whether a name, in any case, is the scientific one of an animal or a plant."""
    synset = wordnet.index_of_wnid[wnid]
    latin = [one.casefold() for one in wordnet.lemmas[synset] if _LATIN.fullmatch(one)]
    return wordnet.lexicographer_files[synset] in {"noun.animal", "noun.plant"} and name.casefold() in latin


def _as_scenes(classes: Sequence[SourceClass]) -> list[SourceClass]:
    """Return classes whose names are without what lists of scenes add, where several have it.

    That is the first letter (`/a/abbey`), and words behind a stroke (`/c/church/indoor`) or the side that is seen
    (`church-indoor`), which come into brackets.
    """
    plain: list[str] = [one.name for one in classes]
    for read in (without_shelf, _with_side):
        changed = [read(name) for name in plain]
        if sum(new != old for new, old in zip(changed, plain, strict=True)) >= _LEAST_ALIKE:
            plain = changed
    return [replace(one, name=name) for one, name in zip(classes, plain, strict=True)]


def _with_side(name: str) -> str:
    return f"{found['name']} ({found['side']})" if (found := _SIDE.match(name)) else name


def _with_species(classes: Iterable[SourceClass], wordnet: WordNet) -> list[SourceClass]:
    """Return classes of which those with a species in brackets have its name: `Red Fox (Vulpes vulpes)`.

    The name before the brackets, or its head, must mean something above the species: `oak leaf (Quercus robur)` is a
    leaf.
    """
    return [replace(one, name=_species(one.name, wordnet) or one.name) for one in classes]


def _species(name: str, wordnet: WordNet) -> str:
    found = _SPECIES.match(name)
    if found is None:
        return ""
    base = parse_name(found["name"]).base
    named = _senses(base, wordnet) or _senses(head_of(base, wordnet), wordnet)
    # WordNet writes scientific names, and no others of two words like these, with one capital.
    synsets = [one for one in _senses(found["latin"], wordnet) if found["latin"] in wordnet.lemmas[one]]
    fits = len(synsets) == 1 and not named.isdisjoint(ancestors(wordnet, synsets[0]))
    return found["latin"] if fits else ""


def _as_dictionaries_write(names: Sequence[str], every: Sequence[str], wordnet: WordNet) -> list[str]:
    """Return how some names of a list, which are no nouns as they stand, can be read as nouns; as they are if not.

    Args:
        names: some names of the list.
        every: all of them.
        wordnet: the noun synsets.
    """
    ends = _alike(end[0] for name in every if (end := _NUMBER.search(name)))
    uncounted = _uncounted(every)
    tops = _alike(path["top"] for name in every if (path := _PATH.match(name)))
    joined = sum(bool(_PLUS.search(name)) for name in every) >= _LEAST_ALIKE

    def read(name: str) -> str:
        plain = uncounted.get(name, name)
        if denies(plain, wordnet):
            return name
        if (end := _NUMBER.search(name)) and end[0] in ends:
            plain = name.removesuffix(end[0])
        if joined:
            plain = _PLUS.sub(" ", plain)
        if (path := _PATH.match(plain)) and path["top"] in tops:
            plain = _of_kind(path["name"], plain.split(".")[-2::-1], wordnet) or path["name"]
        plain = _synonym(plain, wordnet) or _bracketed(plain, wordnet)
        return plain if _senses(parse_name(plain).base, wordnet) else name

    return [read(name) for name in names]


def _uncounted(every: Sequence[str]) -> dict[str, str]:
    """Return the names of a list without the numbers that count its classes, where most of them are written alike.

    Numbers at the end count if they are nearly in a row. A blank or a hyphen alone ends those at the beginning only if
    one begins with 0 (`04 cow`): `3 cats` may be three.
    """
    first = [found for name in every if (found := _COUNTED.match(name))]
    alike: dict[tuple[str, str], list[re.Match[str]]] = {}
    for found in first:
        alike.setdefault((found["before"].lower(), found["after"]), []).append(found)
    for (before, after), counted in alike.items():
        plain = before or after not in {" ", "-"} or any(found["number"].startswith("0") for found in counted)
        if plain and _count(counted, len(every)):
            return {found[0]: found["name"] for found in counted}
    last = [found for name in every if (found := _COUNTS_LAST.match(name))]
    numbers = [int(found["number"]) for found in last]
    in_a_row = bool(last) and max(numbers) - min(numbers) < _SPARSE * len(last)
    return {found[0]: found["name"] for found in last} if in_a_row and _count(last, len(every)) else {}


def _count(counted: Sequence[re.Match[str]], n_names: int) -> bool:
    """Return whether the numbers of some names count the names of a list: most have one, and no two have the same."""
    numbers, names = {int(found["number"]) for found in counted}, {found["name"].lower() for found in counted}
    return len(numbers) == len(names) == len(counted) >= max(_LEAST_ALIKE, n_names / 2)


def _alike(written: Iterable[str]) -> set[str]:
    return {one for one, n in Counter(written).items() if n >= _LEAST_ALIKE}


def _synonym(name: str, wordnet: WordNet) -> str:
    """Return `sofa (couch)` of `sofa, couch, lounge`: the two nouns that single out the sense of all, or nothing."""
    senses = {part: found for part in re.split(r"\s*[,;/]\s*", name) if (found := _senses(part, wordnet))}
    pairs = itertools.combinations(senses, 2) if senses and set.intersection(*senses.values()) else ()
    least = min(pairs, key=lambda pair: len(senses[pair[0]] & senses[pair[1]]), default=())
    return "{} ({})".format(*least) if least else ""


def _bracketed(name: str, wordnet: WordNet) -> str:
    """Return `bank (building)` of `bank [building]`, and `dog (animal)` of `dog - animal` and `animal: dog`."""
    if square := _SQUARE.match(name):
        return f"{square['name']} ({square['words']})"
    if apart := _APART.match(name):
        first, second = apart.group("first", "second")
        return _of_kind(first, [second], wordnet) or _of_kind(second, [first], wordnet) or name
    return name


def _of_kind(name: str, kinds: Iterable[str], wordnet: WordNet) -> str:
    """Return a name with the first of some nouns in brackets that means something above it; empty if none does."""
    above = {one for sense in _senses(name, wordnet) for one in ancestors(wordnet, sense)}
    return next((f"{name} ({kind})" for kind in kinds if not above.isdisjoint(_senses(kind, wordnet))), "")


def _senses(name: str, wordnet: WordNet) -> set[int]:
    """Return the synsets that a name has in any spelling."""
    forms = (form for spelling in spellings(parse_name(name).base) for form in wordnet.base_forms(spelling))
    return {sense for form in forms for sense in wordnet.senses[form]}
