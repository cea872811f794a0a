"""Categories of their own: classes that WordNet has no noun for, each below its nearest parent.

Legend: S synsets of WordNet, K categories of their own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core import sparse as sp
from mlimages_dataset.sources.classes import own_wnid
from mlimages_dataset.vocab.hierarchy import closure_matrix
from mlimages_dataset.vocab.vocabulary import NARROWER, MappingRow, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mlimages_dataset.sources.classes import SourceClass


def narrowed(rows: Sequence[MappingRow], classes: Iterable[SourceClass]) -> tuple[list[MappingRow], dict[str, str]]:
    """Return a list's rows, where classes kept as their parent are categories of their own, and the parent of each.

    Args:
        rows: what became of the list's classes.
        classes: the list's classes; a parent that is the id of another one stands for what that became.
    """
    narrow = {row.source_id for row in rows if row.is_kept and row.is_broader}
    listed: dict[str, str] = {}
    for one in classes:
        listed.setdefault(one.source_id, one.parent)
    parents: dict[str, str] = {}

    def own(row: MappingRow) -> MappingRow:
        if row.source_id not in narrow:
            return row
        stated = listed[row.source_id] if row.rule == Rule.LISTED_PARENT.value else ""
        wnid = own_wnid(row.source, row.source_id)
        parents[wnid] = own_wnid(row.source, stated) if stated in narrow else row.wnid
        return replace(row, wnid=wnid, rule=NARROWER[row.rule])

    return [own(row) for row in rows], parents


def with_own_categories(
    wnids: Sequence[str], parents: Sequence[tuple[int, ...]], closure: sp.csr_array, own: Mapping[str, str]
) -> tuple[Sequence[str], Sequence[tuple[int, ...]], sp.csr_array]:
    """Return the ids, parents and reflexive ancestor matrix of S synsets followed by K categories of their own.

    Args:
        wnids: the synsets' ids, shape (S,).
        parents: the synsets' parents, shape (S,).
        closure: the synsets' reflexive ancestor matrix, shape (S, S).
        own: the parent of each category of its own, a synset or another such category, by id.

    Raises:
        VocabularyError: the parents form a cycle.
    """
    if not own:
        return wnids, parents, closure
    names = (*wnids, *sorted(own))
    number = {wnid: i for i, wnid in enumerate(names)}
    above = [number[own[wnid]] for wnid in names[len(wnids) :]]
    first = len(wnids)
    inner = closure_matrix([(parent - first,) if parent >= first else () for parent in above])
    below_synsets = [(k, parent) for k, parent in enumerate(above) if parent < first]
    rows, columns = np.array(below_synsets, np.int64).reshape(-1, 2).T
    edges = sp.csr_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(own), first))
    outer = (inner.astype(np.int32) @ edges @ closure).astype(bool)
    every = sp.csr_array(sp.block_array([[closure, None], [outer, inner]], format="csr"))
    every.sort_indices()
    return names, (*parents, *((parent,) for parent in above)), every
