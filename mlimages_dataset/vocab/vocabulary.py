"""The vocabulary as a value: its categories, and what became of every source's classes.

Every class of every source has exactly one `MappingRow` that says which category it became, or why it was dropped.
"""

from __future__ import annotations

import difflib
import functools
import itertools
import re
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import TYPE_CHECKING, Literal, TypeVar

from mlimages_dataset.core.arguments import TEXT, Kind, check, is_text, is_whole, one_of, whole
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.vocab.certainty import STATED
from mlimages_dataset.vocab.hierarchy import closure_matrix

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import networkx as nx
    import pandas as pd
    import scipy.sparse as sp

    from mlimages_dataset.core.locations import Location

_Value = TypeVar("_Value")
IMAGENET = "imagenet"
OPEN_IMAGES = "open-images"
TENCENT = "tencent"
OPEN_IMAGES_MINIMUM = 650
"""Images that an Open Images class needs to be kept (Tencent ML-Images, section 3.1)."""
USUAL_MINIMUM = {OPEN_IMAGES: OPEN_IMAGES_MINIMUM}
"""Images that the classes of a list need where nobody states how many, if counts are given."""


_KEYS = {
    "key": Kind(
        "a class index, a wnid, an id of a class, or a name (of a Category, pass its wnid)",
        lambda key: isinstance(key, str) or is_whole(key),
    )
}
_TABLES = {"table": one_of(["categories", "mapping"])}
_SEARCH = {"text": TEXT, "limit": whole(0)}


def refuse_names(
    published: Sequence[str], own: Sequence[str], minimum: Mapping[str, int], *, numbers: str = "minimum_images"
) -> None:
    """Refuse names that cannot be those of a user's class lists, and numbers of images for a list that is none.

    Args:
        published: names of the published class lists that are given.
        own: names of a user's own class lists.
        minimum: numbers of images by the lists for which they are given; the usual ones may name any list.
        numbers: what these numbers are called, for messages.

    Raises:
        UsageError: there is one.
    """
    names = [*published, *own]
    for name in own:
        if names.count(name) > 1:
            raise UsageError(f"two class lists have the name {name!r}", remedy="name each differently")
        if not is_text(name) or not name.strip():
            raise UsageError(f"{name!r} cannot be the name of your own class list", remedy="give it another name")
    for name, images in minimum.items():
        if name not in names and USUAL_MINIMUM.get(name) != images:
            what = f"{numbers} names {name!r}, which is no class list that is given"
            raise UsageError(what, remedy=f"use one of {', '.join(names)}" if names else "pass a class list")


class Ancestors(Enum):
    """Which ancestors, that WordNet has between a class and its root, are categories though no list has them."""

    ALL = "all"
    """Those of every class."""
    LISTED = "listed"
    """Only classes of the lists and the four roots are categories, as in the published vocabulary."""


class Rule(Enum):
    """The rule that decided what became of a class, besides the matcher's rules for names."""

    WNID = "wnid"
    FINER = "finer-grained"
    REVIEWED = "reviewed"
    REVIEWED_PARENT = "reviewed: nearest parent"
    LISTED_WNID = "wnid given in the list"
    LISTED_PARENT = "parent given in the list"
    HEAD_PARENT = "head word: nearest parent"
    ELSEWHERE_PARENT = "name in other collections: nearest parent"
    REVIEWED_NARROWER = "reviewed: narrower than its parent"
    LISTED_NARROWER = "narrower than the parent given in the list"
    HEAD_NARROWER = "head word: narrower than it"
    ELSEWHERE_NARROWER = "name in other collections: narrower than its parent"
    DROPPED_UNKNOWN_ID = "dropped: unknown wnid"
    DROPPED_UNMATCHED = "dropped: unmatched name"
    DROPPED_FEW_IMAGES = "dropped: too few images"
    DROPPED_ABSTRACT = "dropped: abstract"
    DROPPED_NO_ROOT = "dropped: reaches no root"
    DROPPED_REVIEWED = "dropped: reviewed"
    DROPPED_NOT_FINER = "dropped: below no kept category"


