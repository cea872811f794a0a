"""Reviewed decisions: matches that override the matcher, categories dropped or added, hierarchy edges changed.

The packaged file is ``data/reviewed.toml``; a user can pass their own instead. Each row carries its reason, which
goes into the `mapping` table as evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, TypeVar

from mlimages_dataset.core.decoding import as_written
from mlimages_dataset.core.documents import parse_toml
from mlimages_dataset.core.errors import ConfigError
from mlimages_dataset.vocab.certainty import STATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlimages_dataset.vocab.readings import Readings


_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedMatch:
    """The synset that a class of a source means; if `wnid` is empty, the class is dropped.

    With `broader`, WordNet has no synset for the class and `wnid` is its nearest parent: an image of the class shows
    the parent too, but one without the class may still show it. `probability` is that of the decision being right.
    """

    source: str
    source_id: str
    wnid: str
    reason: str
    where: str
    broader: bool = False
    probability: float = STATED


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedCategory:
    """A synset that the vocabulary must have (`add`) or must not have."""

    wnid: str
    add: bool
    reason: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A hypernym edge to add to WordNet, or to remove from it."""

    child: str
    parent: str
    add: bool
    reason: str
    where: str


@dataclass(frozen=True, slots=True)
class Reviewed:
    """All reviewed decisions; `readings` are those on names, over which `matches` win."""

    matches: tuple[ReviewedMatch, ...] = ()
    categories: tuple[ReviewedCategory, ...] = ()
    edges: tuple[Edge, ...] = ()
    readings: Readings | None = None

    def overridden(self, by: Reviewed) -> Reviewed:
        """Return both's decisions; of two on the same thing that of `by` counts."""
        return Reviewed(
            _overridden(self.matches, by.matches, lambda row: (row.source, row.source_id)),
            _overridden(self.categories, by.categories, lambda row: row.wnid),
            _overridden(self.edges, by.edges, lambda row: (row.child, row.parent)),
            by.readings or self.readings,
        )


_KEYS = {
    "match": ("source", "source_id", "wnid", "reason"),
    "match_parent": ("source", "source_id", "wnid", "reason"),
    "add_category": ("wnid", "reason"),
    "drop_category": ("wnid", "reason"),
    "add_edge": ("child", "parent", "reason"),
    "remove_edge": ("child", "parent", "reason"),
}


_IDS = frozenset({"wnid", "child", "parent"})


def _overridden(rows: tuple[_Row, ...], by: tuple[_Row, ...], subject: Callable[[_Row], object]) -> tuple[_Row, ...]:
    decided = {subject(row) for row in by}
    return (*(row for row in rows if subject(row) not in decided), *by)


def packaged_reviewed() -> str:
    """Return the text of the packaged reviewed decisions."""
    return (files("mlimages_dataset.vocab") / "data" / "reviewed.toml").read_text("utf-8")


def parse_reviewed(text: str, where: str) -> Reviewed:
    """Return the decisions in a TOML text; `where` names it in messages.

    Raises:
        ConfigError: it is not TOML, a table or key is unknown or missing, two rows decide the same thing, or one
            matches a class to a category that another drops.
    """
    try:
        content = parse_toml(text)
    except ValueError as error:
        raise ConfigError(f"is not valid TOML ({error})", where=where, remedy="correct it there") from error
    unknown = sorted(set(content) - set(_KEYS))
    if unknown:
        raise ConfigError(f"unknown table {unknown[0]!r}", where=where, remedy=f"use {', '.join(_KEYS)}")
    rows = {kind: list(_rows(content, kind, where)) for kind in _KEYS}
    matches = rows["match"] + rows["match_parent"]
    _refuse_repeats([(f"match of {r['source']} {r['source_id']}", r["where"]) for r in matches])
    _refuse_repeats([(f"decision on {r['wnid']}", r["where"]) for r in rows["add_category"] + rows["drop_category"]])
    _refuse_repeats(
        [(f"edge {r['child']} -> {r['parent']}", r["where"]) for r in rows["add_edge"] + rows["remove_edge"]]
    )
    dropped = {row["wnid"]: row["where"] for row in rows["drop_category"]}
    for row in matches:
        if row["wnid"] in dropped:
            raise ConfigError(
                f"{row['source']} {row['source_id']} is {row['wnid']}, which is dropped",
                where=row["where"],
                remedy=f"keep one of it and {dropped[row['wnid']]}",
            )
    return Reviewed(
        matches=tuple(
            ReviewedMatch(**row, broader=broader)  # type: ignore[arg-type]  # `_rows` gives the texts
            for kind, broader in (("match", False), ("match_parent", True))
            for row in rows[kind]
        ),
        categories=tuple(
            ReviewedCategory(**row, add=add)
            for kind, add in (("add_category", True), ("drop_category", False))
            for row in rows[kind]
        ),
        edges=tuple(
            Edge(**row, add=add) for kind, add in (("add_edge", True), ("remove_edge", False)) for row in rows[kind]
        ),
    )


def _rows(content: Mapping[str, object], kind: str, where: str) -> Iterator[dict[str, str]]:
    tables = content.get(kind, [])
    if not isinstance(tables, list):
        raise ConfigError(f"{kind} is not a list of tables", where=where, remedy=f"write [[{kind}]]")
    for number, table in enumerate(tables, 1):
        place = f"{where}, {kind} {number}"
        if not isinstance(table, Mapping):
            raise ConfigError("is not a table", where=place, remedy=f"write [[{kind}]]")
        for key in table:
            if key not in _KEYS[kind]:
                raise ConfigError(f"unknown key {key!r}", where=place, remedy=f"use {', '.join(_KEYS[kind])}")
        for key in _KEYS[kind]:
            value = table.get(key)
            if value is not None and not isinstance(value, str):
                written = as_written(value)
                remedy = "give one text" if isinstance(value, list | Mapping) else f'write {key} = "{written}"'
                raise ConfigError(f"{key} is {written}, no text", where=place, remedy=remedy)
            if not (value and value.strip()) and not (value == "" and kind == "match" and key == "wnid"):
                raise ConfigError(f"no {key}", where=place, remedy="every row gives each key, the reason too")
        yield {**{key: str(table[key]).strip() if key in _IDS else table[key] for key in _KEYS[kind]}, "where": place}


def _refuse_repeats(decisions: list[tuple[str, str]]) -> None:
    first: dict[str, str] = {}
    for subject, place in decisions:
        if subject in first:
            raise ConfigError(f"a second {subject}", where=place, remedy=f"keep one of it and {first[subject]}")
        first[subject] = place
