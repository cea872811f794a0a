"""What became of class lists: counts of each fate, and what a user should look at, by name."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.listed import first_of
from mlimages_dataset.sources.class_lists import MEANING_COLUMNS
from mlimages_dataset.vocab.elsewhere import read_elsewhere
from mlimages_dataset.vocab.hierarchy import ROOTS, edited_parents
from mlimages_dataset.vocab.near_names import (
    denies,
    food_sense,
    has_concrete_sense,
    head_of,
    joined,
    likely_slip,
    near_misses,
    original,
    says_nothing,
    says_nothing_is_there,
)
from mlimages_dataset.vocab.normalisation import parse_name
from mlimages_dataset.vocab.vocabulary import Category, MappingRow, Rule, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlimages_dataset.sources.classes import SourceClass
    from mlimages_dataset.vocab.elsewhere import ReadElsewhere
    from mlimages_dataset.vocab.merging import ClassList
    from mlimages_dataset.vocab.normalisation import ParsedName
    from mlimages_dataset.vocab.reviewed import Reviewed
    from mlimages_dataset.vocab.wordnet import WordNet

_REPEATED = "dropped: repeated id"
_SHOWN_NAMES = 10
_MOST_SPELLED = 500
"""Lost classes of a list for which nouns that are spelled alike are looked for: it takes some 8 ms a name."""
_LEAST_STRANGE, _STRANGE_SHARE = 3, 0.4
"""Names of a list that are no English nouns, and their share of it, from which none of them is guessed."""
_DECIDED = {
    Rule.DROPPED_FEW_IMAGES.value: "lower the least number of images of its list (--min-images of vocab, or "
    "minimum_images in a recipe)",
    Rule.DROPPED_REVIEWED.value: "decide otherwise in a reviewed file (--reviewed of vocab, or reviewed in a recipe)",
}
"""What to change where no meaning of the class would keep it, by the rule that dropped it."""
WHY_BARE = (
    'their only ancestor here is a root; with --ancestors all of vocab, or ancestors = "all" in a recipe, they get '
    "those that WordNet knows"
)


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """How many classes of a source met one fate."""

    source: str
    step: str
    classes: int


@dataclass(frozen=True, slots=True)
class Loss:
    """A class that a user should look at: it became no category, or only a parent of it did.

    Attributes:
        source: its list.
        source_id: its id there.
        name: its name there.
        became: the name of its category; empty where it was dropped.
        why: the rule and the evidence.
        decided: what to change where numbers of images or a reviewed decision dropped it; else empty.
        denies: its name says what is not there.
        stated: the columns in which its list says what it means; empty where it says nothing but the name.
        broader: what it could be kept under (`attach`): a noun, and what the column parent names it by; both empty
            where there is none.
        near: nouns of WordNet that are spelled like the name, the nearest first, each with its wnid, which is empty
            where it has several senses.
        copied: the noun that its name says it is a copy of; empty if it does not.
        joined: the nouns that its name joins; empty if it does not.
        of_list: what is told once of the list, with its first name that is no English noun; else empty.
    """

    source: str
    source_id: str
    name: str
    became: str
    why: str
    decided: str = ""
    denies: bool = False
    stated: tuple[str, ...] = ()
    broader: tuple[str, str] = ("", "")
    near: tuple[tuple[str, str], ...] = ()
    copied: str = ""
    joined: tuple[str, ...] = ()
    of_list: str = ""

    @property
    def sentence(self) -> str:
        """What happened to the class, and how to decide otherwise."""
        named = repr(self.name or self.source_id)
        if self.became:
            told = f"{named} is no category of its own: its labels are those of {self.became} ({self.why})"
            if self.copied:
                return f"{told}; {self.remedy}"
            return f"{told}; with --narrower of vocab, or narrower = true in a recipe, it is one below it"
        return f"{named} became no category: {self.why}; {self.remedy}"

    @property
    def remedy(self) -> str:
        """How to decide otherwise, where it became no category."""
        if self.decided or self.stated:
            return f"{self.decided or 'correct its ' + ' or '.join(self.stated)}, or leave it out"
        if self.denies:
            return "a picture shows no such thing: leave it out, and state the thing itself with the confidence 0"
        if self.copied:
            return f"by its name a copy of {self.copied!r}: give it that name"
        if self.joined:
            things = " and ".join(self.joined)
            return f"it names {len(self.joined)} things, {things}: label its pictures with each of them that they show"
        noun, _ = self.broader
        if self.near and not (noun and not any(self.slip)):
            meant = " or ".join(f"{wnid} ({near})" if wnid else repr(near) for near, wnid in self.near)
            columns = dict.fromkeys("wnid" if wnid else "name" for _, wnid in self.near)
            return f"did you mean {meant}? Write it into the column {' or '.join(columns)}"
        told = "write its wnid into a column wnid, or what it is a kind of into a column parent"
        base = parse_name(self.name).base
        told = f"leave it as it is, or {told}" if says_nothing(base) else told
        if says_nothing_is_there(base):
            told += "; if its pictures show none of the other classes, state these with the confidence 0"
        told = f"{told}, or keep it under {noun!r} (attach)" if noun else told
        return f"{told}; {self.of_list}" if self.of_list else told

    @property
    def slip(self) -> tuple[str, str]:
        """The noun that its name is surely a slip of, and its wnid; both empty where there is none."""
        return likely_slip(self.name, self.near)

    @property
    def row(self) -> tuple[str, str, str, str]:
        """The row of a class list that decides it as well as can be guessed; four empty texts where nothing can.

        It has the columns id, name, wnid and parent.
        """
        if self.copied:
            return (self.source_id, self.copied, "", "")
        if self.decided or self.stated or self.denies or self.became or self.joined:
            return ("", "", "", "")
        if any(self.slip):
            return (self.source_id, *self.slip, "")
        _, parent = self.broader
        return (self.source_id, self.name or self.source_id, "", parent) if parent else ("", "", "", "")


@dataclass(frozen=True, slots=True)
class DecisionChanges:
    """What reviewed decisions changed in a vocabulary, as names.

    Attributes:
        gained: categories that are there only with them.
        lost: categories that are there only without them.
        moved: classes that became another category, or none, each with what it was and is.
    """

    gained: tuple[str, ...]
    lost: tuple[str, ...]
    moved: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return a line for each kind of change."""
        kinds = (("gained", self.gained), ("lost", self.lost), ("classes that became another", self.moved))
        return [f"reviewed decisions: {what}: {first_ones(names)}" for what, names in kinds]