SAID_BY_LIST = frozenset(
    rule.value
    for rule in (Rule.WNID, Rule.LISTED_WNID, Rule.LISTED_PARENT, Rule.LISTED_NARROWER, Rule.DROPPED_UNKNOWN_ID)
)
"""The rules by which a list says itself what a class means."""
REVIEWED_RULES = frozenset(rule.value for rule in (Rule.REVIEWED, Rule.REVIEWED_PARENT, Rule.REVIEWED_NARROWER))
NARROWER = {
    Rule.REVIEWED_PARENT.value: Rule.REVIEWED_NARROWER.value,
    Rule.LISTED_PARENT.value: Rule.LISTED_NARROWER.value,
    Rule.HEAD_PARENT.value: Rule.HEAD_NARROWER.value,
    Rule.ELSEWHERE_PARENT.value: Rule.ELSEWHERE_NARROWER.value,
}
"""The rules by which a class is kept as its parent, and by which it is a category of its own below that parent."""


@dataclass(frozen=True, slots=True)
class MappingRow:
    """What became of one class of one source; `class_index` is -1 if it was dropped.

    `probability` is the estimated one that the class means the synset `wnid`, or is a kind of it where it was kept as
    its parent; 0 where there is no such synset. It does not say whether dropping a class was right. `certainty` has its
    sources.
    """

    source: str
    source_id: str
    source_name: str
    class_index: int
    wnid: str
    rule: str
    evidence: str
    alternatives: tuple[str, ...] = ()
    probability: float = STATED

    @property
    def is_kept(self) -> bool:
        """Whether it became a category."""
        return self.class_index >= 0

    @property
    def is_broader(self) -> bool:
        """Whether the category is only a parent of the class: without the class, an image may still show it."""
        return self.rule in NARROWER

    def dropped(self, rule: Rule, why: str) -> MappingRow:
        """Return the row of the class dropped by a rule."""
        matched = f"{why} (matched: {self.evidence})" if self.wnid and self.rule != Rule.WNID.value else why
        sure = self.probability if self.wnid and rule is not Rule.DROPPED_UNKNOWN_ID else 0.0
        return replace(self, class_index=-1, rule=rule.value, evidence=matched, probability=sure)


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """One category; numbers of other categories are class indices.

    `wnid` is a synset of WordNet, or `own_wnid` of a class that is a category of its own.
    """

    wnid: str
    name: str
    root: int
    parent: int
    parents: tuple[int, ...]
    depth: int
    sources: tuple[str, ...]
    mids: tuple[str, ...]
    images: int

    @property
    def first_name(self) -> str:
        """The first of its names."""
        return self.name.partition(",")[0]


