"""The least certain matches of users' own lists, each with the lines of a reviewed file that settle it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlimages_dataset.vocab.vocabulary import NARROWER, SAID_BY_LIST, MappingRow, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlimages_dataset.vocab.merging import ClassList
    from mlimages_dataset.vocab.wordnet import WordNet

SURE = 0.8
"""Probability from which on a match is not told."""
SHOWN = 5
_LEMMAS = 3
_AS_PARENT = frozenset({*NARROWER, *NARROWER.values()})


@dataclass(frozen=True, slots=True)
class Doubt:
    """A match that may be wrong.

    Attributes:
        source: its list.
        source_id: its id there.
        name: its name there.
        wnid: the synset that it was taken for.
        as_parent: it was taken for a kind of that synset, not for the synset.
        meaning: that synset in words.
        second: the second choice; empty if there is none.
        second_meaning: the second choice in words.
        probability: that the match is right.
        settles: lines of a reviewed file (TOML) that confirm the match.
    """

    source: str
    source_id: str
    name: str
    wnid: str
    as_parent: bool
    meaning: str
    second: str
    second_meaning: str
    probability: float
    settles: str

    @property
    def sentence(self) -> str:
        """What the class was taken for, how sure that is, and what else it may mean."""
        named = repr(self.name or self.source_id)
        other = f"; the second choice is {self.second} ({self.second_meaning})" if self.second else ""
        kind = "a kind of " if self.as_parent else ""
        return f"{named} is taken for {kind}{self.wnid} ({self.meaning}), {_percent(self.probability)} sure{other}"


@dataclass(frozen=True, slots=True)
class Doubts:
    """The doubtful matches of one list.

    Attributes:
        source: the list.
        doubtful: matches that are less sure than `SURE`.
        matches: classes of the list that became a category by their name.
        least: the least certain ones, the least certain first.
    """

    source: str
    doubtful: int
    matches: int
    least: tuple[Doubt, ...]

    @property
    def sentence(self) -> str:
        """How many matches are doubtful, and which the least certain are."""
        first = "; ".join(one.sentence for one in self.least)
        more = self.doubtful - len(self.least)
        others = f"; and {more:,} more: the column probability of the mapping has all" if more > 0 else ""
        return f"{self._counted}, the least sure first: {first}{others}"

    @property
    def _counted(self) -> str:
        return f"{self.doubtful:,} of {self.matches:,} matches of names are less than {_percent(SURE)} sure"

    def lines(self) -> list[str]:
        """Return the doubtful matches, and the lines that settle them."""
        told = f"{self.source}: {self._counted}; the column probability of the mapping has all"
        settled = (
            "To settle them, put these lines into a reviewed file (--reviewed of vocab, or reviewed in a recipe); "
            "where the second choice is meant, delete the lines of the first, and the signs # before those of the "
            "second:"
        )
        blocks = [line for one in self.least for line in ("", *one.settles.splitlines())]
        return [told, *(f"  {one.sentence}" for one in self.least), settled, *blocks, ""]


def doubts(vocabulary: Vocabulary, lists: Sequence[ClassList], network: WordNet) -> tuple[Doubts, ...]:
    """Return the least certain matches of each of users' own lists that has any."""
    found = []
    for one in lists:
        rows = [
            row
            for row in vocabulary.mapping
            if one.own and row.source == one.source and row.is_kept and not _is_said(row)
        ]
        doubtful = sorted((row for row in rows if row.probability < SURE), key=lambda row: row.probability)
        if doubtful:
            least = tuple(_doubt(row, vocabulary, network) for row in doubtful[:SHOWN])
            found.append(Doubts(one.source, len(doubtful), len(rows), least))
    return tuple(found)


def _is_said(row: MappingRow) -> bool:
    """Return whether a list says itself what a class means; what a noun in its column `parent` means may be unsure."""
    return row.rule in SAID_BY_LIST and not (row.rule in _AS_PARENT and row.probability < SURE)


def _doubt(row: MappingRow, vocabulary: Vocabulary, network: WordNet) -> Doubt:
    as_parent = row.rule in _AS_PARENT
    wnid = row.wnid
    while wnid not in network.index_of_wnid:  # a category of its own: the synset above it
        wnid = vocabulary.categories[vocabulary.categories[vocabulary.index_of_wnid[wnid]].parent].wnid
    others = () if as_parent else row.alternatives
    second = others[0] if others else ""
    meaning, other = _meaning(wnid, network), _meaning(second, network) if second else ""
    return Doubt(
        source=row.source,
        source_id=row.source_id,
        name=row.source_name,
        wnid=wnid,
        as_parent=as_parent,
        meaning=meaning,
        second=second,
        second_meaning=other,
        probability=row.probability,
        settles=_settling(row, wnid, meaning, (second, other)),
    )


def _settling(row: MappingRow, wnid: str, meaning: str, second: tuple[str, str]) -> str:
    """Return the table of a reviewed file that decides a class, with the lines of the second choice as comments."""
    table = "match_parent" if row.rule in _AS_PARENT else "match"
    named = {"source": row.source, "source_id": row.source_id}
    other = [f"# {line}" for line in _assigned({"wnid": second[0], "reason": second[1]})] if second[0] else []
    return "\n".join([f"[[{table}]]", *_assigned(named), *_assigned({"wnid": wnid, "reason": meaning}), *other])


def _assigned(values: Mapping[str, str]) -> list[str]:
    return [f"{key} = {_quoted(value)}" for key, value in values.items()]


def _quoted(text: str) -> str:
    """Return a text as a TOML string, which has JSON's escapes and one more."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _meaning(wnid: str, network: WordNet) -> str:
    """Return a synset's first lemmas, and that of the one above it, which tells senses of one word apart."""
    synset = network.index_of_wnid[wnid]
    above = network.first_parents[synset]
    return ", ".join(network.lemmas[synset][:_LEMMAS]) + (
        f", a kind of {network.lemmas[above][0]}" if above >= 0 else ""
    )


def _percent(share: float) -> str:
    return f"{math.floor(100 * share)} %"
