"""What a class name means in other collections that were read (`readings`), as evidence for the same name in a list."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlimages_dataset.vocab.normalisation import spellings
from mlimages_dataset.vocab.sense_features import Candidate, ancestors, is_individual

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from mlimages_dataset.vocab.matching import NamedSenses
    from mlimages_dataset.vocab.normalisation import ParsedName
    from mlimages_dataset.vocab.sense_features import Surroundings
    from mlimages_dataset.vocab.wordnet import WordNet

EVERYDAY = "everyday lists"
"""The source of names as people use them for photographs of their own, where WordNet alone misleads."""
_READ_SCORE, _READ_AGAIN, _MOST_READ = 3.0, 1.5, 3
"""What the sense of a name in one other collection is ahead by, and for each further one, up to three (decision 2)."""


@dataclass(frozen=True, slots=True)
class ReadElsewhere:
    """What a name means in other collections.

    Attributes:
        wnid: the synset.
        broader: the name is a kind of it.
        where: the collections.
    """

    wnid: str
    broader: bool
    where: tuple[str, ...]

    @property
    def evidence(self) -> str:
        """Where it means that, in words."""
        return f"so it was read in {', '.join(self.where)}"

    def score_in(self, emphasis: float) -> float:
        """Return what its sense is ahead by in a list whose density counts `emphasis` times.

        What was read for lists like users' own counts as much there as the list: a human beside animals is a person.
        """
        score = _READ_SCORE + _READ_AGAIN * (min(len(self.where), _MOST_READ) - 1)
        return score * (emphasis if EVERYDAY in self.where else 1)


def read_elsewhere(
    name: ParsedName, read: Mapping[ParsedName, ReadElsewhere], base_forms: Sequence[str] = ()
) -> ReadElsewhere | None:
    """Return what a name, however it is spelled, or else a base form of it means in other collections; None if none."""
    forms = (replace(name, base=form) for form in (*spellings(name.base), *base_forms))
    return next((read[form] for form in forms if form in read), None)


def synset_read(
    named: NamedSenses, read: Mapping[ParsedName, ReadElsewhere], around: Surroundings
) -> ReadElsewhere | None:
    """Return the synset that a name means in other collections, or is a kind of; None if it means none.

    Where the words in brackets say nothing of its senses, the name without them counts. That it is a kind of a synset
    says nothing where one of its senses is that, above it or below it, nor where it has several concrete senses: a
    tablet is a computer or a pill.
    """
    base_forms = [one.lemma for one in named.candidates]
    found = read_elsewhere(named.name, read, base_forms)
    if found is None and named.name.qualifier and not named.narrowed_by and not named.favoured:
        found = read_elsewhere(replace(named.name, qualifier=""), read, base_forms)
    if found is None or not found.broader:
        return found
    wordnet, senses = around.wordnet, [one.synset for one in named.candidates]
    synset = wordnet.index_of_wnid[found.wnid]
    there = ancestors(wordnet, synset)
    agrees = any(one in there or synset in ancestors(wordnet, one) for one in senses)
    things = [one for one in senses if one in around.concrete and not is_individual(wordnet, one)]
    return None if agrees or len(things) > 1 else found


def with_read(named: NamedSenses, read: ReadElsewhere, there: Collection[int], wordnet: WordNet) -> NamedSenses:
    """Return the class with the sense that was read elsewhere, or that it is a kind of, if WordNet has no such sense.

    A motorbike is a motorcycle, Felidae are felines, and a bengal is a cat. But a game is not the ball that collections
    of boxes mean by its name, and what agrees with words in brackets or a parent in the list needs no other sense.

    Args:
        named: the class.
        read: what its name means elsewhere.
        there: the synset that this is, and all above it: a candidate among them is the same or a broader sense.
        wordnet: the noun synsets.
    """
    acts = all(wordnet.lexicographer_files[one.synset] == "noun.act" for one in named.candidates)
    if named.narrowed_by or acts or any(one.synset in there for one in named.candidates):
        return named
    synset = wordnet.index_of_wnid[read.wnid]
    more = Candidate(synset, wordnet.lemmas[synset][0].lower(), is_base_form=False)
    candidates = (*named.candidates, more)
    return replace(named, candidates=candidates, allowed=candidates)


def kind_read(named: NamedSenses, read: ReadElsewhere, wordnet: WordNet) -> str:
    """Return in words that a name which is another thing in WordNet is a kind of what was read elsewhere."""
    other, broader = named.candidates[0].synset, wordnet.index_of_wnid[read.wnid]
    spelled = f"'{named.name.base}' is {wordnet.wnids[other]} ({wordnet.lemmas[other][0]}) in WordNet"
    return f"{spelled}, but a kind of {read.wnid} ({wordnet.lemmas[broader][0]}); {read.evidence}"