@dataclass(frozen=True, repr=False)  # no slots: the indices for look-ups are computed on first use
class Vocabulary:
    """Categories numbered 0..C-1 and how every source's classes map to them.

    A key is a class index, a wnid, a source's id of a class, or a name with one sense in this vocabulary.

    Attributes:
        categories: the categories, in the order of their class indices; parents stand before their children.
        mapping: what became of every source's classes.
        folder: the folder of its tables, None if it was not read from one.
        digests: SHA-256 of these tables when they were read, by name.

    >>> import mlimages_dataset as ml
    >>> vocabulary = ml.build_vocabulary(imagenet=["n02084071", "n02121808"])
    >>> [category.name for category in vocabulary.ancestors("n02084071")]
    ['dog, domestic dog, Canis familiaris', 'object, physical object']
    >>> vocabulary.search("dog")[["wnid", "by"]].values.tolist()
    [['n02084071', 'name']]
    """

    categories: tuple[Category, ...]
    mapping: tuple[MappingRow, ...]
    folder: Location | None = field(default=None, compare=False, repr=False)
    digests: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.categories)

    def __repr__(self) -> str:
        sources = ", ".join(dict.fromkeys(row.source for row in self.mapping)) or "no class list"
        return f"Vocabulary of {len(self):,} categories from {sources}"

    @functools.cached_property
    def index_of_wnid(self) -> dict[str, int]:
        """Class index of each wnid."""
        return {category.wnid: i for i, category in enumerate(self.categories)}

    @functools.cached_property
    def closure(self) -> sp.csr_array:
        """The reflexive ancestor matrix, shape (C, C), true at (category, ancestor)."""
        return closure_matrix([category.parents for category in self.categories])

    @property
    def roots(self) -> list[Category]:
        """The categories without a parent."""
        return [category for category in self.categories if not category.parents]

    def index(self, key: int | str) -> int:
        """Return the class index of a key.

        Raises:
            UsageError: no category has the key, or several have it.
        """
        check(_KEYS, {"key": key})
        if not isinstance(key, str):
            if not 0 <= key < len(self):
                raise UsageError(f"there is no class {key}", remedy=f"class indices are 0..{len(self) - 1}")
            return int(key)
        if key in self.index_of_wnid:
            return self.index_of_wnid[key]
        found = sorted(self._classes_of_id.get(key, set()) or self._classes_of_name.get(key.casefold(), set()))
        if len(found) == 1:
            return found[0]
        if found:
            senses = ", ".join(f"{self.categories[i].wnid} ({self.categories[i].name})" for i in found)
            raise UsageError(f"{key!r} means several categories", remedy=f"name one by its wnid: {senses}")
        near = [self.categories[self.index(wnid)].name for wnid in self.search(key, limit=3)["wnid"]]
        raise UsageError(
            f"no category has the id or the name {key!r}",
            remedy=f"did you mean {' or '.join(map(repr, near))}?" if near else "look for it by a part of its name",
        )

    def category(self, key: int | str) -> Category:
        """Return the category of a key; raises as `index`."""
        return self.categories[self.index(key)]

    def parents(self, key: int | str) -> list[Category]:
        """Return the parents of a category, its nearest ancestors; raises as `index`."""
        return [self.categories[i] for i in self.category(key).parents]

    def children(self, key: int | str) -> list[Category]:
        """Return the children of a category; raises as `index`."""
        at = self.index(key)
        return [category for category in self.categories if at in category.parents]

    def ancestors(self, key: int | str) -> list[Category]:
        """Return the ancestors of a category and itself, deepest first; raises as `index`."""
        at = self.index(key)
        found = self.closure.indices[self.closure.indptr[at] : self.closure.indptr[at + 1]]
        return sorted((self.categories[i] for i in found), key=lambda category: -category.depth)

    def search(self, text: str, *, limit: int = 10) -> pd.DataFrame:
        """Return the categories that a text may mean, with every sense of a name, the likeliest first.

        A text is a wnid, a source's id of a class, a name of a category, or the name of a source's class. Near misses
        come last: names that contain the text as a word or differ from it by some letters.

        Returns:
            a frame with the columns class_index, wnid, name, depth, by (what matched) and matched (its text).

        Raises:
            UsageError: `text` is no text, or `limit` no whole number of at least 0.
        """
        import pandas as pd  # noqa: PLC0415 - half a second, and only frames need it

        check(_SEARCH, {"text": text, "limit": limit})
        hits = list(itertools.islice(self._hits(text), limit))
        rows = [
            (i, self.categories[i].wnid, self.categories[i].name, self.categories[i].depth, by, matched)
            for i, by, matched in hits
        ]
        return pd.DataFrame(rows, columns=["class_index", "wnid", "name", "depth", "by", "matched"])

    def to_pandas(self, table: Literal["categories", "mapping"] = "categories") -> pd.DataFrame:
        """Return one of the two tables as a frame; what is a list in them is a tuple.

        Args:
            table: `categories`, with one row per category and the columns of `schemas.CATEGORIES`; or `mapping`, with
                one row per class of a list, the columns of `schemas.MAPPING` and the category's `name`.

        Raises:
            UsageError: there is no such table.

        >>> import mlimages_dataset as ml
        >>> vocabulary = ml.build_vocabulary(imagenet=["n02084071"])
        >>> vocabulary.to_pandas("mapping")[["source_id", "rule", "name"]].values.tolist()
        [['n02084071', 'wnid', 'dog, domestic dog, Canis familiaris']]
        """
        import pandas as pd  # noqa: PLC0415 - as above

        check(_TABLES, {"table": table})
        kind, rows = (Category, self.categories) if table == "categories" else (MappingRow, self.mapping)
        names = [one.name for one in fields(kind)]
        frame = pd.DataFrame([[getattr(row, name) for name in names] for row in rows], columns=names)
        if table == "categories":
            frame.insert(0, "class_index", range(len(self)))
        else:
            frame["name"] = [self.categories[row.class_index].name if row.is_kept else "" for row in self.mapping]
        return frame

    def to_networkx(self) -> nx.DiGraph[str]:
        """Return the hierarchy: nodes are wnids with class_index, name and depth; edges lead from parent to child."""
        import networkx as nx  # noqa: PLC0415 - as above

        graph: nx.DiGraph[str] = nx.DiGraph()
        for i, category in enumerate(self.categories):
            graph.add_node(category.wnid, class_index=i, name=category.name, depth=category.depth)
        for category in self.categories:
            graph.add_edges_from((self.categories[i].wnid, category.wnid) for i in category.parents)
        return graph

    @functools.cached_property
    def _classes_of_id(self) -> dict[str, set[int]]:
        return _grouped((row.source_id, row.class_index) for row in self.mapping if row.class_index >= 0)

    @functools.cached_property
    def _classes_of_name(self) -> dict[str, set[int]]:
        lemmas = ((name.casefold(), i) for i, one in enumerate(self.categories) for name in one.name.split(", "))
        whole = ((one.name.casefold(), i) for i, one in enumerate(self.categories))
        named = ((row.source_name.casefold(), row.class_index) for row in self.mapping if row.class_index >= 0)
        return _grouped(itertools.chain(lemmas, whole, (pair for pair in named if pair[0])))

    def senses(self, text: str) -> list[int]:
        """Return the class indices of all categories that have a wnid, an id or a name, the likeliest first.

        Raises:
            UsageError: `text` is no text.
        """
        check(_SEARCH, {"text": text})
        return [i for i, _, _ in self._exact(text)]

    def named(self, name: str) -> list[int]:
        """Return the class indices of all categories that have a name, the likeliest first.

        Raises:
            UsageError: `name` is no text.
        """
        check({"name": TEXT}, {"name": name})
        return self._likeliest_first(self._classes_of_name.get(name.strip().casefold(), ()))

    def _hits(self, text: str) -> Iterator[tuple[int, str, str]]:
        """Yield class indices that a text may mean, each once, with what matched and its text."""
        told: set[int] = set()
        for hit in self._exact(text):
            told.add(hit[0])
            yield hit
        for matched in self._near(text.strip().casefold()):
            for i in self._likeliest_first(self._classes_of_name[matched] - told):
                told.add(i)
                yield i, "near miss", matched

    def _exact(self, text: str) -> Iterator[tuple[int, str, str]]:
        """Yield class indices of a wnid, an id or a name, as `_hits`."""
        told: set[int] = set()
        name = text.strip().casefold()
        if text.strip() in self.index_of_wnid:
            told.add(self.index_of_wnid[text.strip()])
            yield self.index_of_wnid[text.strip()], "wnid", text.strip()
        for by, found, matched in (
            ("id of a class", self._likeliest_first(self._classes_of_id.get(text.strip(), ())), text.strip()),
            ("name", self.named(name), name),
        ):
            for i in [one for one in found if one not in told]:
                told.add(i)
                yield i, by, matched

    def _likeliest_first(self, classes: Iterable[int]) -> list[int]:
        """Return class indices in the order of senses: classes of lists before added ancestors, then the less deep."""
        return sorted(classes, key=lambda at: (at not in self._classes_of_lists, self.categories[at].depth, at))

    @functools.cached_property
    def _classes_of_lists(self) -> set[int]:
        return {row.class_index for row in self.mapping if row.is_kept and not row.is_broader}

    def _near(self, name: str) -> Iterator[str]:
        """Yield names that contain a name as words, the shortest first, then names that differ by some letters."""
        if not name:
            return
        words = re.compile(rf"\b{re.escape(name)}\b")
        yield from sorted((one for one in self._classes_of_name if words.search(one)), key=len)
        yield from difflib.get_close_matches(name, self._classes_of_name, n=5, cutoff=0.75)
        names_of_word = _grouped((word, one) for one in self._classes_of_name for word in one.split())
        for word in difflib.get_close_matches(name, names_of_word, n=5, cutoff=0.75):
            yield from sorted(names_of_word[word], key=len)


def _grouped(pairs: Iterable[tuple[str, _Value]]) -> dict[str, set[_Value]]:
    groups: dict[str, set[_Value]] = {}
    for key, value in pairs:
        groups.setdefault(key, set()).add(value)
    return groups
