"""Merges the classes of several collections into one vocabulary of WordNet synsets (Tencent ML-Images, section 3.1).

Classes with the same synset become one category; every category is below one of the four roots.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import VocabularyError
from mlimages_dataset.sources.classes import OWN_WNID, SourceClass
from mlimages_dataset.sources.folders import is_wnid
from mlimages_dataset.vocab.certainty import CONTRADICTED, ELSEWHERE, HEAD_FACTOR, LISTED, single
from mlimages_dataset.vocab.disagreements import contradicts
from mlimages_dataset.vocab.elsewhere import read_elsewhere
from mlimages_dataset.vocab.hierarchy import (
    ROOTS,
    Hierarchy,
    build_hierarchy,
    closure_matrix,
    edited_parents,
    has_order,
    reachable_roots,
    tree_of,
)
from mlimages_dataset.vocab.list_names import matches_of_list
from mlimages_dataset.vocab.listed_parents import cycles, shown_cycle, with_listed_parents
from mlimages_dataset.vocab.matching import MatchContext, match_classes
from mlimages_dataset.vocab.narrower import narrowed, with_own_categories
from mlimages_dataset.vocab.near_names import head_of
from mlimages_dataset.vocab.normalisation import parse_name
from mlimages_dataset.vocab.vocabulary import IMAGENET, OPEN_IMAGES, TENCENT, Category, MappingRow, Rule, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mlimages_dataset.sources.class_lists import TencentRow
    from mlimages_dataset.vocab.matching import Match
    from mlimages_dataset.vocab.reviewed import Reviewed
    from mlimages_dataset.vocab.wordnet import WordNet

ABSTRACTION = "n00002137"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassList:
    """The classes of one source.

    Attributes:
        source: the source's name in every table.
        classes: its classes; a class whose id is a wnid is that synset, others are matched by name.
        minimum_images: classes with fewer images are dropped, if images per class are known.
        finer: take only classes below a kept category that is no root (section 3.1's finer-grained additions).
        own: a user's own: what became of each of its classes is told by name.
        ancestors: every ancestor that WordNet has between a kept class and a root is a category too.
        attach: a class whose name is no noun of WordNet is kept as the nearest parent known: what other collections
            take it for a kind of, else its head.
        narrower: a class of which only a parent is a category is a category of its own below it.
        where: its file, for messages.
    """

    source: str
    classes: tuple[SourceClass, ...]
    minimum_images: int = 0
    finer: bool = False
    own: bool = False
    ancestors: bool = False
    attach: bool = False
    narrower: bool = False
    where: str = ""

    @property
    def title(self) -> str:
        """Return the list's name for people."""
        return f"{self.source} (finer)" if self.finer else self.source


class _Grounds:
    """WordNet with the reviewed edges, and which of its synsets a vocabulary may hold."""

    def __init__(self, network: WordNet, reviewed: Reviewed) -> None:
        self.network = network
        self.parents = edited_parents(network, reviewed.edges)
        self.closure = closure_matrix(self.parents)
        self.rooted = reachable_roots(self.closure, [network.index_of_wnid[wnid] for wnid in ROOTS])
        self._refuse_misfits(reviewed)
        self.reviewed_drops = {row.wnid: row.reason for row in reviewed.categories if not row.add}
        self.reviewed_additions = {row.wnid: row.reason for row in reviewed.categories if row.add}

    def ancestors(self, synset: int) -> NDArray[np.int32]:
        """Return the synset's ancestors, itself included."""
        return self.closure.indices[self.closure.indptr[synset] : self.closure.indptr[synset + 1]]

    def categories_above(self, wnids: Collection[str]) -> set[str]:
        """Return the ancestors of synsets, themselves included, that a vocabulary may hold."""
        index_of_wnid = self.network.index_of_wnid
        numbers = [index_of_wnid[wnid] for wnid in wnids if wnid in index_of_wnid]
        found = {self.network.wnids[s] for n in numbers for s in self.ancestors(n).tolist() if self.rooted[s]}
        return found - set(self.reviewed_drops)

    def admitted(self, row: MappingRow) -> MappingRow:
        """Return the row, dropped if its synset cannot be a category."""
        index_of_wnid = self.network.index_of_wnid
        if row.wnid not in index_of_wnid:
            return row.dropped(Rule.DROPPED_UNKNOWN_ID, "no noun synset of WordNet 3.0 has this id")
        if row.wnid in self.reviewed_drops:
            return row.dropped(Rule.DROPPED_REVIEWED, self.reviewed_drops[row.wnid])
        synset = index_of_wnid[row.wnid]
        if self.rooted[synset]:
            return row
        abstract = index_of_wnid[ABSTRACTION] in self.ancestors(synset)
        rule = Rule.DROPPED_ABSTRACT if abstract else Rule.DROPPED_NO_ROOT
        return row.dropped(rule, "in WordNet it is " + self._path(synset))

    def _refuse_misfits(self, reviewed: Reviewed) -> None:
        index_of_wnid = self.network.index_of_wnid
        named = [(row.wnid, row.where) for row in reviewed.categories]
        named += [(row.wnid, row.where) for row in reviewed.matches if row.wnid]
        for wnid, where in named:
            if wnid not in index_of_wnid:
                raise VocabularyError(
                    f"{wnid} is not a noun synset of WordNet 3.0", where=where, remedy="correct the id"
                )
        for row in reviewed.categories:
            if row.add and not self.rooted[index_of_wnid[row.wnid]]:
                raise VocabularyError(
                    f"{row.wnid} reaches none of the four roots", where=row.where, remedy="add an edge to a parent too"
                )
            if not row.add and row.wnid in ROOTS:
                raise VocabularyError(
                    f"{row.wnid} is one of the four roots", where=row.where, remedy="delete the row: roots stay"
                )

    def _path(self, synset: int) -> str:
        path = [self.network.lemmas[synset][0]]
        while self.parents[synset]:
            synset = self.parents[synset][0]
            path.append(self.network.lemmas[synset][0])
        return " < ".join(path)


def merged_vocabulary(
    lists: Sequence[ClassList],
    network: WordNet,
    reviewed: Reviewed,
    *,
    image_counts: Mapping[tuple[str, str], int],
    imagenet_all: frozenset[str],
    box_parents: Mapping[str, tuple[str, ...]],
) -> Vocabulary:
    """Return the merged vocabulary of several class lists.

    Args:
        lists: class lists; one with `finer` must come after those that it refines.
        network: WordNet's nouns.
        reviewed: decisions that override rules.
        image_counts: images by (source, source_id); without counts of a source, its classes are kept.
        imagenet_all: wnids of all synsets that ImageNet has images of, as evidence for matching names.
        box_parents: Open Images' box hierarchy, as evidence for matching names.

    Raises:
        VocabularyError: a reviewed decision does not fit WordNet.
    """
    grounds = _Grounds(network, reviewed)
    # Without refinements: a long tail of rare synsets says little about what a name usually means.
    imagenet = frozenset(c.source_id for one in lists if not one.finer for c in one.classes if is_wnid(c.source_id))
    elsewhere = {} if reviewed.readings is None else reviewed.readings.elsewhere
    context = MatchContext(
        wordnet=network,
        imagenet=imagenet,
        imagenet_all=imagenet_all,
        roots=ROOTS,
        box_parents=box_parents,
        read={name: one for name, one in elsewhere.items() if one.wnid in network.index_of_wnid},
    )
    rows: list[MappingRow] = []
    kept: set[str] = set()
    above: set[str] = set()
    own: dict[str, str] = {}
    for one in lists:
        counted = any(source == one.source for source, _ in image_counts)
        decided = _proposals(one, context, reviewed, own)
        decided = [
            _with_enough_images(row, one, image_counts, counted=counted) if row.is_kept else row for row in decided
        ]
        decided = [grounds.admitted(row) if row.is_kept and row.wnid not in own else row for row in decided]
        if one.finer:
            decided = [_finer(row, grounds, kept - set(ROOTS)) if row.is_kept else row for row in decided]
        of_list = {row.wnid for row in decided if row.is_kept}
        kept |= of_list
        if one.ancestors:
            above |= grounds.categories_above(of_list)
        if one.narrower:
            decided, parents = narrowed(decided, one.classes)
            own |= parents
        rows += decided
    chosen = kept | above | set(ROOTS) | set(grounds.reviewed_additions) | set(own)
    hierarchy = build_hierarchy(chosen, *with_own_categories(network.wnids, grounds.parents, grounds.closure, own))
    return _assemble(hierarchy, rows, network, image_counts, frozenset(grounds.reviewed_additions))


def vocabulary_from_tencent(rows: Sequence[TencentRow], where: str) -> Vocabulary:
    """Return the published vocabulary and tree unchanged, with its indices and single parents.

    Raises:
        VocabularyError: the parents form a cycle.
    """
    parent = [row.parent for row in rows]
    parents = [() if above < 0 else (above,) for above in parent]
    if not has_order(parents):
        parent_of = {row.wnid: rows[row.parent].wnid for row in rows if row.parent >= 0}
        told = shown_cycle(next(iter(cycles(parent_of).values())))
        raise VocabularyError(f"the parents form a cycle: {told}", where=where, remedy="obtain the file again")
    root, depth = tree_of(parent)
    categories = tuple(
        Category(
            wnid=row.wnid,
            name=row.name,
            root=root[i],
            parent=row.parent,
            parents=parents[i],
            depth=depth[i],
            sources=(TENCENT,),
            mids=(),
            images=0,
        )
        for i, row in enumerate(rows)
    )
    mapping = [
        MappingRow(source, source_id, row.name, row.class_index, row.wnid, Rule.WNID.value, "the published dictionary")
        for row in rows
        for source, source_id in ((TENCENT, str(row.class_index)), (IMAGENET, row.wnid))
    ]
    return Vocabulary(categories, tuple(sorted(mapping, key=lambda row: (row.source, row.class_index))))


def _proposals(one: ClassList, context: MatchContext, reviewed: Reviewed, own: Collection[str]) -> list[MappingRow]:
    """Return what each class of a list means, before checking that the vocabulary can hold it; index 0 means kept.

    `own` are the ids of earlier lists' categories of their own.
    """
    first: dict[str, SourceClass] = {}
    for source_class in one.classes:
        first.setdefault(source_class.source_id, _with_wnid(source_class, context.wordnet))
    classes = list(first.values())
    overrides = {} if reviewed.readings is None else reviewed.readings.matches(one.source, classes)
    overrides |= {row.source_id: row for row in reviewed.matches if row.source == one.source}
    told = {c.source_id for c in classes if c.wnid or is_wnid(c.source_id)} | set(overrides)
    named = [c for c in classes if c.source_id not in told]
    decided = {c.source_id: c.wnid for c in classes if is_wnid(c.wnid)}
    decided |= {source_id: row.wnid for source_id, row in overrides.items() if source_id in first and row.wnid}
    matches = matches_of_list(named, context, decided)
    unnamed = [m for m in matches.values() if not m.source_class.parent]
    meant = decided | {source_id: match.wnid for source_id, match in matches.items() if match.wnid}
    heads = _matches_of_heads(unnamed, context, meant) if one.attach else {}
    nouns = _matches_of_parents(classes, context, meant)

    def proposal(source_class: SourceClass) -> MappingRow:
        row = MappingRow(one.source, source_class.source_id, source_class.name, 0, "", "", "")
        override, match = overrides.get(row.source_id), matches.get(row.source_id)
        if override is not None:
            rule = Rule.REVIEWED_PARENT if override.broader else Rule.REVIEWED
            sure = override.probability
            found = replace(row, wnid=override.wnid, rule=rule.value, evidence=override.reason, probability=sure)
            return found if override.wnid else row.dropped(Rule.DROPPED_REVIEWED, override.reason)
        if match is None or (source_class.parent and not match.below_parent):
            listed = _as_listed(row, source_class, own, context.wordnet)
            other = "; what its name means is not below it" if match is not None and match.wnid else ""
            return replace(listed, evidence=listed.evidence + other)
        if match.source_class.name != row.source_name:
            match = replace(match, evidence=f"read as {match.source_class.name!r}; {match.evidence}")
        row = replace(row, alternatives=match.alternatives)
        lost = one.attach and match.wnid is None
        of_name = read_elsewhere(parse_name(match.source_class.name), context.read) if lost else None
        if of_name is not None and of_name.broader:
            evidence = f"{match.evidence}; {of_name.evidence}"
            kind = Rule.ELSEWHERE_PARENT.value
            return replace(row, wnid=of_name.wnid, rule=kind, evidence=evidence, probability=ELSEWHERE)
        if (head := heads.get(row.source_id)) is not None and head.wnid:
            evidence = f"{match.evidence}; {head.evidence}"
            sure = single(HEAD_FACTOR * head.probability)
            return replace(row, wnid=head.wnid, rule=Rule.HEAD_PARENT.value, evidence=evidence, probability=sure)
        if match.wnid is None:
            return row.dropped(Rule.DROPPED_UNMATCHED, f"{match.rule.value}: {match.evidence}")
        found = replace(row, wnid=match.wnid, rule=match.rule.value, evidence=match.evidence)
        return replace(found, probability=match.probability)

    parents = {c.source_id: c.parent for c in named if c.parent}
    return with_listed_parents([proposal(source_class) for source_class in classes], parents, own, nouns)


def _with_wnid(source_class: SourceClass, network: WordNet) -> SourceClass:
    """Return a class with the wnid that its name is, or of the synset that its list names, if WordNet has it."""
    if not source_class.wnid and source_class.name in network.index_of_wnid:
        return replace(source_class, wnid=source_class.name)
    if source_class.wnid or not source_class.synset:
        return source_class
    return replace(source_class, wnid=network.wnid_of_name(source_class.synset))


def _as_listed(row: MappingRow, source_class: SourceClass, own: Collection[str], network: WordNet) -> MappingRow:
    """Return the row of a class of which the list says what it means.

    A parent beside another list's category of its own counts where that list, or that category, is not there.
    """
    stands = source_class.wnid in own or not (source_class.parent and OWN_WNID.fullmatch(source_class.wnid))
    if source_class.wnid and stands:
        named = network.wnid_of_name(source_class.synset) == source_class.wnid
        said = f"the list says {source_class.synset}" if named else "the list says so"
        row = replace(row, wnid=source_class.wnid, rule=Rule.LISTED_WNID.value, evidence=said, probability=LISTED)
    elif source_class.parent:
        parent = source_class.parent
        said = f"the list says that it is a kind of {parent!r}"
        return replace(row, wnid=parent, rule=Rule.LISTED_PARENT.value, evidence=said, probability=LISTED)
    else:
        row = replace(row, wnid=row.source_id, rule=Rule.WNID.value, evidence="the id is a WordNet 3.0 synset")
    return replace(row, probability=CONTRADICTED) if contradicts(row.source_name, row.wnid, network) else row


def _matches_of_heads(matches: Iterable[Match], context: MatchContext, decided: Mapping[str, str]) -> dict[str, Match]:
    """Return the match of the head of each name that is no noun of WordNet, by source_id."""
    heads = [
        replace(match.source_class, name=head)
        for match in matches
        if match.wnid is None and (head := head_of(match.source_class.name, context.wordnet))
    ]
    return {match.source_class.source_id: match for match in match_classes(heads, context, decided)} if heads else {}


def _matches_of_parents(
    classes: Iterable[SourceClass], context: MatchContext, decided: Mapping[str, str]
) -> dict[str, Match]:
    """Return the match of each text in the column `parent` that is neither a wnid nor the id of a class in the list."""
    classes = list(classes)
    ids = {one.source_id for one in classes}
    texts = sorted({one.parent for one in classes if one.parent} - ids)
    nouns = [SourceClass(text, text) for text in texts if not is_wnid(text) and not OWN_WNID.fullmatch(text)]
    return {match.source_class.source_id: match for match in match_classes(nouns, context, decided)} if nouns else {}


def _with_enough_images(
    row: MappingRow, one: ClassList, image_counts: Mapping[tuple[str, str], int], *, counted: bool
) -> MappingRow:
    """Return the row, dropped if its class has fewer images than the list requires."""
    images = image_counts.get((one.source, row.source_id), 0)
    if not counted or images >= one.minimum_images:
        return row
    return row.dropped(Rule.DROPPED_FEW_IMAGES, f"{images:,} images, fewer than {one.minimum_images:,}")


def _finer(row: MappingRow, grounds: _Grounds, kept: set[str]) -> MappingRow:
    """Return the row as a refinement of a kept category that is not a root, dropped if there is none."""
    network = grounds.network
    synset = network.index_of_wnid[row.wnid]
    above = [s for s in grounds.ancestors(synset).tolist() if s != synset and network.wnids[s] in kept]
    if not above:
        return row.dropped(Rule.DROPPED_NOT_FINER, "no kept category but a root is its ancestor")
    nearest = max(above, key=lambda s: (len(grounds.ancestors(s)), s))
    return replace(row, rule=Rule.FINER.value, evidence=f"finer than {network.name(nearest)}")


def _assemble(
    hierarchy: Hierarchy,
    rows: Sequence[MappingRow],
    network: WordNet,
    image_counts: Mapping[tuple[str, str], int],
    reviewed_additions: frozenset[str],
) -> Vocabulary:
    index_of_wnid = {wnid: i for i, wnid in enumerate(hierarchy.wnids)}
    mapping = tuple(replace(row, class_index=index_of_wnid[row.wnid]) if row.is_kept else row for row in rows)
    members: dict[int, list[MappingRow]] = defaultdict(list)
    for row in mapping:
        if row.is_kept:
            members[row.class_index].append(row)
    categories = tuple(
        Category(
            wnid=wnid,
            name=_name(wnid, network, members[i]),
            root=hierarchy.root[i],
            parent=hierarchy.parent[i],
            parents=hierarchy.parents[i],
            depth=hierarchy.depth[i],
            sources=tuple(dict.fromkeys(row.source for row in members[i]))
            or (("reviewed",) if wnid in reviewed_additions else ("hierarchy",)),
            mids=tuple(row.source_id for row in members[i] if row.source == OPEN_IMAGES),
            images=sum(image_counts.get((row.source, row.source_id), 0) for row in members[i]),
        )
        for i, wnid in enumerate(hierarchy.wnids)
    )
    return Vocabulary(categories, mapping)


def _name(wnid: str, network: WordNet, members: Sequence[MappingRow]) -> str:
    """Return a category's lemmas, or its list's name for a category of its own."""
    if wnid in network.index_of_wnid:
        return network.name(network.index_of_wnid[wnid])
    return members[0].source_name or members[0].source_id
