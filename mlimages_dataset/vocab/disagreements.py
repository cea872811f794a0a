"""Names and ids of users' own classes that disagree.

Ids share a name, or a name has another's wnid, such as `n01631663 zebra`, which is WordNet's eft. Name and wnid
disagree if the name is a noun of WordNet 3.0 and no sense of it is the synset, or above or below it. One such
class is a slip. If most classes of a list disagree, or their wnids are no nouns at all, the wnids are those of another
version of WordNet: 3.1 gives the same nouns other offsets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlimages_dataset.vocab.elsewhere import read_elsewhere
from mlimages_dataset.vocab.normalisation import ParsedName, parse_name, spellings
from mlimages_dataset.vocab.readings import packaged_readings
from mlimages_dataset.vocab.vocabulary import REVIEWED_RULES, SAID_BY_LIST, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlimages_dataset.vocab.merging import ClassList
    from mlimages_dataset.vocab.vocabulary import MappingRow, Vocabulary
    from mlimages_dataset.vocab.wordnet import WordNet

_SHOWN, _SHOWN_IDS = 10, 3
_LEAST = 3
"""Disagreeing classes of a list that make another version likely, if they are most of it."""
_STATED = frozenset({Rule.LISTED_WNID.value, Rule.WNID.value, Rule.DROPPED_UNKNOWN_ID.value})


def disagreements(vocabulary: Vocabulary, lists: Sequence[ClassList], network: WordNet) -> tuple[tuple[str, str], ...]:
    """Return the lists whose names and wnids disagree, each with a sentence."""
    told: list[tuple[str, str]] = []
    for one in lists:
        rows = _rows(vocabulary, one.source) if one.own else []
        sentences = (*_of_list(rows, network), *_of_one_name(rows), *_of_synsets(one, network))
        told += [(one.source, sentence) for sentence in sentences]
    return tuple(told)


def _rows(vocabulary: Vocabulary, source: str) -> list[MappingRow]:
    return [row for row in vocabulary.mapping if row.source == source]


def _of_one_name(rows: Sequence[MappingRow]) -> Iterator[str]:
    """Yield a sentence for each name that several classes have of which the list does not say what they mean."""
    named: dict[tuple[ParsedName, int], list[MappingRow]] = {}
    for row in rows:
        if row.is_kept and row.source_name and row.rule not in SAID_BY_LIST | REVIEWED_RULES:
            named.setdefault((parse_name(row.source_name), row.class_index), []).append(row)
    repeated = [one for one in named.values() if len(one) > 1]
    for same in repeated[:_SHOWN]:
        more = f" and {len(same) - _SHOWN_IDS:,} more" if len(same) > _SHOWN_IDS else ""
        ids = (", " if more else " and ").join(row.source_id for row in same[:_SHOWN_IDS]) + more
        name = repr(same[0].source_name)
        yield f"{ids} have one name, {name}, and are one category: write what each means into the column wnid"
    if len(repeated) > _SHOWN:
        yield f"{len(repeated) - _SHOWN:,} more names have several ids each"


def _of_synsets(one: ClassList, network: WordNet) -> Iterator[str]:
    """Yield sentences on names of synsets (`cat.n.01`) that mean nothing, or something else than the wnid beside."""
    named = [(row, network.wnid_of_name(row.synset)) for row in one.classes if one.own and row.synset]
    unknown = [row for row, wnid in named if not wnid and not row.wnid]
    if unknown:
        classes = "class names" if len(unknown) == 1 else "classes name"
        yield (
            f"{len(unknown):,} {classes} a synset that is no noun of WordNet 3.0, such as {unknown[0].synset!r} of "
            f"{unknown[0].source_id!r}: what else the list says decides, or the name"
        )
    different = [(row, wnid) for row, wnid in named if row.wnid and wnid and row.wnid != wnid]
    for row, wnid in different[:_SHOWN]:
        yield f"{row.source_id!r} is {row.wnid}, but its synset {row.synset!r} is {wnid}: the wnid counts; correct one"
    if len(different) > _SHOWN:
        yield f"{len(different) - _SHOWN:,} more classes have a wnid and the name of another synset"


def _of_list(rows: Sequence[MappingRow], network: WordNet) -> Iterator[str]:
    stated = [row for row in rows if row.rule in _STATED and row.source_name and _senses(row.source_name, network)]
    wrong = [row for row in stated if _disagree(row, network)]
    if len(wrong) >= _LEAST and 2 * len(wrong) > len(stated):
        yield (
            f"{len(wrong):,} of {len(stated):,} wnids name something else than their class, such as "
            f"{_told(wrong[0], network)}: they may be ids of another version, perhaps WordNet 3.1; write those of "
            "WordNet 3.0, or leave the column out"
        )
        return
    known = [one for one in wrong if one.wnid in network.index_of_wnid]
    for row in known[:_SHOWN]:
        yield f"{_told(row, network)}: correct the wnid or the name, or leave the wnid out"
    if len(known) > _SHOWN:
        yield f"{len(known) - _SHOWN:,} more classes have a wnid that names something else"


def contradicts(name: str, wnid: str, network: WordNet) -> bool:
    """Return whether a name is a noun, and no sense of it is a synset, or above or below it; false for no synset."""
    meant = network.index_of_wnid.get(wnid, -1)
    senses = _senses(name, network) if meant >= 0 else set()
    if not senses or meant in senses:
        return False
    above = _with_ancestors(meant, network)
    return not any(sense in above or meant in _with_ancestors(sense, network) for sense in senses)


def _disagree(row: MappingRow, network: WordNet) -> bool:
    return row.wnid not in network.index_of_wnid or contradicts(row.source_name, row.wnid, network)


def _senses(name: str, network: WordNet) -> set[int]:
    """Return every sense of a name, however it is spelled or inflected; empty if it is no noun of WordNet.

    What other collections mean by it is one too: WordNet has humans for hominids only, and lists mean persons.
    """
    parsed = parse_name(name)
    lemmas = [lemma for form in spellings(parsed.base) for lemma in network.base_forms(form)]
    found = {sense for lemma in lemmas for sense in network.senses[lemma]}
    read = read_elsewhere(parsed, packaged_readings().elsewhere, lemmas)
    return found | {network.index_of_wnid[read.wnid]} if found and read is not None else found


def _with_ancestors(synset: int, network: WordNet) -> set[int]:
    found, pending = {synset}, [synset]
    while pending:
        above = set(network.parents(pending.pop())) - found
        found |= above
        pending += above
    return found


def _told(row: MappingRow, network: WordNet) -> str:
    meant = network.index_of_wnid.get(row.wnid)
    means = "no noun" if meant is None else network.name(meant)
    return f"{row.source_name!r} has the wnid {row.wnid}, which is {means} in WordNet 3.0"
