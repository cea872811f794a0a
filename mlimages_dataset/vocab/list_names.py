"""Names that lists write in their own way, as dictionaries write them: `grizzly+bear`, `vehicle.car`, `sofa, couch`.

A name that is no noun of WordNet is read in another way if that is a noun. `Animal (Latin name)` is read as the species
where WordNet has it.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from mlimages_dataset.vocab.normalisation import parse_name, spellings
from mlimages_dataset.vocab.sense_features import ancestors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlimages_dataset.sources.classes import SourceClass
    from mlimages_dataset.vocab.wordnet import WordNet

_LEAST_SHARED = 3
"""Names of a list that end in the same number, so that it is none of the names: `watch-101`, `brain-101`."""
_NUMBER = re.compile(r"[-_ .]\d+$")
_PLUS = re.compile(r"(?<=\w\w)\+(?=\w\w)")
_BINOMIAL = re.compile(r"^.*\S\s*[(\[](?P<latin>[A-Z][a-z]+ [a-z]+)[)\]]$")
_SQUARE = re.compile(r"^(?P<name>.*\S)\s*\[(?P<words>[^\[\]]+)\]$")
_APART = re.compile(r"^(?P<name>[^()]*\S)(?: - |\s*: )(?P<words>\S[^()]*)$")
_PATH = re.compile(r"^(?:[\w-]+\.)*(?P<above>[\w-]{2,})\.(?P<name>[^\W\d][\w-]*)$")


def as_dictionaries_write(classes: Sequence[SourceClass], wordnet: WordNet) -> list[SourceClass]:
    """Return the classes of a list, with names under which WordNet may have them."""
    ends = Counter(end[0] for one in classes if (end := _NUMBER.search(one.name)))
    shared = tuple(end for end, n in ends.items() if n >= _LEAST_SHARED)

    def named(one: SourceClass) -> SourceClass:
        forms = _other_forms(one.name, shared, wordnet)
        return replace(one, name=next(forms, one.name))

    return [named(one) for one in classes]


def _other_forms(name: str, shared_ends: tuple[str, ...], wordnet: WordNet) -> Iterator[str]:
    """Yield the readings of a name that are nouns, the likeliest first."""
    if (species := _BINOMIAL.match(name)) and len(_senses(species["latin"], wordnet)) == 1:
        yield species["latin"]
    if _senses(parse_name(name).base, wordnet):
        return
    for end in shared_ends:
        name = name.removesuffix(end)
    name = _PLUS.sub(" ", name)
    if pair := _synonyms(name, wordnet):
        yield "{} ({})".format(*pair)
    if square := _SQUARE.match(name):
        name = f"{square['name']} ({square['words']})"
    elif apart := _APART.match(name):
        name = _qualified(apart["name"], apart["words"], wordnet)
    elif path := _PATH.match(name):
        name = f"{path['name']} ({path['above']})"
    if _senses(parse_name(name).base, wordnet):
        yield name


def _synonyms(name: str, wordnet: WordNet) -> tuple[str, str] | None:
    """Return two names of several that single out the sense which most of them have; None if none is shared."""
    senses = {part: _senses(part, wordnet) for part in re.split(r"\s*[,;/]\s*", name) if part}
    found = Counter(sense for of_part in senses.values() for sense in sorted(of_part))
    if not found or max(found.values()) == 1:
        return None
    (most, _), *_ = found.most_common(1)
    pairs = itertools.combinations([part for part, of_part in senses.items() if most in of_part], 2)
    return min(pairs, key=lambda pair: len(senses[pair[0]] & senses[pair[1]]))


def _qualified(first: str, second: str, wordnet: WordNet) -> str:
    """Return two parts of a name as the thing and, in brackets, what it is one of: `Spade: tool`, `animal: dog`."""
    below = {above for sense in _senses(second, wordnet) for above in ancestors(wordnet, sense)}
    if not below.isdisjoint(_senses(first, wordnet)):
        return f"{second} ({first})"
    return f"{first} ({second})"


def _senses(name: str, wordnet: WordNet) -> set[int]:
    """Return the synsets that a name has in any spelling."""
    forms = (form for spelling in spellings(parse_name(name).base) for form in wordnet.base_forms(spelling))
    return {sense for form in forms for sense in wordnet.senses[form]}