def funnel(vocabulary: Vocabulary, lists: Sequence[ClassList]) -> list[FunnelStep]:
    """Return for each source how many classes entered, were dropped by which rule, and what the kept ones became."""
    steps: list[FunnelStep] = []
    homes: set[int] = set()
    for one in lists:
        ids = {source_class.source_id for source_class in one.classes}
        rows = [row for row in vocabulary.mapping if row.source == one.source and row.source_id in ids]
        kept = [row.class_index for row in rows if row.is_kept]
        fates = Counter(row.rule for row in rows if not row.is_kept)
        fates[_REPEATED] = len(one.classes) - len(rows)
        new = set(kept) - homes
        steps.append(FunnelStep(one.title, "entered", len(one.classes)))
        steps += [FunnelStep(one.title, fate, count) for fate, count in sorted(fates.items()) if count]
        steps.append(FunnelStep(one.title, "kept as a new category", len(new)))
        steps.append(FunnelStep(one.title, "kept, merged into a category", len(kept) - len(new)))
        homes |= new
    steps.append(
        FunnelStep("hierarchy", "added: roots, ancestors and reviewed categories", len(vocabulary) - len(homes))
    )
    steps.append(FunnelStep("vocabulary", "categories", len(vocabulary)))
    return steps


def losses(
    vocabulary: Vocabulary,
    lists: Sequence[ClassList],
    network: WordNet,
    read: Mapping[ParsedName, ReadElsewhere],
) -> list[Loss]:
    """Return the classes of users' own lists that became no category of their own, and are not as their list says.

    Args:
        vocabulary: the categories, and what each class became.
        lists: the class lists.
        network: WordNet's nouns.
        read: what names mean in other collections.
    """
    found: list[Loss] = []
    for one in lists:
        of_list: list[Loss] = []
        rows = [
            row
            for row in vocabulary.mapping
            if one.own and row.source == one.source and not (_stands_for_itself(row) or _is_as_stated(row))
        ]
        stated_of = {source_class.source_id: source_class.stated for source_class in one.classes}
        for place, row in enumerate(rows):
            became = _category_name(vocabulary, row) if row.is_kept else ""
            why = f"{row.rule.removeprefix('dropped: ')}: {row.evidence}"
            loss = Loss(one.source, row.source_id, row.source_name, became, why)
            stated = tuple(name for name, text in zip(MEANING_COLUMNS, stated_of[row.source_id], strict=True) if text)
            if decided := _DECIDED.get(row.rule):
                loss = replace(loss, decided=decided)
            elif stated:
                loss = replace(loss, stated=stated)
            elif denies(row.source_name, network):
                loss = replace(loss, denies=True)
            elif copied := original(row.source_name, network):
                loss = replace(loss, copied=copied)
            elif not became:
                broader = ("", "") if one.attach else _broader(row.source_name, network, read)
                near = near_misses(row.source_name, network) if place < _MOST_SPELLED else ()
                loss = replace(loss, broader=broader, near=near, joined=joined(row.source_name, network))
            of_list.append(loss)
        found += _unguessed(of_list, len(one.classes))
    return found


