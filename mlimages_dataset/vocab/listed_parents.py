"""What a parent means that a list gives by the id of another class or by a noun: chains of classes, and cycles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlimages_dataset.sources.classes import OWN_WNID
from mlimages_dataset.sources.folders import is_wnid
from mlimages_dataset.vocab.vocabulary import MappingRow, Rule

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from mlimages_dataset.vocab.matching import Match

_MOST_PARENTS = 100
"""Of a class, one above the other, in a user's list; WordNet's longest path has 18."""
_TOLD_OF_CYCLE = 8
"""So many ids of a cycle are told."""


@dataclass(frozen=True, slots=True)
class _Resolved:
    """What became of a class, of how many classes it is below, and, if it was dropped, with which of these."""

    row: MappingRow
    depth: int
    lost: MappingRow | None


def with_listed_parents(
    rows: Sequence[MappingRow], parents: Mapping[str, str], own: Collection[str], nouns: Mapping[str, Match]
) -> list[MappingRow]:
    """Return the rows of a list, with what a parent means that is the id of another class or a noun.

    Args:
        rows: what the list says of each of its classes; the wnid of one that is kept as its parent is that parent.
        parents: the parents that the list gives to classes of which it says no more, by id.
        own: the ids of earlier lists' categories of their own.
        nouns: what each parent means that is neither a wnid nor the id of a class in the list.
    """
    row_of_id = {row.source_id: row for row in rows}

    def is_open(row: MappingRow) -> bool:
        known = is_wnid(row.wnid) or row.wnid in own
        return row.rule == Rule.LISTED_PARENT.value and not (known and row.wnid not in row_of_id)

    followed = {**parents, **{row.source_id: row.wnid for row in rows if is_open(row)}}
    circles = cycles({one: parent for one, parent in followed.items() if parent in row_of_id})
    done: dict[str, _Resolved] = {}
    for row in rows:
        below = []
        while row.source_id not in done and is_open(row) and row.wnid in row_of_id and row.source_id not in circles:
            below.append(row)
            row = row_of_id[row.wnid]  # noqa: PLW2901 - upwards
        if row.source_id not in done:
            if is_open(row) and row.source_id in circles:
                told = _told_cycle(circles[row.source_id])
                row = replace(row, wnid="").dropped(Rule.DROPPED_UNMATCHED, told)  # noqa: PLW2901 - as above
            elif is_open(row):
                row = _below_noun(row, nouns.get(row.wnid))  # noqa: PLW2901 - as above
            done[row.source_id] = _Resolved(row, 0, None if row.is_kept else row)
        above = done[row.source_id]
        for one in reversed(below):
            above = done[one.source_id] = _below_class(one, above)
    return [done[row.source_id].row for row in rows]


def _below_class(row: MappingRow, above: _Resolved) -> _Resolved:
    """Return what becomes of a class whose parent is another class of its list."""
    depth, lost = above.depth + 1, replace(row, wnid="")
    if above.lost is not None:
        named = repr(above.lost.source_id)
        which = f"its parent {named}" if above.lost.source_id == row.wnid else f"a parent above it, {named},"
        why = f"{which} became no category ({above.lost.rule}: {above.lost.evidence})"
        return _Resolved(lost.dropped(Rule.DROPPED_UNMATCHED, why), depth, above.lost)
    if depth > _MOST_PARENTS:
        lost = lost.dropped(Rule.DROPPED_UNMATCHED, f"more than {_MOST_PARENTS} parents lie one above the other")
        return _Resolved(lost, depth, lost)
    return _Resolved(replace(row, wnid=above.row.wnid, probability=above.row.probability), depth, None)


def _below_noun(row: MappingRow, noun: Match | None) -> MappingRow:
    if noun is None or not noun.wnid:
        why = f"its parent {row.wnid!r} is no wnid, no id of the list and no noun of WordNet"
        if OWN_WNID.fullmatch(row.wnid):
            why = f"its parent {row.wnid!r} is no category of its own (narrower) of an earlier list"
        return replace(row, wnid="").dropped(Rule.DROPPED_UNMATCHED, why)
    said = f"{row.evidence}; its parent is {noun.evidence}"
    return replace(row, wnid=noun.wnid, evidence=said, probability=noun.probability)


@dataclass(frozen=True, slots=True)
class Cycle:
    """A cycle of parents: the ids of its classes, each below the next, and the place of a class; -1 below the cycle."""

    classes: tuple[str, ...]
    place: int


def cycles(parent_of: Mapping[str, str]) -> dict[str, Cycle]:
    """Return the cycle of each class that lies in one or below one."""
    found: dict[str, Cycle] = {}
    seen: set[str] = set()
    for source_id in parent_of:
        path: dict[str, int] = {}
        at: str | None = source_id
        while at is not None and at not in path and at not in seen:
            path[at] = len(path)
            at = parent_of.get(at)
        seen.update(path)
        if at is None or (at not in path and at not in found):
            continue
        begin = path.get(at, len(path))
        circle = tuple(path)[begin:] or found[at].classes
        found |= {one: Cycle(circle, max(place - begin, -1)) for one, place in path.items()}
    return found


def _told_cycle(circle: Cycle) -> str:
    if len(circle.classes) == 1 and not circle.place:
        return "it is its own parent in the list; give it another parent, or none"
    where = "its parents" if circle.place >= 0 else "parents above it"
    remedy = "give one of these classes another parent, or none"
    return f"{where} in the list form a cycle: {shown_cycle(circle)}; {remedy}"


def shown_cycle(circle: Cycle) -> str:
    """Return a cycle as each class below the next, back to the first."""
    begin, n = max(circle.place, 0), len(circle.classes)
    told = [circle.classes[(begin + k) % n] for k in range(min(n, _TOLD_OF_CYCLE))]
    return " > ".join((*told, *(["..."] if n > _TOLD_OF_CYCLE else []), told[0]))