def under_stated(vocabulary: Vocabulary, lists: Sequence[ClassList]) -> int:
    """Return how many classes of users' own lists are kept under the parent that their list gives."""
    own = {one.source for one in lists if one.own}
    return sum(row.source in own and _is_as_stated(row) for row in vocabulary.mapping)


def _unguessed(of_list: Sequence[Loss], n_names: int) -> list[Loss]:
    """Return the lost classes of a list, without near nouns if many of its names are no English nouns.

    They are then words of another language, adjectives, or names of models; the first of them says so.
    """
    strange = [
        one
        for one in of_list
        if not (one.became or one.decided or one.stated or one.denies or one.copied or one.joined)
        and not (any(one.broader) or says_nothing(parse_name(one.name).base) or any(one.slip))
    ]
    if len(strange) < max(_LEAST_STRANGE, n_names * _STRANGE_SHARE):
        return list(of_list)
    told = (
        f"{len(strange):,} of {n_names:,} names of this list are no English nouns: write such nouns into its column "
        "name, or wnids"
    )
    return [replace(one, near=(), of_list=told if one is strange[0] else "") for one in of_list]


def _broader(name: str, network: WordNet, read: Mapping[ParsedName, ReadElsewhere]) -> tuple[str, str]:
    """Return `Loss.broader` of a name that is no noun of WordNet."""
    of_name = read_elsewhere(parse_name(name), read)
    if of_name is not None and of_name.broader and of_name.wnid in network.index_of_wnid:
        return network.name(network.index_of_wnid[of_name.wnid]).partition(",")[0], of_name.wnid
    head = head_of(name, network)
    return (head, food_sense(name, head, network) or head) if has_concrete_sense(head, network) else ("", "")


def bare_categories(
    vocabulary: Vocabulary, lists: Sequence[ClassList], network: WordNet, reviewed: Reviewed
) -> list[str]:
    """Return the names of users' own categories below a bare root that have nearer ancestors with those of all classes.

    Args:
        vocabulary: the categories.
        lists: the class lists.
        network: WordNet's nouns.
        reviewed: the decisions that count: edges that they add, and categories that they drop.
    """
    if all(one.ancestors for one in lists if one.own):
        return []  # they have all that there are
    own = {one.source for one in lists if one.own}
    roots = {vocabulary.index_of_wnid[wnid] for wnid in ROOTS}
    parents = edited_parents(network, reviewed.edges)
    no_category = {row.wnid for row in reviewed.categories if not row.add}.union(ROOTS)

    @functools.cache
    def is_rooted(synset: int) -> bool:
        return network.wnids[synset] in ROOTS or any(map(is_rooted, parents[synset]))

    @functools.cache
    def has_nearer(synset: int) -> bool:
        return any(
            (is_rooted(above) and network.wnids[above] not in no_category) or has_nearer(above)
            for above in parents[synset]
        )

    return [
        _short(one)
        for one in vocabulary.categories
        if one.parents
        and own.issuperset(one.sources)
        and roots.issuperset(one.parents)
        and one.wnid in network.index_of_wnid
        and has_nearer(network.index_of_wnid[one.wnid])
    ]


def changes(before: Vocabulary, after: Vocabulary) -> DecisionChanges:
    """Return what differs between the vocabularies of the same lists without and with some decisions."""
    then, now = before.index_of_wnid, after.index_of_wnid
    was = {(row.source, row.source_id): _category_name(before, row) for row in before.mapping}
    moved = [
        f"{row.source_name or row.source_id}: {was[row.source, row.source_id]} -> {_category_name(after, row)}"
        for row in after.mapping
        if was[row.source, row.source_id] != _category_name(after, row)
    ]
    return DecisionChanges(
        tuple(_short(after.categories[at]) for wnid, at in now.items() if wnid not in then),
        tuple(_short(before.categories[at]) for wnid, at in then.items() if wnid not in now),
        tuple(moved),
    )


def _category_name(vocabulary: Vocabulary, row: MappingRow) -> str:
    return _short(vocabulary.categories[row.class_index]) if row.is_kept else "none"


def _short(category: Category) -> str:
    """Return a category's first name."""
    return category.first_name


def first_ones(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are; `none` if there are none."""
    return first_of(names, _SHOWN_NAMES) or "none"


def repeated_ids(one: ClassList) -> list[str]:
    """Return the ids that a list holds more than once, in order of their first repetition."""
    counts = Counter(source_class.source_id for source_class in one.classes)
    return [source_id for source_id, count in counts.items() if count > 1]


def refuse_one_id_of_several(lists: Sequence[ClassList]) -> None:
    """Raise `DataError` if two classes of a user's own list have one id, and not one name and meaning."""
    for one in lists:
        first: dict[str, SourceClass] = {}
        for row in one.classes if one.own else ():
            other = first.setdefault(row.source_id, row)
            if (parse_name(other.name), other.stated) != (parse_name(row.name), row.stated):
                said = [
                    " ".join(filter(None, (repr(each.name), *each.stated))) + (f" ({each.place})" if each.place else "")
                    for each in (other, row)
                ]
                raise DataError(
                    f"two classes of {one.source} have the id {row.source_id!r}: {' and '.join(said)}",
                    where=one.where or None,
                    remedy="give each class an id of its own",
                )


def unlisted(reviewed: Reviewed, lists: Sequence[ClassList]) -> list[str]:
    """Return the source and id of each reviewed match whose class is in no list."""
    listed = {(one.source, source_class.source_id) for one in lists for source_class in one.classes}
    return [f"{row.source} {row.source_id}" for row in reviewed.matches if (row.source, row.source_id) not in listed]


def _is_as_stated(row: MappingRow) -> bool:
    return row.is_kept and row.rule == Rule.LISTED_PARENT.value


def _stands_for_itself(row: MappingRow) -> bool:
    return row.is_kept and row.rule not in {
        Rule.ELSEWHERE_PARENT.value,
        Rule.HEAD_PARENT.value,
        Rule.LISTED_PARENT.value,
    }
